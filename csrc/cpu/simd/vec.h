// The SIMD vocabulary: the same forty names on every instruction set.
//
// A vector is a compiler vector type, so + - * / & | ^ << >> and comparisons are the language's own.
// Only what the language cannot say is an intrinsic, and those live in the one header included below.
// A kernel written over these names is the same text for AVX-512, AVX2, NEON and the portable build,
// and this folder is the only place that asks which one it is.
//
// clang-format off
//   Vec<T>, Int<V>, kLanes<T>     the vector of T, its integer twin, the number of lanes
//   load store load_n store_n     whole vectors, and the first n lanes (the rest read as zero)
//   store_past_cache store_fence  for results larger than the caches; aligned addresses, a fence at the end
//   set1 zero                     every lane x; 0
//   fma min max abs sqrt rint     a*b+c, in one rounding where kFused; NaN comes through min and max
//   lesser greater                a < b ? a : b and a > b ? a : b: b where either is NaN
//   product_error                 a*b - p, what rounding p = a*b lost
//   copysign clamp                |a| with b's sign; NaN passes through clamp
//   scale split_exponent          v * 2^n for a whole-numbered vector n; x = m 2^e, m in [0.7, 1.42)
//   select(mask, a, b)            a where the mask's lane is set; masks come from < > == != ...
//   to_int to_float as<U>         convert (round to nearest even); reinterpret the bits
//   mul_low                       64-bit products of the low halves of 64-bit lanes
//   hsum hmax hmin any            across the lanes, in a fixed tree
//   shuffle transpose             compile-time lane moves; an L x L block in registers
// clang-format on
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
  using Unsigned = Vec<uint32_t>;
  static constexpr int kFraction = 23, kBias = 127;  // bits of the fraction, offset of the exponent
  static constexpr int32_t kFractionMask = 0x7fffff;
  static constexpr float kRootHalf = 0x1.6a09e6p-1f;
};
template <>
struct VecTraits<Vec<double>> {
  using Elem = double;
  using Int = Vec<int64_t>;
  using Unsigned = Vec<uint64_t>;
  static constexpr int kFraction = 52, kBias = 1023;
  static constexpr int64_t kFractionMask = 0xfffffffffffff;
  static constexpr double kRootHalf = 0x1.6a09e667f3bcdp-1;
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
  return select(a != a, a, greater(a, b));
}
template <class V>
HL_INLINE V min(V a, V b) {
  return select(a != a, a, lesser(a, b));
}

template <class V>
HL_INLINE V clamp(V v, V low, V high) {
  return greater(low, lesser(high, v));
}

template <class V>
HL_INLINE V copysign(V a, V b) {
  using I = Int<V>;
  const I sign = as<I>(set1(Elem<V>(-0.0)));
  return as<V>((as<I>(a) & ~sign) | (as<I>(b) & sign));
}

// a * b - p for p = a * b rounded, exactly: without a fused multiply-add by Dekker's splitting.
template <class V>
HL_INLINE V product_error(V a, V b, V p) {
  if constexpr (kFused) {
    return fma(a, b, -p);
  } else {
    using I = Int<V>;
    using Traits = VecTraits<V>;
    constexpr auto kLower = Traits::kFractionMask >> (Traits::kFraction / 2 - 1);
    const V ah = as<V>(as<I>(a) & ~kLower), al = a - ah;
    const V bh = as<V>(as<I>(b) & ~kLower), bl = b - bh;
    return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
  }
}

// 2^n for whole n within the exponents of normal numbers. Adding 1.5 * 2^fraction leaves n in the
// low bits, and the shift carries it into the exponent: no conversion, which AVX2 lacks for 64
// bits.
template <class V>
HL_INLINE V power_of_two(V n) {
  using Traits = VecTraits<V>;
  using I = Int<V>;
  constexpr auto kMagic = Elem<V>(1.5) * Elem<V>(int64_t(1) << Traits::kFraction);
  return as<V>((as<I>(n + set1(kMagic)) << Traits::kFraction) + as<I>(set1(Elem<V>(1))));
}

#ifndef HL_HAVE_SCALE
// In two steps, so that 2^n itself may lie outside the normal numbers while v * 2^n lies inside.
template <class V>
HL_INLINE V scale(V v, V n) {
  const V half = rint(n * set1(Elem<V>(0.5)));
  return v * power_of_two(half) * power_of_two(n - half);
}
#endif

// x = m * 2^e for a normal x > 0, with m in [sqrt(1/2), sqrt(2)): where log is best cut.
template <class V>
HL_INLINE V split_exponent(V x, V& e) {
  using Traits = VecTraits<V>;
  using I = Int<V>;
  using U = typename Traits::Unsigned;
  const I root = as<I>(set1(Traits::kRootHalf));
  const I moved = as<I>(x) - root + as<I>(set1(Elem<V>(1)));
  constexpr auto kMagic = Elem<V>(int64_t(1) << Traits::kFraction);
  const U biased = as<U>(moved) >> Traits::kFraction;
  e = as<V>(as<I>(biased) | as<I>(set1(kMagic))) - set1(kMagic + Elem<V>(Traits::kBias));
  return as<V>((moved & Traits::kFractionMask) + root);
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
