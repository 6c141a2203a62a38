// The words of gpu.h on a real card.
#pragma once

#include <cuda_runtime.h>
#include <stdint.h>

// Blocks get up to 99 KiB of shared memory (227 on 9.0, less before 8.0), of which a kernel has
// to ask for what goes beyond 48.
#define HL_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                  \
  do {                                                                                             \
    if ((shared_bytes) > (48 << 10)) {                                                             \
      (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,              \
                                 int(shared_bytes));                                               \
    }                                                                                              \
    (kernel)<<<(grid), (block), (shared_bytes), static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__); \
    const cudaError_t hl_error = cudaGetLastError();                                               \
    if (hl_error != cudaSuccess) ::hl::cuda::note_failure(hl_error, #kernel, __FILE__, __LINE__);  \
  } while (0)

// The block's dynamic shared memory, as `name`.
#define HL_SHARED(T, name)                                           \
  extern __shared__ __align__(128) unsigned char hl_shared_memory[]; \
  T* const name = reinterpret_cast<T*>(hl_shared_memory)

namespace hl::cuda {

__device__ __forceinline__ int lane() { return threadIdx.x & 31; }

// All lanes of the warp must take part: blocks are multiples of 32, loops around are warp-uniform.
template <class T>
__device__ __forceinline__ T shuffle_xor(T v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}
template <class T>
__device__ __forceinline__ T shuffle_up(T v, int by) {
  return __shfl_up_sync(0xffffffffu, v, by);
}
template <class T>
__device__ __forceinline__ T shuffle_from(T v, int source) {
  return __shfl_sync(0xffffffffu, v, source);
}
__device__ __forceinline__ unsigned ballot(bool flag) { return __ballot_sync(0xffffffffu, flag); }
__device__ __forceinline__ void sync_warp() { __syncwarp(); }

__device__ __forceinline__ uint32_t mul_high(uint32_t a, uint32_t b) { return __umulhi(a, b); }
__device__ __forceinline__ uint64_t mul_high(uint64_t a, uint64_t b) { return __umul64hi(a, b); }

// a b, rounded by itself: never part of a fused multiply-add.
__device__ __forceinline__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double product(double a, double b) { return __dmul_rn(a, b); }

// v, of which the compiler is told nothing: what follows from it is computed where it is needed rather
// than kept in registers throughout a loop.
__device__ __forceinline__ int anew(int v) {
  asm volatile("" : "+r"(v));
  return v;
}

// 2^v within 2 units in the last place; 0 for what is below 2^-126.
__device__ __forceinline__ float fast_exp2(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

}  // namespace hl::cuda
