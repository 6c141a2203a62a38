// Lanes from anywhere: gather(p, i) has p[i[lane]] in each lane, pick(a, b, i) the lane i[lane] of a
// and b side by side. The integers are as wide as T. Where all that is wanted lies within two vectors,
// pick is some ten times as fast: processors load the lanes of a gather one by one.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

#if defined(HL_ISA_avx512)
HL_INLINE Vec<float> gather(const float* p, Vec<int32_t> i) {
  return (Vec<float>)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, (__m512i)i, p, 4);
}
HL_INLINE Vec<double> gather(const double* p, Vec<int64_t> i) {
  return (Vec<double>)_mm512_mask_i64gather_pd(_mm512_setzero_pd(), 0xff, (__m512i)i, p, 8);
}
HL_INLINE Vec<float> pick(Vec<float> a, Vec<float> b, Vec<int32_t> i) {
  return (Vec<float>)_mm512_permutex2var_ps((__m512)a, (__m512i)i, (__m512)b);
}
HL_INLINE Vec<double> pick(Vec<double> a, Vec<double> b, Vec<int64_t> i) {
  return (Vec<double>)_mm512_permutex2var_pd((__m512d)a, (__m512i)i, (__m512d)b);
}
#elif defined(HL_ISA_avx2)
HL_INLINE Vec<float> gather(const float* p, Vec<int32_t> i) {
  return (Vec<float>)_mm256_i32gather_ps(p, (__m256i)i, 4);
}
HL_INLINE Vec<double> gather(const double* p, Vec<int64_t> i) {
  return (Vec<double>)_mm256_i64gather_pd(p, (__m256i)i, 8);
}
// Permutes count modulo 8, so one index serves both halves.
HL_INLINE Vec<float> pick(Vec<float> a, Vec<float> b, Vec<int32_t> i) {
  const Vec<float> low = (Vec<float>)_mm256_permutevar8x32_ps((__m256)a, (__m256i)i);
  const Vec<float> high = (Vec<float>)_mm256_permutevar8x32_ps((__m256)b, (__m256i)i);
  return select(i < 8, low, high);
}
HL_INLINE Vec<double> pick(Vec<double> a, Vec<double> b, Vec<int64_t> i) {
  const __m256i halves = (__m256i)((i & 3) * 0x200000002 + 0x100000000);
  const Vec<double> low = (Vec<double>)_mm256_permutevar8x32_ps((__m256)a, halves);
  const Vec<double> high = (Vec<double>)_mm256_permutevar8x32_ps((__m256)b, halves);
  return select(i < 4, low, high);
}
#else
template <class T, class I>
HL_INLINE Vec<T> gather(const T* p, I i) {
  Vec<T> v;
  for (int k = 0; k < kLanes<T>; ++k) v[k] = p[i[k]];
  return v;
}
template <class V, class I>
HL_INLINE V pick(V a, V b, I i) {
  V v;
  for (int k = 0; k < kLanes<Elem<V> >; ++k) {
    v[k] = i[k] < kLanes<Elem<V> > ? a[i[k]] : b[i[k] - kLanes<Elem<V> >];
  }
  return v;
}
#endif

// The integer of T's width.
template <class T>
struct LaneOf;
template <>
struct LaneOf<float> {
  using type = int32_t;
};
template <>
struct LaneOf<double> {
  using type = int64_t;
};
template <class T>
using Lane = typename LaneOf<T>::type;

}  // namespace hl::cpu::HL_ISA
