// AVX-512 (F + BW + DQ + VL): 32 registers of 64 bytes, and a mask register for every tail.
#pragma once

#include <immintrin.h>

namespace hl::cpu::HL_ISA {

constexpr bool kFused = true;
constexpr int kVectorBytes = 64;

// The matrix product's register tile: 28 sums + 2 vectors of B + 1 broadcast of A <= 32.
constexpr int kTileRows = 14;
constexpr int kTileVectors = 2;

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(64)));
  typedef T unaligned __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using UnalignedVec = typename VecOf<T>::unaligned;

HL_INLINE __mmask16 first_lanes(const float*, int64_t n) { return __mmask16((1u << n) - 1); }
HL_INLINE __mmask8 first_lanes(const double*, int64_t n) { return __mmask8((1u << n) - 1); }

HL_INLINE Vec<float> load_n(const float* p, int64_t n) {
  return (Vec<float>)_mm512_maskz_loadu_ps(first_lanes(p, n), p);
}
HL_INLINE Vec<double> load_n(const double* p, int64_t n) {
  return (Vec<double>)_mm512_maskz_loadu_pd(first_lanes(p, n), p);
}
HL_INLINE void store_n(float* p, Vec<float> v, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(p, n), (__m512)v);
}
HL_INLINE void store_n(double* p, Vec<double> v, int64_t n) {
  _mm512_mask_storeu_pd(p, first_lanes(p, n), (__m512d)v);
}

// The address must be a multiple of the vector's size.
HL_INLINE void store_past_cache(float* p, Vec<float> v) { _mm512_stream_ps(p, (__m512)v); }
HL_INLINE void store_past_cache(double* p, Vec<double> v) { _mm512_stream_pd(p, (__m512d)v); }
HL_INLINE void store_fence() { _mm_sfence(); }

HL_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
HL_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
// Unmasked intrinsics start from an undefined register, of which
// GCC 12 warns (GCC bug 105593);
// a full mask costs nothing.
HL_INLINE Vec<float> sqrt(Vec<float> v) {
  return (Vec<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)v);
}
HL_INLINE Vec<double> sqrt(Vec<double> v) {
  return (Vec<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)v);
}

HL_INLINE Vec<float> lesser(Vec<float> a, Vec<float> b) {
  return (Vec<float>)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b);
}
HL_INLINE Vec<double> lesser(Vec<double> a, Vec<double> b) {
  return (Vec<double>)_mm512_maskz_min_pd(0xff, (__m512d)a, (__m512d)b);
}
HL_INLINE Vec<float> greater(Vec<float> a, Vec<float> b) {
  return (Vec<float>)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
}
HL_INLINE Vec<double> greater(Vec<double> a, Vec<double> b) {
  return (Vec<double>)_mm512_maskz_max_pd(0xff, (__m512d)a, (__m512d)b);
}

HL_INLINE Vec<float> rint(Vec<float> v) {
  return (Vec<float>)_mm512_maskz_roundscale_ps(0xffff, (__m512)v, _MM_FROUND_TO_NEAREST_INT);
}
HL_INLINE Vec<double> rint(Vec<double> v) {
  return (Vec<double>)_mm512_maskz_roundscale_pd(0xff, (__m512d)v, _MM_FROUND_TO_NEAREST_INT);
}

HL_INLINE Vec<uint64_t> mul_low(Vec<uint64_t> a, Vec<uint64_t> b) {
  return (Vec<uint64_t>)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
}

#define HL_HAVE_SCALE
HL_INLINE Vec<float> scale(Vec<float> v, Vec<float> n) {
  return (Vec<float>)_mm512_maskz_scalef_ps(0xffff, (__m512)v, (__m512)n);
}
HL_INLINE Vec<double> scale(Vec<double> v, Vec<double> n) {
  return (Vec<double>)_mm512_maskz_scalef_pd(0xff, (__m512d)v, (__m512d)n);
}

// Of any lanes: compilers do not agree on the type that a comparison of doubles has.
template <class M>
HL_INLINE bool any(M mask) {
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
}

}  // namespace hl::cpu::HL_ISA
