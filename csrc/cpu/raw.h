// Items of 1, 2, 4, 8 and 16 bytes, moved without being looked at.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

struct Pair64 {
  uint64_t low, high;
};

template <int bytes>
struct RawItem;
template <>
struct RawItem<1> {
  using type = uint8_t;
};
template <>
struct RawItem<2> {
  using type = uint16_t;
};
template <>
struct RawItem<4> {
  using type = uint32_t;
};
template <>
struct RawItem<8> {
  using type = uint64_t;
};
template <>
struct RawItem<16> {
  using type = Pair64;
};

// Calls f with an item of this many bytes.
template <class F>
HL_INLINE void with_item(int bytes, const F& f) {
  switch (bytes) {
    case 1:
      return f(RawItem<1>::type());
    case 2:
      return f(RawItem<2>::type());
    case 4:
      return f(RawItem<4>::type());
    case 8:
      return f(RawItem<8>::type());
    default:
      return f(RawItem<16>::type{});
  }
}

HL_INLINE void copy_bytes(void* to, const void* from, int64_t n) {
  __builtin_memcpy(to, from, uint64_t(n));
}
HL_INLINE void zero_bytes(void* to, int64_t n) { __builtin_memset(to, 0, uint64_t(n)); }

template <class U>
HL_INLINE void fill_items(U* to, U value, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = value;
}

}  // namespace hl::cpu::HL_ISA
