// Functions of one operand; the activations are next door.
#include "cpu/simd/math.h"
#include "cpu/simd/pow.h"
#include "kernel.h"
#include "ops/elementwise/map.h"
#include "ops/elementwise/walk.h"

namespace hl::cpu::HL_ISA {
namespace {

// Bits only, so that NaN and subnormal numbers come through as they are.
struct Neg {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return as<V>(as<Int<V>>(x) ^ as<Int<V>>(number<V>(-0.0)));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V, V, V) {
    return forward(dy, dy, dy);
  }
};

struct Sign {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return select(x > V{}, number<V>(1), select(x < V{}, number<V>(-1), x));
  }
  template <class V>
  static HL_INLINE V backward(V, V, V, V) {
    return V{};
  }
};

struct Abs {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return abs(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy * Sign::forward(x, x, x);
  }
};

struct Floor {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    const V r = rint(x);
    return select(r > x, r - number<V>(1), r);
  }
  template <class V>
  static HL_INLINE V backward(V, V, V, V) {
    return V{};
  }
};

struct Ceil {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    const V r = rint(x);
    return select(r < x, r + number<V>(1), r);
  }
  template <class V>
  static HL_INLINE V backward(V, V, V, V) {
    return V{};
  }
};

struct Clip {
  template <class V>
  static HL_INLINE V forward(V x, V low, V high) {
    return clamp(x, low, high);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V low, V high) {
    return select((x < low) | (x > high), V{}, dy);
  }
};

struct Exp {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return exp(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy * y;
  }
};

struct Expm1 {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return expm1(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy * (y + number<V>(1));
  }
};

struct Log {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return log(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy / x;
  }
};

struct Log1p {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return log1p(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy / (number<V>(1) + x);
  }
};

struct Erf {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return erf(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy * (number<V>(1.1283791670955125738961589) * exp(-x * x));
  }
};

struct Sin {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return sin(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy * cos(x);
  }
};

struct Cos {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return cos(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return -dy * sin(x);
  }
};

struct Sqrt {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return sqrt(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy / (y + y);
  }
};

struct Rsqrt {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return number<V>(1) / sqrt(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy * (number<V>(-0.5) * y * y * y);
  }
};

struct Square {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return x * x;
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy * (x + x);
  }
};

struct Reciprocal {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return number<V>(1) / x;
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return -dy * (y * y);
  }
};

// use(f) with f(x) = x ** p, where p is the same for all: common powers need no logarithm.
template <class T, class Use>
HL_INLINE void with_power(T p, const Use& use) {
  using V = Vec<T>;
  if (p == T(0)) return use([](V) { return number<V>(1); });
  if (p == T(1)) return use([](V x) { return x; });
  if (p == T(2)) return use([](V x) { return x * x; });
  if (p == T(3)) return use([](V x) { return x * x * x; });
  if (p == T(-1)) return use([](V x) { return number<V>(1) / x; });
  if (p == T(-2)) return use([](V x) { return number<V>(1) / (x * x); });
  if (p == T(0.5)) return use([](V x) { return sqrt(x); });
  if (p == T(-0.5)) return use([](V x) { return number<V>(1) / sqrt(x); });
  use([p](V x) { return pow(x, set1(p)); });
}

template <class T>
void pow_row(const T* x, T* y, int64_t n, double p, double) {
  with_power(T(p), [=](const auto& f) { map_row(y, n, f, x); });
}
template <class T>
void pow_backward_row(const T* dy, const T* x, T* dx, int64_t n, double p, double) {
  using V = Vec<T>;
  if (p == 0) {
    for (int64_t i = 0; i < n; ++i) dx[i] = T(0);
    return;
  }
  with_power(T(p - 1), [=](const auto& f) {
    map_row(dx, n, [=](V d, V v) { return d * (number<V>(p) * f(v)); }, dy, x);
  });
}

}  // namespace

template <class T>
UnaryRows<T> unary_rows(UnaryOp op) {
  switch (op) {
    case UnaryOp::kAbs:
      return rows_of<Abs, T>();
    case UnaryOp::kCeil:
      return rows_of<Ceil, T>();
    case UnaryOp::kClip:
      return rows_of<Clip, T>();
    case UnaryOp::kCos:
      return rows_of<Cos, T>();
    case UnaryOp::kErf:
      return rows_of<Erf, T>();
    case UnaryOp::kExp:
      return rows_of<Exp, T>();
    case UnaryOp::kExpm1:
      return rows_of<Expm1, T>();
    case UnaryOp::kFloor:
      return rows_of<Floor, T>();
    case UnaryOp::kLog:
      return rows_of<Log, T>();
    case UnaryOp::kLog1p:
      return rows_of<Log1p, T>();
    case UnaryOp::kNeg:
      return rows_of<Neg, T>();
    case UnaryOp::kPow:
      return {&pow_row<T>, &pow_backward_row<T>};
    case UnaryOp::kReciprocal:
      return rows_of<Reciprocal, T>();
    case UnaryOp::kRsqrt:
      return rows_of<Rsqrt, T>();
    case UnaryOp::kSign:
      return rows_of<Sign, T>();
    case UnaryOp::kSin:
      return rows_of<Sin, T>();
    case UnaryOp::kSqrt:
      return rows_of<Sqrt, T>();
    case UnaryOp::kSquare:
      return rows_of<Square, T>();
    default:
      return activation_rows<T>(op);
  }
}

template UnaryRows<float> unary_rows(UnaryOp);
template UnaryRows<double> unary_rows(UnaryOp);

}  // namespace hl::cpu::HL_ISA
