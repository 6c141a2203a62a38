// NEON (AArch64): 32 registers of 16 bytes, no masks: a tail goes through a buffer on the stack.
#pragma once

#include <arm_neon.h>

namespace hl::cpu::HL_ISA {

constexpr bool kFused = true;
constexpr int kVectorBytes = 16;

// The matrix product's register tile: 24 sums + 3 vectors of B + 1 broadcast of A <= 32.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 3;

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(16)));
  typedef T unaligned __attribute__((vector_size(16), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using UnalignedVec = typename VecOf<T>::unaligned;

template <class T>
HL_INLINE Vec<T> load_n(const T* p, int64_t n) {
  Vec<T> v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class T>
HL_INLINE void store_n(T* p, Vec<T> v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

template <class T>
HL_INLINE void store_past_cache(T* p, Vec<T> v) {
  *reinterpret_cast<UnalignedVec<T>*>(p) = v;
}
HL_INLINE void store_fence() {}

HL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
HL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
HL_INLINE Vec<float> sqrt(Vec<float> v) { return (Vec<float>)vsqrtq_f32((float32x4_t)v); }
HL_INLINE Vec<double> sqrt(Vec<double> v) { return (Vec<double>)vsqrtq_f64((float64x2_t)v); }
HL_INLINE Vec<float> rint(Vec<float> v) { return (Vec<float>)vrndnq_f32((float32x4_t)v); }
HL_INLINE Vec<double> rint(Vec<double> v) { return (Vec<double>)vrndnq_f64((float64x2_t)v); }

HL_INLINE Vec<uint64_t> mul_low(Vec<uint64_t> a, Vec<uint64_t> b) {
  return (Vec<uint64_t>)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}

template <class V>
HL_INLINE V lesser(V a, V b) {
  return a < b ? a : b;
}
template <class V>
HL_INLINE V greater(V a, V b) {
  return a > b ? a : b;
}

// Of any lanes: compilers do not agree on the type that a comparison of doubles has.
template <class M>
HL_INLINE bool any(M mask) {
  return vmaxvq_u32((uint32x4_t)mask) != 0;
}

}  // namespace hl::cpu::HL_ISA
