// Elementary functions over the SIMD vocabulary, for float and double, on every instruction set.
//
// Each handles every input: signed zeros, infinities, NaN, overflow to infinity. Results too small
// for a normal number may be zero, and subnormal inputs may count as zero (kernels run with
// subnormals flushed). The largest error over the whole range, in units of the last place (ulp) of
// the exact result, stands beside each function (with a second pair for the portable build where
// fma() rounds twice); tests/test_simd_math.py holds them to it, tests/tools/ulp.py prints the
// table.
//
// Polynomials are least-maximum fits by tests/tools/minimax.py. Constants that are multiplied by a
// whole number n come in pieces with so many trailing zeros that the products are exact: the
// portable build has no fused multiply-add to hide their rounding.
#pragma once

#include "cpu/simd/constants.h"
#include "cpu/simd/trig_far.h"
#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

// c[0] + c[1] x + c[2] x^2 + ...
template <class V, int N>
HL_INLINE V poly(V x, const Elem<V> (&c)[N]) {
  V y = set1(c[N - 1]);
#pragma GCC unroll 32
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, set1(c[i]));
  return y;
}

// ---- exponential
// ---------------------------------------------------------------------------------

// x = n ln2 + r, |r| <= ln2 / 2; returns exp(r) - 1.
template <class V>
HL_INLINE V expm1_reduced(V x, V& n) {
  using T = Elem<V>;
  using C = ExpConstants<T>;
  n = rint(x * set1(C::kLog2e));
  V r = fma(n, set1(-C::kLn2High), x);
  r = fma(n, set1(-C::kLn2Low), r);
  return fma(r * r, poly(r, C::kPoly), r);
}

// exp for x within kLowest and kHighest.
template <class V>
HL_INLINE V exp_in_range(V x) {
  V n;
  const V p = expm1_reduced(x, n);
  return scale(p + set1(Elem<V>(1)), n);
}

// Largest error: 1.1 ulp float, 1.0 double.
template <class V>
HL_INLINE V exp(V x) {
  using C = ExpConstants<Elem<V>>;
  return exp_in_range(clamp(x, set1(C::kLowest), set1(C::kHighest)));
}

// Largest error: 1.6 ulp float, 1.9 double; not fused 1.7, 2.0.
template <class V>
HL_INLINE V expm1(V x) {
  using T = Elem<V>;
  using C = ExpConstants<T>;
  V n;
  const V p = expm1_reduced(clamp(x, set1(C::kMinusOneBelow), set1(C::kHighest)), n);
  // Half of the result first: 2^n alone would overflow before it does.
  const V t = power_of_two(n - set1(T(1)));
  const V half = fma(t, p, t - set1(T(0.5)));
  return select(abs(x) < set1(C::kSmall), x, half + half);
}

// Largest error: 2.0 ulp float, 2.2 double.
template <class V>
HL_INLINE V sigmoid(V x) {
  using T = Elem<V>;
  using C = ExpConstants<T>;
  V n;
  const V p = expm1_reduced(clamp(-x, set1(C::kMinusOneBelow), set1(C::kHighest - T(1))), n);
  const V s = power_of_two(n), whole = s + set1(T(1));
  const V d = fma(s, p, whole);         // 1 + exp(-x)
  const V lost = fma(s, p, whole - d);  // and what its rounding lost
  const V y = set1(T(1)) / d;
  return fma(-y, y * lost, y);
}

// Largest error: 1.4 ulp float, 1.4 double.
template <class V>
HL_INLINE V tanh(V x) {
  using T = Elem<V>;
  using C = TanhConstants<T>;
  const V a = abs(x), z = a * a;
  const V near = fma(a * z, poly(z, C::kNear), a);
  V n;
  const V p = expm1_reduced(lesser(set1(C::kLimit), a + a), n);
  const V s = power_of_two(n);
  const V far = set1(T(1)) - set1(T(2)) / fma(s, p, s + set1(T(1)));
  return copysign(select(a < set1(C::kFar), near, far), x);
}

// ---- logarithm
// -----------------------------------------------------------------------------------

