// AVX2 + FMA: 16 registers of 32 bytes; tails go through maskload and maskstore.
#pragma once

#include <immintrin.h>

namespace hl::cpu::HL_ISA {

constexpr bool kFused = true;
constexpr int kVectorBytes = 32;

// The matrix product's register tile: 12 sums + 2 vectors of B + 1 broadcast of A <= 16.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(32)));
  typedef T unaligned __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using UnalignedVec = typename VecOf<T>::unaligned;

HL_INLINE __m256i first_lanes(const float*, int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HL_INLINE __m256i first_lanes(const double*, int64_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

HL_INLINE Vec<float> load_n(const float* p, int64_t n) {
  return (Vec<float>)_mm256_maskload_ps(p, first_lanes(p, n));
}
HL_INLINE Vec<double> load_n(const double* p, int64_t n) {
  return (Vec<double>)_mm256_maskload_pd(p, first_lanes(p, n));
}
HL_INLINE void store_n(float* p, Vec<float> v, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(p, n), (__m256)v);
}
HL_INLINE void store_n(double* p, Vec<double> v, int64_t n) {
  _mm256_maskstore_pd(p, first_lanes(p, n), (__m256d)v);
}

// The address must be a multiple of the vector's size.
HL_INLINE void store_past_cache(float* p, Vec<float> v) { _mm256_stream_ps(p, (__m256)v); }
HL_INLINE void store_past_cache(double* p, Vec<double> v) { _mm256_stream_pd(p, (__m256d)v); }
HL_INLINE void store_fence() { _mm_sfence(); }

HL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
HL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
HL_INLINE Vec<float> sqrt(Vec<float> v) { return (Vec<float>)_mm256_sqrt_ps((__m256)v); }
HL_INLINE Vec<double> sqrt(Vec<double> v) { return (Vec<double>)_mm256_sqrt_pd((__m256d)v); }

HL_INLINE Vec<float> lesser(Vec<float> a, Vec<float> b) {
  return (Vec<float>)_mm256_min_ps((__m256)a, (__m256)b);
}
HL_INLINE Vec<double> lesser(Vec<double> a, Vec<double> b) {
  return (Vec<double>)_mm256_min_pd((__m256d)a, (__m256d)b);
}
HL_INLINE Vec<float> greater(Vec<float> a, Vec<float> b) {
  return (Vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
}
HL_INLINE Vec<double> greater(Vec<double> a, Vec<double> b) {
  return (Vec<double>)_mm256_max_pd((__m256d)a, (__m256d)b);
}

HL_INLINE Vec<float> rint(Vec<float> v) {
  return (Vec<float>)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT);
}
HL_INLINE Vec<double> rint(Vec<double> v) {
  return (Vec<double>)_mm256_round_pd((__m256d)v, _MM_FROUND_TO_NEAREST_INT);
}

HL_INLINE Vec<uint64_t> mul_low(Vec<uint64_t> a, Vec<uint64_t> b) {
  return (Vec<uint64_t>)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

// Of any lanes: compilers do not agree on the type that a comparison of doubles has.
template <class M>
HL_INLINE bool any(M mask) {
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
}

}  // namespace hl::cpu::HL_ISA
