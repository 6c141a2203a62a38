// The SIMD vocabulary: the same thirty names on every instruction set.
//
// A vector is a compiler vector type, so + - * / & | ^ << >> and comparisons are the language's own.
// Only what the language cannot say is an intrinsic, and those live in the one header included
// below. A kernel written over these names is the same text for AVX-512, AVX2, NEON and the
// portable build, and this folder is the only place that asks which one it is.
//
//   Vec<T>, Int<V>, kLanes<T>          the vector of T, its integer twin, the number of lanes
//   load store load_n store_n          whole vectors, and the first n lanes (the rest read as zero)
//   store_past_cache store_fence       for results larger than the caches: nothing is read before it is
//                                      overwritten; aligned addresses; a fence at the end
//   set1 zero                          every lane x; 0; 0, 1, 2, ...
//   fma min max abs sqrt rint          a*b+c in one rounding where the hardware has it;
//                                      min and max return NaN if either operand is NaN
//   select(mask, a, b)                 a where the mask's lane is set; masks come from < > == != ...
//   to_int to_float as<U>              convert (round to nearest even); reinterpret the bits
//   mul_low                            64-bit products of the low halves of 64-bit lanes
//   hsum hmax hmin any                 across the lanes, in a fixed tree
//   shuffle transpose                  compile-time lane moves; an L x L block in registers
#pragma once

#include <stdint.h>

#define HL_INLINE inline __attribute__((always_inline))

#if defined(HL_ISA_avx512)
#include "cpu/simd/avx512.h"
#elif defined(HL_ISA_avx2)
#include "cpu/simd/avx2.h"
#elif defined(HL_ISA_neon)
#include "cpu/simd/neon.h"
#else
#include "cpu/simd/scalar.h"
#endif

namespace hl::cpu::HL_ISA {

template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class V>
struct VecTraits;
template <>
struct VecTraits<Vec<float>> {
  using Elem = float;
  using Int = Vec<int32_t>;
};
template <>
struct VecTraits<Vec<double>> {
  using Elem = double;
  using Int = Vec<int64_t>;
};
template <class V>
using Elem = typename VecTraits<V>::Elem;
template <class V>
using Int = typename VecTraits<V>::Int;

template <class T>
HL_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const UnalignedVec<T>*>(p);
}
template <class T>
HL_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<UnalignedVec<T>*>(p) = v;
}

template <class T>
HL_INLINE Vec<T> set1(T x) {
  return x - Vec<T>{};  // x - 0, not x + 0: it keeps the sign of -0
}
template <class T>
HL_INLINE Vec<T> zero() {
  return Vec<T>{};
}

// ---- lane moves known at compile time -----------------------------------------------------------
template <int... I>
struct Lanes {};
template <int N, int... I>
struct MakeLanes : MakeLanes<N - 1, N - 1, I...> {};
template <int... I>
struct MakeLanes<0, I...> {
  using type = Lanes<I...>;
};

// result[i] = (a, b)[pick(i)], where lanes of b count on from those of a
template <class Pick, class V, int... I>
HL_INLINE V shuffle_lanes(V a, V b, Lanes<I...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, Pick::lane(I)...);
#else
  return __builtin_shuffle(a, b, Int<V>{Pick::lane(I)...});
#endif
}
template <class Pick, class V>
HL_INLINE V shuffle(V a, V b) {
  return shuffle_lanes<Pick>(a, b, typename MakeLanes<kLanes<Elem<V>>>::type{});
}

template <int Step>
struct PickXor {
  static constexpr int lane(int i) { return i ^ Step; }
};
// One stage of a block transpose: exchange the off-diagonal Step x Step blocks of a row pair.
template <int Step, int L>
struct PickLow {
  static constexpr int lane(int i) { return (i & Step) ? L + (i - Step) : i; }
};
template <int Step, int L>
struct PickHigh {
  static constexpr int lane(int i) { return (i & Step) ? L + i : i + Step; }
};

template <class T, int Step = 1>
HL_INLINE void transpose(Vec<T> (&r)[kLanes<T>]) {
  constexpr int L = kLanes<T>;
  if constexpr (Step < L) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) {
      if (i & Step) continue;
      Vec<T> low = shuffle<PickLow<Step, L>>(r[i], r[i + Step]);
      Vec<T> high = shuffle<PickHigh<Step, L>>(r[i], r[i + Step]);
      r[i] = low;
      r[i + Step] = high;
    }
    transpose<T, Step * 2>(r);
  }
}

// ---- arithmetic ---------------------------------------------------------------------------------
template <class M, class V>
HL_INLINE V select(M mask, V a, V b) {
  return mask ? a : b;
}

template <class U, class V>
HL_INLINE U as(V v) {
  static_assert(sizeof(U) == sizeof(V));
  return reinterpret_cast<U>(v);
}

template <class V>
HL_INLINE Int<V> to_int(V v) {  // lanes must be integral and in range: see rint
  return __builtin_convertvector(v, Int<V>);
}
template <class V>
HL_INLINE V to_float(Int<V> v) {
  return __builtin_convertvector(v, V);
}

template <class V>
HL_INLINE V abs(V v) {
  using I = Int<V>;
  constexpr auto kSign = Elem<V>(-0.0);
  return as<V>(as<I>(v) & ~as<I>(set1(kSign)));
}

template <class V>
HL_INLINE V max(V a, V b) {
  return select((a > b) | (a != a), a, b);
}
template <class V>
HL_INLINE V min(V a, V b) {
  return select((a < b) | (a != a), a, b);
}

// Half of the lanes onto the other half, again and again: the order never changes.
template <class V, class Op, int Step = kLanes<Elem<V>> / 2>
HL_INLINE Elem<V> fold(V v, Op op) {
  if constexpr (Step == 0) {
    return v[0];
  } else {
    return fold<V, Op, Step / 2>(op(v, shuffle<PickXor<Step>>(v, v)), op);
  }
}
template <class V>
HL_INLINE Elem<V> hsum(V v) {
  return fold(v, [](V a, V b) __attribute__((always_inline)) { return a + b; });
}
template <class V>
HL_INLINE Elem<V> hmax(V v) {
  return fold(v, [](V a, V b) __attribute__((always_inline)) { return max(a, b); });
}
template <class V>
HL_INLINE Elem<V> hmin(V v) {
  return fold(v, [](V a, V b) __attribute__((always_inline)) { return min(a, b); });
}

}  // namespace hl::cpu::HL_ISA
