// The portable build: 16-byte compiler vectors and no intrinsics, so that it compiles anywhere and
// the compiler lowers each operation to what the baseline has, down to single scalars.
#pragma once

namespace hl::cpu::HL_ISA {

constexpr bool kFused = false;
constexpr int kVectorBytes = 16;

// The matrix product's register tile: 12 sums + 2 + 1 fit the 16 registers of x86-64's baseline.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

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

// Two roundings: a baseline processor has no fused multiply-add, and libm's emulation of one is a
// hundred times slower than everything around it.
template <class V>
HL_INLINE V fma(V a, V b, V c) {
  return a * b + c;
}
template <class V>
HL_INLINE V sqrt(V v) {
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) {
    if constexpr (sizeof(v[0]) == 4) {
      v[i] = __builtin_sqrtf(v[i]);
    } else {
      v[i] = __builtin_sqrt(v[i]);
    }
  }
  return v;
}

// Adding 2^(mantissa bits) with the number's sign pushes the fraction out of the register, rounding to
// nearest even; from there on every number is an integer already.
template <class V>
HL_INLINE V rint(V v) {
  constexpr auto kBig = sizeof(v[0]) == 4 ? 0x1p23 : 0x1p52;
  using T = decltype(v[0] + 0);
  V magic = v < T(0) ? V{} - T(kBig) : V{} + T(kBig);
  V r = (v + magic) - magic;
  return ((v < T(kBig)) & (v > T(-kBig))) ? r : v;
}

HL_INLINE Vec<uint64_t> mul_low(Vec<uint64_t> a, Vec<uint64_t> b) {
  return (a & 0xffffffffu) * (b & 0xffffffffu);
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
  const Vec<int64_t> halves = (Vec<int64_t>)mask;
  return (halves[0] | halves[1]) != 0;
}

}  // namespace hl::cpu::HL_ISA
