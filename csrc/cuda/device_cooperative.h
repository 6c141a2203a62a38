// The words of cooperative.h on a real card.
#pragma once

#define HL_LAUNCH_COOPERATIVE(kernel, grid, block, shared_bytes, stream, ...)                     \
  do {                                                                                            \
    const cudaError_t hl_error =                                                                  \
        ::hl::cuda::launch_together(kernel, grid, block, size_t(shared_bytes),                    \
                                    static_cast<cudaStream_t>(stream), __VA_ARGS__);              \
    if (hl_error != cudaSuccess) ::hl::cuda::note_failure(hl_error, #kernel, __FILE__, __LINE__); \
  } while (0)

namespace hl::cuda {

template <class... Params>
cudaError_t allow_shared(void (*kernel)(Params...), size_t bytes) {
  if (bytes <= (48 << 10)) return cudaSuccess;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}

template <class... Params, class... Args>
cudaError_t launch_together(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                            cudaStream_t stream, const Args&... args) {
  (void)allow_shared(kernel, shared_bytes);
  const auto start = [&](Params... given) {  // in the kernel's own types
    void* all[] = {&given...};
    return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), grid, block, all,
                                       shared_bytes, stream);
  };
  const cudaError_t error = start(args...);
  if (error != cudaSuccess) (void)cudaGetLastError();
  return error;
}

template <class... Params>
int resident_blocks(void (*kernel)(Params...), int threads, int64_t shared_bytes) {
  int device = 0, most = 0, can = 0, blocks = 0, multiprocessors = 0;
  HL_CHECK(cudaGetDevice(&device));
  HL_CHECK(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  HL_CHECK(cudaDeviceGetAttribute(&can, cudaDevAttrCooperativeLaunch, device));
  if (!can || shared_bytes > most) return 0;
  HL_CHECK(allow_shared(kernel, size_t(shared_bytes)));
  HL_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads,
                                                         size_t(shared_bytes)));
  HL_CHECK(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  return blocks * multiprocessors;
}

// 16 bytes from an address that is a multiple of it.
__device__ __forceinline__ void load_l2(uint32_t (&w)[4], const uint32_t* from) {
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(w[0]), "=r"(w[1]), "=r"(w[2]), "=r"(w[3])
               : "l"(from)
               : "memory");
}
__device__ __forceinline__ void store_l2(uint32_t* to, uint32_t v) {
  asm volatile("st.global.cg.u32 [%0], %1;" ::"l"(to), "r"(v) : "memory");
}
__device__ __forceinline__ void store_l2(uint16_t* to, uint16_t v) {
  asm volatile("st.global.cg.u16 [%0], %1;" ::"l"(to), "h"(v) : "memory");
}

__device__ __forceinline__ void release_one(unsigned* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}
// The difference: the counter may pass 2^32.
__device__ __forceinline__ void await_count(const unsigned* counter, unsigned target) {
  unsigned now;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(counter) : "memory");
  } while (int(now - target) < 0);
}

}  // namespace hl::cuda
