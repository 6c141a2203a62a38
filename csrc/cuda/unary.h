// Functions of one operand as a thread computes them; ops/elementwise/elementwise.h defines them.
//
// The switch is the same for all threads of a launch, so a warp takes one branch. `saved` of the
// derivative is x or y, as bind/elementwise.h lists.
#pragma once

#include "cuda/gpu.h"
#include "ops/elementwise/elementwise.h"

namespace hl::cuda {

template <class T>
__device__ T sigmoid(T x) {
  const T e = exp(-fabs(x));
  return x >= 0 ? 1 / (1 + e) : x < 0 ? e / (1 + e) : x;
}

// NaN comes through, as everywhere.
template <class T>
__device__ T clamp_to(T x, T low, T high) {
  return x < low ? low : x > high ? high : x;
}

template <class T>
__device__ T softplus(T x) {
  return (x > 0 ? x : x < 0 ? T(0) : x) + log1p(exp(-fabs(x)));
}

constexpr double kSeluScale = 1.0507009873554804934193349852946;
constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
constexpr double kGeluC = 1.5957691216057307117597842397375;  // 2 sqrt(2 / pi)
constexpr double kGeluD = kGeluC * 0.044715;

template <class T>
__device__ T normal_cdf(T x) {
  return T(0.5) * erfc(-x * T(0.70710678118654752440));
}

// tanh(log(1 + e)) = w / (w + 2) with e = exp(x), w = e (e + 2); 1 from x = 20 (double: 40) on.
template <class T>
__device__ T mish_exp(T x) {
  return exp(clamp_to(x, T(-1000), T(sizeof(T) == 4 ? 20 : 40)));
}

template <class T>
__device__ T unary(UnaryOp op, T x, T p0, T p1) {
  switch (op) {
    case UnaryOp::kAbs:
      return fabs(x);
    case UnaryOp::kCeil:
      return ceil(x);
    case UnaryOp::kClip:
    case UnaryOp::kHardtanh:
      return clamp_to(x, p0, p1);
    case UnaryOp::kCos:
      return cos(x);
    case UnaryOp::kErf:
      return erf(x);
    case UnaryOp::kExp:
      return exp(x);
    case UnaryOp::kExpm1:
      return expm1(x);
    case UnaryOp::kFloor:
      return floor(x);
    case UnaryOp::kLog:
      return log(x);
    case UnaryOp::kLog1p:
      return log1p(x);
    case UnaryOp::kNeg:
      return -x;
    case UnaryOp::kPow:
      return p0 == 2 ? x * x : p0 == 1 ? x : p0 == 0 ? T(1) : pow(x, p0);
    case UnaryOp::kReciprocal:
      return 1 / x;
    case UnaryOp::kRsqrt:
      return 1 / sqrt(x);
    case UnaryOp::kSign:
      return x > 0 ? T(1) : x < 0 ? T(-1) : x;
    case UnaryOp::kSin:
      return sin(x);
    case UnaryOp::kSqrt:
      return sqrt(x);
    case UnaryOp::kSquare:
      return x * x;
    case UnaryOp::kElu:
      return x > 0 ? x : p0 * expm1(x);
    case UnaryOp::kGelu:
      return x * normal_cdf(x);
    case UnaryOp::kGeluTanh:
      return x * sigmoid(x * (T(kGeluD) * x * x + T(kGeluC)));
    case UnaryOp::kHardsigmoid:
      return clamp_to(x + 3, T(0), T(6)) / 6;
    case UnaryOp::kHardswish:
      return x * clamp_to(x + 3, T(0), T(6)) / 6;
    case UnaryOp::kHeaviside:
      return x > 0 ? T(1) : x < 0 ? T(0) : x == 0 ? p0 : x;
    case UnaryOp::kLeakyRelu:
      return x > 0 ? x : p0 * x;
    case UnaryOp::kLogsigmoid:
      return (x < 0 ? x : x > 0 ? T(0) : x) - log1p(exp(-fabs(x)));
    case UnaryOp::kMish: {
      const T e = mish_exp(x), w = e * (e + 2);
      return x * (w / (w + 2));
    }
    case UnaryOp::kRelu:
      return x > 0 ? x : x <= 0 ? T(0) : x;
    case UnaryOp::kRelu6:
      return clamp_to(x, T(0), T(6));
    case UnaryOp::kSelu:
      return x > 0 ? T(kSeluScale) * x : T(kSeluScale * kSeluAlpha) * expm1(x);
    case UnaryOp::kSigmoid:
      return sigmoid(x);
    case UnaryOp::kSilu:
      return x / (1 + exp(-x));
    case UnaryOp::kSoftplus:
      return p0 * x > p1 || x != x ? x : softplus(p0 * x) / p0;
    case UnaryOp::kSoftsign:
      return x / (1 + fabs(x));
    case UnaryOp::kTanh:
      return tanh(x);
    default:
      return x;
  }
}

template <class T>
__device__ T unary_gradient(UnaryOp op, T dy, T saved, T p0, T p1) {
  const T v = saved;
  switch (op) {
    case UnaryOp::kAbs:
      return dy * (v > 0 ? T(1) : v < 0 ? T(-1) : v);
    case UnaryOp::kCeil:
    case UnaryOp::kFloor:
    case UnaryOp::kSign:
      return 0;
    case UnaryOp::kClip:
      return v < p0 || v > p1 ? T(0) : dy;
    case UnaryOp::kCos:
      return -dy * sin(v);
    case UnaryOp::kErf:
      return dy * (T(1.1283791670955125738961589) * exp(-v * v));
    case UnaryOp::kExp:
      return dy * v;
    case UnaryOp::kExpm1:
      return dy * (v + 1);
    case UnaryOp::kLog:
      return dy / v;
    case UnaryOp::kLog1p:
      return dy / (1 + v);
    case UnaryOp::kNeg:
      return -dy;
    case UnaryOp::kPow:
      return p0 == 0 ? T(0) : dy * (p0 * unary(UnaryOp::kPow, v, p0 - 1, T(0)));
    case UnaryOp::kReciprocal:
      return -dy * (v * v);
    case UnaryOp::kRsqrt:
      return dy * (T(-0.5) * v * v * v);
    case UnaryOp::kSin:
      return dy * cos(v);
    case UnaryOp::kSqrt:
      return dy / (v + v);
    case UnaryOp::kSquare:
      return dy * (v + v);
    case UnaryOp::kElu:
      return v > 0 ? dy : dy * (p0 * exp(v));
    case UnaryOp::kGelu:
      return dy * (normal_cdf(v) + v * T(0.39894228040143267794) * exp(T(-0.5) * v * v));
    case UnaryOp::kGeluTanh: {
      const T g = sigmoid(v * (T(kGeluD) * v * v + T(kGeluC)));
      return dy * (g * (v * (T(3 * kGeluD) * v * v + T(kGeluC)) * (1 - g) + 1));
    }
    case UnaryOp::kHardsigmoid:
      return v <= -3 || v >= 3 ? T(0) : dy / 6;
    case UnaryOp::kHardswish:
      return v <= -3 ? T(0) : v >= 3 ? dy : dy * (v / 3 + T(0.5));
    case UnaryOp::kHardtanh:
      return v <= p0 || v >= p1 ? T(0) : dy;
    case UnaryOp::kLeakyRelu:
      return v > 0 ? dy : p0 * dy;
    case UnaryOp::kLogsigmoid:
      return dy * sigmoid(-v);
    case UnaryOp::kMish: {
      const T e = mish_exp(v), w = e * (e + 2), d = w + 2;
      const T steep = 4 * e * (1 + e) / (d * d);
      return dy * (clamp_to(v, T(-1000), T(sizeof(T) == 4 ? 20 : 40)) * steep + w / d);
    }
    case UnaryOp::kRelu:
      return v <= 0 ? T(0) : dy;
    case UnaryOp::kRelu6:
      return v <= 0 || v >= 6 ? T(0) : dy;
    case UnaryOp::kSelu:
      return dy * (v > 0 ? T(kSeluScale) : v + T(kSeluScale * kSeluAlpha));
    case UnaryOp::kSigmoid:
      return dy * (v * (1 - v));
    case UnaryOp::kSilu: {
      const T g = sigmoid(v);
      return dy * (g * (v * (1 - g) + 1));
    }
    case UnaryOp::kSoftplus:
      return p0 * v > p1 ? dy : dy * sigmoid(p0 * v);
    case UnaryOp::kSoftsign: {
      const T d = 1 + fabs(v);
      return dy / (d * d);
    }
    case UnaryOp::kTanh:
      return dy * (1 - v * v);
    default:
      return dy;
  }
}

// y = act(z) where a kernel finishes with an activation, which may be none.
template <class T>
__device__ T activate(int activation, T z, double p0, double p1) {
  return activation == kNoActivation ? z : unary(UnaryOp(activation), z, T(p0), T(p1));
}
template <class T>
__device__ T activate_gradient(int activation, T dy, T saved, double p0, double p1) {
  return activation == kNoActivation ? dy
                                     : unary_gradient(UnaryOp(activation), dy, saved, T(p0), T(p1));
}

}  // namespace hl::cuda
