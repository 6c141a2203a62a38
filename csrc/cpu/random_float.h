// Random bits to uniform and normal numbers, a vector at a time.
#pragma once

#include "cpu/philox.h"

namespace hl::cpu::HL_ISA {

// ---- uniform on [0, 1), exactly
// ------------------------------------------------------------------
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

// ---- normal
// -------------------------------------------------------------------------------------- log x for
// x in (0, 1]: x = 2^k (1 + f), sqrt 1/2 <= 1 + f < sqrt 2, and with s = f / (2 + f) log(1 + f) = f
// - f^2/2 + s (f^2/2 + R(s^2)); coefficients of fdlibm's e_log.c and of FreeBSD's e_logf.c.
template <class V>
HL_INLINE V log_reduced(V f, V k, V r, V s) {
  using T = Elem<V>;
  // ln 2 in two parts, so that k times the first is exact.
  constexpr T kHigh = sizeof(T) == 4 ? T(0x1.62e3p-1) : T(0x1.62e42feep-1);
  constexpr T kLow = sizeof(T) == 4 ? T(0x1.2fefa2p-17) : T(0x1.a39ef35793c76p-33);
  const V half = f * f * T(0.5);
  return fma(k, set1(kHigh), -((half - fma(s, half + r, k * kLow)) - f));
}
HL_INLINE Vec<float> log_unit(Vec<float> x) {
  using V = Vec<float>;
  const Vec<int32_t> bits = as<Vec<int32_t>>(x);
  const Vec<int32_t> k = (bits - 0x3f3504f3) >> 23;
  const V f = as<V>(bits - (k << 23)) - 1.0f;
  const V s = f / (f + 2.0f), z = s * s;
  V r = fma(z, set1(0.24279078841f), set1(0.28498786688f));
  r = fma(z, r, set1(0.40000972152f));
  r = fma(z, r, set1(0.66666662693f));
  return log_reduced(f, to_float<V>(k), r * z, s);
}
HL_INLINE Vec<double> log_unit(Vec<double> x) {
  using V = Vec<double>;
  const Vec<uint64_t> bits = as<Vec<uint64_t>>(x);
  // k + 1024 > 0: a logical shift and the 2^52 trick do where there is no 64-bit arithmetic one.
  const Vec<uint64_t> biased = (bits - 0x3fe6a09e667f3bcdu + (uint64_t(1024) << 52)) >> 52;
  const V k = as<V>(biased | 0x4330000000000000u) - (0x1p52 + 1024);
  const V f = as<V>(bits - ((biased - 1024) << 52)) - 1.0;
  const V s = f / (f + 2.0), z = s * s;
  V r = fma(z, set1(1.479819860511658591e-01), set1(1.531383769920937332e-01));
  r = fma(z, r, set1(1.818357216161805012e-01));
  r = fma(z, r, set1(2.222219843214978396e-01));
  r = fma(z, r, set1(2.857142874366239149e-01));
  r = fma(z, r, set1(3.999999999940941908e-01));
  r = fma(z, r, set1(6.666666666666735130e-01));
  return log_reduced(f, k, r * z, s);
}

// Sine and cosine on [-pi/4, pi/4]: Cephes' sinf.c for float, fdlibm's k_sin.c and k_cos.c for
// double.
HL_INLINE void sin_cos_eighth(Vec<float> t, Vec<float>& sine, Vec<float>& cosine) {
  using V = Vec<float>;
  const V z = t * t;
  V p = fma(z, set1(-1.9515295891e-4f), set1(8.3321608736e-3f));
  p = fma(z, p, set1(-1.6666654611e-1f));
  sine = fma(p * z, t, t);
  V q = fma(z, set1(2.443315711809948e-5f), set1(-1.388731625493765e-3f));
  q = fma(z, q, set1(4.166664568298827e-2f));
  cosine = fma(z * z, q, fma(z, set1(-0.5f), set1(1.0f)));
}
HL_INLINE void sin_cos_eighth(Vec<double> t, Vec<double>& sine, Vec<double>& cosine) {
  using V = Vec<double>;
  const V z = t * t;
  V p = fma(z, set1(1.58969099521155010221e-10), set1(-2.50507602534068634195e-08));
  p = fma(z, p, set1(2.75573137070700676789e-06));
  p = fma(z, p, set1(-1.98412698298579493134e-04));
  p = fma(z, p, set1(8.33333333332248946124e-03));
  p = fma(z, p, set1(-1.66666666666666324348e-01));
  sine = fma(p * z, t, t);
  V q = fma(z, set1(-1.13596475577881948265e-11), set1(2.08757232129817482790e-09));
  q = fma(z, q, set1(-2.75573143513906633035e-07));
  q = fma(z, q, set1(2.48015872894767294178e-05));
  q = fma(z, q, set1(-1.38888888888741095749e-03));
  q = fma(z, q, set1(4.16666666666666019037e-02));
  cosine = fma(z * z, q, fma(z, set1(-0.5), set1(1.0)));
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
