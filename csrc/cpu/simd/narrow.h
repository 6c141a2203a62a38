// Small whole numbers: bytes and int32 in memory, a lane each in a vector of integers.
//
//   load_wide(p, v)     as many numbers as v has lanes
//   store_narrow(p, v)  the lowest byte, or the lower half, of every lane
//
// GCC 12 moves single bytes through integer registers for a conversion to four times the width.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

#if defined(HL_ISA_avx512)

HL_INLINE void load_wide(const uint8_t* p, Vec<int32_t>& v) {
  v = (Vec<int32_t>)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128((const __m128i*)p));
}
HL_INLINE void load_wide(const uint8_t* p, Vec<int64_t>& v) {
  v = (Vec<int64_t>)_mm512_maskz_cvtepu8_epi64(0xff, _mm_loadl_epi64((const __m128i*)p));
}
HL_INLINE void load_wide(const int32_t* p, Vec<int32_t>& v) {
  v = *(const UnalignedVec<int32_t>*)p;
}
HL_INLINE void load_wide(const int32_t* p, Vec<int64_t>& v) {
  v = (Vec<int64_t>)_mm512_maskz_cvtepi32_epi64(0xff, _mm256_loadu_si256((const __m256i*)p));
}
HL_INLINE void store_narrow(uint8_t* p, Vec<int32_t> v) {
  _mm_storeu_si128((__m128i*)p, _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
}
HL_INLINE void store_narrow(uint8_t* p, Vec<int64_t> v) {
  _mm_storel_epi64((__m128i*)p, _mm512_maskz_cvtepi64_epi8(0xff, (__m512i)v));
}
HL_INLINE void store_narrow(int32_t* p, Vec<int32_t> v) { *(UnalignedVec<int32_t>*)p = v; }
HL_INLINE void store_narrow(int32_t* p, Vec<int64_t> v) {
  _mm256_storeu_si256((__m256i*)p, _mm512_maskz_cvtepi64_epi32(0xff, (__m512i)v));
}

#elif defined(HL_ISA_avx2)

HL_INLINE void load_wide(const uint8_t* p, Vec<int32_t>& v) {
  v = (Vec<int32_t>)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
}
HL_INLINE void load_wide(const uint8_t* p, Vec<int64_t>& v) {
  v = (Vec<int64_t>)_mm256_cvtepu8_epi64(_mm_loadu_si32(p));
}
HL_INLINE void load_wide(const int32_t* p, Vec<int32_t>& v) {
  v = *(const UnalignedVec<int32_t>*)p;
}
HL_INLINE void load_wide(const int32_t* p, Vec<int64_t>& v) {
  v = (Vec<int64_t>)_mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i*)p));
}
// The lowest byte of each lane to the front of its half, then the halves together.
HL_INLINE void store_narrow(uint8_t* p, Vec<int32_t> v) {
  const __m256i pick = _mm256_set1_epi32(0x0c080400);
  const __m256i low = _mm256_shuffle_epi8((__m256i)v, pick);
  _mm_storel_epi64((__m128i*)p, _mm_unpacklo_epi32(_mm256_castsi256_si128(low),
                                                   _mm256_extracti128_si256(low, 1)));
}
HL_INLINE void store_narrow(uint8_t* p, Vec<int64_t> v) {
  const __m256i pick = _mm256_set1_epi16(0x0800);
  const __m256i low = _mm256_shuffle_epi8((__m256i)v, pick);
  _mm_storeu_si32(
      p, _mm_unpacklo_epi16(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
HL_INLINE void store_narrow(int32_t* p, Vec<int32_t> v) { *(UnalignedVec<int32_t>*)p = v; }
HL_INLINE void store_narrow(int32_t* p, Vec<int64_t> v) {
  const __m256i pick = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  _mm_storeu_si128((__m128i*)p,
                   _mm256_castsi256_si128(_mm256_permutevar8x32_epi32((__m256i)v, pick)));
}

#else

// In steps of one half, which compilers know.
template <class P, int N>
struct Lanewise {
  typedef P type __attribute__((vector_size(N * sizeof(P))));
};
template <class P, int N>
using LanesOf = typename Lanewise<P, N>::type;

template <class I>
HL_INLINE void load_wide(const uint8_t* p, I& v) {
  constexpr int N = sizeof(I) / sizeof(v[0]);
  LanesOf<uint8_t, N> bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  using Words = LanesOf<uint16_t, N>;
  using Numbers = LanesOf<int32_t, N>;
  const auto words = __builtin_convertvector(bytes, Words);
  v = __builtin_convertvector(__builtin_convertvector(words, Numbers), I);
}
template <class I>
HL_INLINE void load_wide(const int32_t* p, I& v) {
  LanesOf<int32_t, sizeof(I) / sizeof(v[0])> numbers;
  __builtin_memcpy(&numbers, p, sizeof numbers);
  v = __builtin_convertvector(numbers, I);
}
template <class I>
HL_INLINE void store_narrow(uint8_t* p, I v) {
  constexpr int N = sizeof(I) / sizeof(v[0]);
  using Bytes = LanesOf<uint8_t, N>;
  using Words = LanesOf<uint16_t, N>;
  using Numbers = LanesOf<int32_t, N>;
  const auto words = __builtin_convertvector(__builtin_convertvector(v, Numbers), Words);
  const auto bytes = __builtin_convertvector(words, Bytes);
  __builtin_memcpy(p, &bytes, sizeof bytes);
}
template <class I>
HL_INLINE void store_narrow(int32_t* p, I v) {
  using Numbers = LanesOf<int32_t, sizeof(I) / sizeof(v[0])>;
  const auto numbers = __builtin_convertvector(v, Numbers);
  __builtin_memcpy(p, &numbers, sizeof numbers);
}

#endif

}  // namespace hl::cpu::HL_ISA
