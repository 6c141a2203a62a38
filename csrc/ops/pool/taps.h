// Tap numbers, one or four bytes in memory and a lane each in registers.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

template <class T, class P>
struct TapVec {
  typedef P type __attribute__((vector_size(kLanes<T> * sizeof(P))));
};

template <class T>
HL_INLINE Int<Vec<T>> same_lanes(int64_t n) {
  using I = typename VecTraits<Vec<T>>::Int;
  return I{} + decltype(I{}[0] + 0)(n);
}

// A whole vector, whatever follows: the array has slack.
template <class T, class P>
HL_INLINE Int<Vec<T>> load_taps(const P* p) {
  typename TapVec<T, P>::type narrow;
  __builtin_memcpy(&narrow, p, sizeof narrow);
  return __builtin_convertvector(narrow, Int<Vec<T>>);
}

template <class T, class P>
HL_INLINE void store_taps(P* p, Int<Vec<T>> v) {
  const auto narrow = __builtin_convertvector(v, typename TapVec<T, P>::type);
  __builtin_memcpy(p, &narrow, sizeof narrow);
}

// The first n bytes, n below 2 * Half, in pieces of constant size.
template <int Half>
HL_INLINE void copy_pieces(char* to, const char* from, int64_t n) {
  if constexpr (Half > 0) {
    if (n & Half) {
      __builtin_memcpy(to, from, Half);
      to += Half, from += Half;
    }
    copy_pieces<Half / 2>(to, from, n);
  }
}

// The first n lanes, n below their number: what follows may belong to another task.
template <class T, class P>
HL_INLINE void store_taps_n(P* p, Int<Vec<T>> v, int64_t n) {
  const auto narrow = __builtin_convertvector(v, typename TapVec<T, P>::type);
  copy_pieces<int(sizeof narrow) / 2>(
      reinterpret_cast<char*>(p), reinterpret_cast<const char*>(&narrow), n * int64_t(sizeof(P)));
}

}  // namespace hl::cpu::HL_ISA