// e ln2 + log(1 + f) + c, f in [-0.3, 0.42], c small. With s = f / (2 + f) the series of log(1 + f)
// is 2 atanh(s); what is left of it after f - f^2/2 is so small that its rounding does not matter.
// After FreeBSD's e_log.c.
template <class V>
HL_INLINE V log_reduced(V e, V f, V c) {
  using T = Elem<V>;
  const V s = f / (set1(T(2)) + f), z = s * s;
  const V half_square = set1(T(0.5)) * f * f;
  const V r = z * poly(z, LogConstants<T>::kPoly);
  const V low = fma(s, half_square + r, fma(e, set1(ExpConstants<T>::kLn2Low), c));
  return fma(e, set1(ExpConstants<T>::kLn2High), f - (half_square - low));
}

// What log gives outside (0, infinity), with x the distance from its pole.
template <class V>
HL_INLINE V log_edge(V x) {
  using T = Elem<V>;
  const V pole = select(x == V{}, set1(-T(__builtin_inf())), set1(T(__builtin_nan(""))));
  return select(x > V{}, x, pole);
}

// Largest error: 0.9 ulp float, 0.9 double.
template <class V>
HL_INLINE V log(V x) {
  using T = Elem<V>;
  using C = LogConstants<T>;
  V e;
  const V f = split_exponent(x, e) - set1(T(1));
  const V y = log_reduced(e, f, V{});
  x = select(abs(x) < set1(C::kTiny), V{}, x);
  return select((x > V{}) & (x <= set1(C::kHuge)), y, log_edge(x));
}

// Largest error: 0.9 ulp float, 0.9 double.
template <class V>
HL_INLINE V log1p(V x) {
  using T = Elem<V>;
  using C = LogConstants<T>;
  const V one = set1(T(1));
  const V u = one + x;
  const V back = u - one;
  const V lost = (x - back) + (one - (u - back));  // 1 + x = u + lost, exactly
  V e;
  const V f = split_exponent(u, e) - one;
  const auto near = e == V{};  // there x itself is the best f
  // lost / u, to the few bits that matter: 1 / (1 + f) = 1 - f + f^2 - ...
  const V share =
      (lost * power_of_two(-lesser(set1(T(VecTraits<V>::kBias - 1)), e))) * fma(f, f - one, one);
  const V y = log_reduced(e, select(near, x, f), select(near, V{}, share));
  const V inside = select((u > V{}) & (u <= set1(C::kHuge)), y, log_edge(u));
  return select(x == V{}, x, inside);
}

// log(1 + x) for 0 <= x <= 1, which needs no exponent split off. Softplus and its kin live on it.
template <class V>
HL_INLINE V log1p_unit(V x) {
  using T = Elem<V>;
  const V twice = (x + x) / (x + set1(T(2))), s = set1(T(0.5)) * twice, z = s * s;
  return fma(s * z, poly(z, LogConstants<T>::kUnit), twice);
}

// ---- error function
// ------------------------------------------------------------------------------

// Largest error: 1.1 ulp float, 1.1 double; not fused 1.6, 1.6.
template <class V>
HL_INLINE V erf(V x) {
  using T = Elem<V>;
  using C = ErfConstants<T>;
  const V a = lesser(set1(C::kLimit), abs(x));
  const V z = a * a;
  // x p alone may be too small for a normal number where the sum is not.
  const V p = poly(z, C::kNear);
  const V near = kFused ? fma(x, p, x) : x * (p + set1(T(1)));
  // 1 - exp(log erfc), cheaper than a quotient
  V n;
  const V q = expm1_reduced(poly(a, C::kFar), n);
  const V s = power_of_two(n);
  const V far = fma(-s, q, set1(T(1)) - s);
  return select(a < set1(C::kSwitch), near, copysign(far, x));
}

