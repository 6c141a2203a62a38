// The words of sm90a.h on a real card. Only sources *_sm90a.cu include it: they are compiled for 9.0a
// alone.
#pragma once

#include <cuda.h>
#include <cudaTypedefs.h>

// The block's dynamic shared memory, where TMA's swizzle wants it.
#define HL_SHARED_TILES(T, name)                                     \
  extern __shared__ __align__(1024) unsigned char hl_shared_tiles[]; \
  T* const name = reinterpret_cast<T*>(hl_shared_tiles)

namespace hl::cuda {

using TensorMap = CUtensorMap;
using Mbarrier = uint64_t;

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return uint32_t(__cvta_generic_to_shared(p));
}

// ---- barriers -------------------------------------------------------------------------------------
__device__ __forceinline__ void mbarrier_init(Mbarrier* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)
               : "memory");
}
// Shows new barriers to TMA; then the block meets.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(Mbarrier* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void mbarrier_wait(Mbarrier* b, int parity) {
  const uint32_t at = shared_address(b);
  uint32_t over = 0;
  while (over == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(over)
        : "r"(at), "r"(parity)
        : "memory");
  }
}

// Meets `threads` threads that name the same of barriers 1 ... 15; arrive does not stay.
__device__ __forceinline__ void named_barrier_sync(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// ---- copies ---------------------------------------------------------------------------------------
__device__ __forceinline__ void tma_load(void* to, const TensorMap& map, Mbarrier* b, int column,
                                         int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(b)), "r"(column), "r"(row)
      : "memory");
}
__device__ __forceinline__ void tma_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// ---- registers ------------------------------------------------------------------------------------
template <int kRegisters>
__device__ __forceinline__ void setmaxnreg_inc() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void setmaxnreg_dec() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// ---- products -------------------------------------------------------------------------------------
// The compiler moves neither reads nor writes of d across this.
template <int kGroups>
__device__ __forceinline__ void hold(float (&d)[kGroups][4]) {
#pragma unroll
  for (int j = 0; j < kGroups; ++j) {
#pragma unroll
    for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(d[j][e])::"memory");
  }
}
template <class... Sums>
__device__ __forceinline__ void wgmma_fence(Sums&... d) {
  (hold(d), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kNewest, class... Sums>
__device__ __forceinline__ void wgmma_wait(Sums&... d) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kNewest) : "memory");
  (hold(d), ...);
}

// v, which is never negative, is computed before a wgmma_wait() that follows: the lanes that meet are
// named by it. Without that ptxas puts off to behind the wait what was to run beside the products.
__device__ __forceinline__ void computed(float v) {
  __syncwarp(__ballot_sync(0xffffffffu, !(v < 0)));
}

#define HL_TEN(t)                                                                                  \
  "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t "8, %" #t \
  "9, "
#define HL_NAMES_32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " HL_TEN(1) HL_TEN(2) "%30, %31"
#define HL_NAMES_64                                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " HL_TEN(1) HL_TEN(2) HL_TEN(3) HL_TEN(4) \
      HL_TEN(5) "%60, %61, %62, %63"
#define HL_NAMES_128 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " HL_TEN(1) HL_TEN(2) HL_TEN(3) HL_TEN(4) HL_TEN(5)    \
      HL_TEN(6) HL_TEN(7) HL_TEN(8) HL_TEN(9) HL_TEN(10) HL_TEN(11) "%120, %121, %122, %123, "    \
                                                                    "%124, %125, %126, %127"
#define HL_SUMS_4(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define HL_SUMS_16(j) HL_SUMS_4(j), HL_SUMS_4(j + 1), HL_SUMS_4(j + 2), HL_SUMS_4(j + 3)
#define HL_SUMS_32(j) HL_SUMS_16(j), HL_SUMS_16(j + 4)
#define HL_SUMS_64(j) HL_SUMS_32(j), HL_SUMS_32(j + 8)
#define HL_SUMS_128(j) HL_SUMS_64(j), HL_SUMS_64(j + 16)

// kAcross: the rows of b run across k. The numbers are those of the operands behind the sums.
template <class Type, bool kAcross, int kGroups>
struct Wgmma;
#define HL_WGMMA(Type, type, N, sums, n0, n1, n2, n3, n4, n5, n6)                              \
  template <bool kAcross>                                                                      \
  struct Wgmma<Type, kAcross, N / 8> {                                                         \
    static __device__ __forceinline__ void run(float (&d)[N / 8][4], uint64_t a, uint64_t b,   \
                                               int more) {                                     \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #n2                                    \
                   ", 0;\n"                                                                    \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type             \
                   " {" HL_NAMES_##sums "}, %" #n0 ", %" #n1 ", p, 1, 1, 0, %" #n3 ";\n}"      \
                   : HL_SUMS_##sums(0)                                                         \
                   : "l"(a), "l"(b), "r"(more), "n"(int(kAcross)));                            \
    }                                                                                          \
    static __device__ __forceinline__ void run(float (&d)[N / 8][4], const uint32_t (&a)[4],   \
                                               uint64_t b, int more) {                         \
      asm volatile(                                                                            \
          "{\n.reg .pred p;\nsetp.ne.b32 p, %" #n5                                             \
          ", 0;\n"                                                                             \
          "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" HL_NAMES_##sums \
          "}, {%" #n0 ", %" #n1 ", %" #n2 ", %" #n3 "}, %" #n4 ", p, 1, 1, %" #n6 ";\n}"       \
          : HL_SUMS_##sums(0)                                                                  \
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(more), "n"(int(kAcross))); \
    }                                                                                          \
  }
HL_WGMMA(Bf16, "bf16", 64, 32, 32, 33, 34, 35, 36, 37, 38);
HL_WGMMA(Bf16, "bf16", 128, 64, 64, 65, 66, 67, 68, 69, 70);
HL_WGMMA(Bf16, "bf16", 256, 128, 128, 129, 130, 131, 132, 133, 134);
HL_WGMMA(F16, "f16", 64, 32, 32, 33, 34, 35, 36, 37, 38);
HL_WGMMA(F16, "f16", 128, 64, 64, 65, 66, 67, 68, 69, 70);
HL_WGMMA(F16, "f16", 256, 128, 128, 129, 130, 131, 132, 133, 134);
#undef HL_WGMMA
#undef HL_TEN
#undef HL_NAMES_32
#undef HL_NAMES_64
#undef HL_NAMES_128
#undef HL_SUMS_4
#undef HL_SUMS_16
#undef HL_SUMS_32
#undef HL_SUMS_64
#undef HL_SUMS_128

template <class Type, bool kAcross = false, int kGroups>
__device__ __forceinline__ void wgmma(float (&d)[kGroups][4], uint64_t a, uint64_t b, bool more) {
  Wgmma<Type, kAcross, kGroups>::run(d, a, b, more);
}
template <class Type, bool kAcross = false, int kGroups>
__device__ __forceinline__ void wgmma(float (&d)[kGroups][4], const uint32_t (&a)[4], uint64_t b,
                                      bool more) {
  Wgmma<Type, kAcross, kGroups>::run(d, a, b, more);
}

}  // namespace hl::cuda
