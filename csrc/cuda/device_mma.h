// The words of mma.h on a real card. The library is built for older cards, too, whose assembler does
// not know these instructions: there they trap, and gemm() does not call them.
#pragma once

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define HL_SM80(...) __trap()
#else
#define HL_SM80(...) asm volatile(__VA_ARGS__)
#endif

namespace hl::cuda {

// ---- numbers, rounded to the nearest, ties to even ------------------------------------------------
__device__ __forceinline__ float to_float(Bf16 v) {
  return __uint_as_float(uint32_t(v.bits) << 16);
}
__device__ __forceinline__ float to_float(F16 v) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v.bits));
  return f;
}
__device__ __forceinline__ Bf16 to_bf16(float v) {
  Bf16 r = {0};
  HL_SM80("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
  return r;
}
__device__ __forceinline__ F16 to_f16(float v) {
  F16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
  return r;
}
// Two numbers in a word, `first` in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float first, float second) {
  uint32_t w = 0;
  HL_SM80("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(second), "f"(first));
  return w;
}
__device__ __forceinline__ uint32_t pack_f16(float first, float second) {
  uint32_t w = 0;
  HL_SM80("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(second), "f"(first));
  return w;
}
// Ties away from zero: the only way that all these cards have.
__device__ __forceinline__ Tf32 to_tf32(float v) {
  Tf32 r = {0};
  HL_SM80("cvt.rna.tf32.f32 %0, %1;" : "=r"(r.bits) : "f"(v));
  return r;
}

// ---- shared memory --------------------------------------------------------------------------------
// `bytes` (0 ... 16) are copied and the rest of the 16 is zero; both addresses are multiples of 16.
// 0 reads nothing, but `from` must be an address all the same.
__device__ __forceinline__ void cp_async16(void* shared, const void* from, int bytes = 16) {
  const unsigned to = unsigned(__cvta_generic_to_shared(shared));
  HL_SM80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
          "r"(bytes) : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  HL_SM80("cp.async.commit_group;" :: : "memory");
}
template <int kNewest>
__device__ __forceinline__ void cp_async_wait() {
  HL_SM80("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
}

__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  const unsigned at = unsigned(__cvta_generic_to_shared(row));
  HL_SM80("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]),
          "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
// Each block of 8 x 8 16-bit numbers transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  const unsigned at = unsigned(__cvta_generic_to_shared(row));
  HL_SM80("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(r[0]),
          "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

// ---- d += a b --------------------------------------------------------------------------------------
#define HL_MMA(name, shape_and_types)                                                              \
  __device__ __forceinline__ void name(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) { \
    HL_SM80("mma.sync.aligned." shape_and_types                                                    \
            " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(d[0]),       \
            "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),       \
            "r"(b[0]), "r"(b[1]));                                                                 \
  }
HL_MMA(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
HL_MMA(mma_f16, "m16n8k16.row.col.f32.f16.f16.f32")
HL_MMA(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef HL_MMA

}  // namespace hl::cuda

#undef HL_SM80
