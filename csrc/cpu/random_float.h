// Random bits to uniform and normal numbers, a vector at a time.
#pragma once

#include "cpu/philox.h"
#include "cpu/simd/math.h"

namespace hl::cpu::HL_ISA {

// ---- uniform on [0, 1), exactly --------------------------------------------------------------
HL_INLINE Vec<float> unit_interval(Vec<uint32_t> bits) {
  return to_float<Vec<float>>(as<Vec<int32_t>>(bits >> 8)) * 0x1p-24f;
}
HL_INLINE Vec<double> unit_interval(Vec<uint64_t> bits) {
  // 32 + 21 bits, each set into the mantissa of 2^52: no conversion instruction is needed.
  constexpr uint64_t kMagic = 0x4330000000000000;
  const Vec<double> high = as<Vec<double>>((bits >> 32) | kMagic) - 0x1p52;
  const Vec<double> low = as<Vec<double>>(((bits >> 11) & 0x1fffffu) | kMagic) - 0x1p52;
  return (high * 0x1p21 + low) * 0x1p-53;
}

// ---- normal ------------------------------------------------------------------------------------
// log x for x in (0, 1]: none of the cases that a general logarithm has to look for.
template <class V>
HL_INLINE V log_unit(V x) {
  V e;
  const V f = split_exponent(x, e) - Elem<V>(1);
  return log_reduced(e, f, V{});
}

// Both at once, on [-pi/4, pi/4].
template <class V>
HL_INLINE void sin_cos_eighth(V t, V& sine, V& cosine) {
  using T = Elem<V>;
  const V z = t * t;
  sine = fma(t * z, poly(z, TrigConstants<T>::kSine), t);
  cosine = fma(z * z, poly(z, TrigConstants<T>::kCosine), fma(z, set1(T(-0.5)), set1(T(1))));
}

// The upper two bits choose a quarter of the circle, the others a place t in it, from its middle;
// the four are (cos t, sin t), (sin t, cos t) and their negatives.
HL_INLINE Vec<float> place_in_quarter(Vec<uint32_t> bits) {
  constexpr float kEighthTurn = 0x1.921fb6p-1f;  // pi / 4
  return to_float<Vec<float>>(as<Vec<int32_t>>(bits << 2)) * (kEighthTurn * 0x1p-31f);
}
HL_INLINE Vec<double> place_in_quarter(Vec<uint64_t> bits) {
  constexpr double kQuarterTurn = 0x1.921fb54442d18p0;
  return (as<Vec<double>>(((bits << 2) >> 12) | 0x3ff0000000000000u) - 1.5) * kQuarterTurn;
}

// (0, 1], from the upper bits.
HL_INLINE Vec<float> nonzero_unit(Vec<uint32_t> bits) {
  return (to_float<Vec<float>>(as<Vec<int32_t>>(bits >> 1)) + 0.5f) * 0x1p-31f;
}
HL_INLINE Vec<double> nonzero_unit(Vec<uint64_t> bits) { return unit_interval(bits) + 0x1p-54; }

struct PickEven {
  static constexpr int lane(int i) { return 2 * i; }
};
struct PickOdd {
  static constexpr int lane(int i) { return 2 * i + 1; }
};

// Elements 0 ... L - 1 and L ... 2L - 1 from the bits of the same elements. U: 32- or 64-bit lanes.
template <class U, class V>
HL_INLINE void normal_pairs(U a, U b, V& first, V& second) {
  using T = Elem<V>;
  constexpr int L = kLanes<T>;
  constexpr int kBits = 8 * int(sizeof(T));
  const U radius = as<U>(shuffle<PickEven>(as<V>(a), as<V>(b)));
  const U angle = as<U>(shuffle<PickOdd>(as<V>(a), as<V>(b)));
  const V r = sqrt(log_unit(nonzero_unit(radius)) * T(-2));
  V sine, cosine;
  sin_cos_eighth(place_in_quarter(angle), sine, cosine);
  const auto odd = as<Int<V>>(angle << 1) < 0;
  const V x = select(odd, sine, cosine), y = select(odd, cosine, sine);
  const U turn = (angle >> (kBits - 1)) << (kBits - 1);  // half a turn
  const V c = as<V>(as<U>(r * x) ^ turn), s = as<V>(as<U>(r * y) ^ turn);
  first = shuffle<PickZipLow<L>>(c, s);
  second = shuffle<PickZipHigh<L>>(c, s);
}

}  // namespace hl::cpu::HL_ISA
