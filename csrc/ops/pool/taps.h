// Tap numbers, one or four bytes in memory and a lane each in registers.
#pragma once

#include "cpu/simd/narrow.h"

namespace hl::cpu::HL_ISA {

template <class T>
HL_INLINE Int<Vec<T>> same_lanes(int64_t n) {
  using I = Int<Vec<T>>;
  return I{} + decltype(I{}[0] + 0)(n);
}

// A whole vector, whatever follows: the array has slack.
template <class T, class P>
HL_INLINE Int<Vec<T>> load_taps(const P* p) {
  Int<Vec<T>> v;
  load_wide(p, v);
  return v;
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
  P numbers[kLanes<T>];
  store_narrow(numbers, v);
  copy_pieces<int(sizeof numbers) / 2>(
      reinterpret_cast<char*>(p), reinterpret_cast<const char*>(numbers), n * int64_t(sizeof(P)));
}

}  // namespace hl::cpu::HL_ISA