// The integral of the normal distribution from a >= 0 on is e times the result: e = exp(-a^2 / 2),
// and the rest, which falls slowly, is smooth in t = c / (a + c) and proportional to it far out.
// Apart they stay in range where their product does not.
template <class V>
HL_INLINE V normal_tail(V a, V& e) {
  using T = Elem<V>;
  using C = ErfConstants<T>;
  a = lesser(set1(C::kTailLimit), a);
  const V half = set1(T(0.5)), square = a * a;
  // The exponent magnifies the rounding error of the square.
  const V lost = half * product_error(a, a, square);
  e = exp_in_range(-half * square);
  e = kFused ? fma(e, -lost, e) : e * (set1(T(1)) - lost);
  const V t = set1(C::kCentre) / (a + set1(C::kCentre));
  return t * poly(fma(set1(T(-2)), t, set1(T(1))), C::kTail);
}

// x times the integral of the normal distribution up to x. The error is that of the far left, where
// the integral is tiny; right of -1 it is below 2.
// Largest error: 6.0 ulp float, 6.5 double; not fused 6.5, 6.5.
template <class V>
HL_INLINE V gelu(V x) {
  using T = Elem<V>;
  V e;
  const V tail = normal_tail(abs(x), e);
  const V bounded = greater(set1(-ErfConstants<T>::kTailLimit), x);  // 0 times infinity is NaN
  return select(x > V{}, x * (set1(T(1)) - tail * e), (bounded * tail) * e);
}

// Its derivative: the integral, plus x times the density.
template <class V>
HL_INLINE V gelu_derivative(V x) {
  using T = Elem<V>;
  V e;
  const V tail = normal_tail(abs(x), e) * e;
  const V cdf = select(x > V{}, set1(T(1)) - tail, tail);
  return fma(x, e * set1(T(0.398942280401432677939946)), cdf);
}

// ---- sine and cosine
// -----------------------------------------------------------------------------

// a = q pi/2 + r for a >= 0, |r| <= pi/4 and a little. Arguments beyond kFar, where the pieces of
// pi/2 run out, take the long way one by one.
template <class V>
HL_INLINE V reduce_half_pi(V a, Int<V>& q) {
  using T = Elem<V>;
  using C = TrigConstants<T>;
  const V n = rint(a * set1(C::kTwoOverPi));
  V r = a;
#pragma GCC unroll 4
  for (T piece : TrigPieces<T, kFused>::kHalfPi) r = fma(n, set1(-piece), r);
  const V magic = set1(T(1.5) * T(int64_t(1) << VecTraits<V>::kFraction));
  q = as<Int<V>>(n + magic);  // the low bits are n's
  const auto far = ~(a <= set1(TrigPieces<T, kFused>::kFar));
  if (any(far)) [[unlikely]] {
    for (int i = 0; i < kLanes<T>; ++i) {
      if (!far[i]) continue;
      int quadrant;
      r[i] = T(reduce_far(double(a[i]), quadrant));
      q[i] = quadrant;
    }
  }
  return r;
}

// sin(q pi/2 + r)
template <class V>
HL_INLINE V sine_quadrant(V r, Int<V> q) {
  using T = Elem<V>;
  using C = TrigConstants<T>;
  const V z = r * r;
  const V sine = fma(r * z, poly(z, C::kSine), r);
  const V cosine = fma(z * z, poly(z, C::kCosine), fma(z, set1(T(-0.5)), set1(T(1))));
  const V y = select((q & 1) != 0, cosine, sine);
  return as<V>(as<Int<V>>(y) ^ ((q & 2) << (8 * int(sizeof(T)) - 2)));
}

// Largest error: 1.6 ulp float, 1.7 double; not fused 2.5, 1.8.
template <class V>
HL_INLINE V sin(V x) {
  Int<V> q;
  const V r = reduce_half_pi(abs(x), q);
  const V y = sine_quadrant(r, q);
  const V sign = as<V>(as<Int<V>>(x) & as<Int<V>>(set1(Elem<V>(-0.0))));
  return as<V>(as<Int<V>>(y) ^ as<Int<V>>(sign));
}

// Largest error: 1.7 ulp float, 1.7 double; not fused 2.6, 1.9.
template <class V>
HL_INLINE V cos(V x) {
  Int<V> q;
  const V r = reduce_half_pi(abs(x), q);
  return sine_quadrant(r, q + 1);
}

}  // namespace hl::cpu::HL_ISA
