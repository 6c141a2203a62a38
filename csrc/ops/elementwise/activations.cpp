// The activation functions, forward above backward. Backward takes y where the derivative follows
// from the result alone, x elsewhere: bind/elementwise.h lists which.
#include "cpu/simd/math.h"
#include "ops/elementwise/map.h"
#include "ops/elementwise/rectifiers.h"

namespace hl::cpu::HL_ISA {
namespace {

struct Elu {
  template <class V>
  static HL_INLINE V forward(V x, V alpha, V) {
    return select(x > V{}, x, alpha * expm1(x));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V alpha, V) {
    return select(x > V{}, dy, dy * (alpha * exp(x)));
  }
};

// Constants of Klambauer et al. 2017, which make mean 0 and variance 1 a fixed point.
struct Selu {
  static constexpr double kScale = 1.0507009873554804934193349852946;
  static constexpr double kAlpha = 1.6732632423543772848170429916717;
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    const V scale = number<V>(kScale);
    return select(x > V{}, scale * x, number<V>(kScale * kAlpha) * expm1(x));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy * select(y > V{}, number<V>(kScale), y + number<V>(kScale * kAlpha));
  }
};

struct Gelu {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return gelu(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy * gelu_derivative(x);
  }
};

// (1 + tanh(u)) / 2 = sigmoid(2u), with 2u = x (c + d x^2).
struct GeluTanh {
  static constexpr double kC = 1.5957691216057307117597842397375;  // 2 sqrt(2 / pi)
  static constexpr double kD = kC * 0.044715;
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return x * sigmoid(x * fma(x * x, number<V>(kD), number<V>(kC)));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    const V square = x * x;
    const V g = sigmoid(x * fma(square, number<V>(kD), number<V>(kC)));
    const V slope = x * fma(square, number<V>(3 * kD), number<V>(kC));
    return dy * (g * fma(slope, number<V>(1) - g, number<V>(1)));
  }
};

struct Sigmoid {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return sigmoid(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy * (y * (number<V>(1) - y));
  }
};

struct Silu {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return x / (number<V>(1) + exp(-x));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    const V g = sigmoid(x);
    return dy * (g * fma(x, number<V>(1) - g, number<V>(1)));
  }
};

struct Logsigmoid {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return lesser(x, V{}) - log1p_unit(exp(-abs(x)));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    return dy * sigmoid(-x);
  }
};

struct Softplus {
  template <class V>
  static HL_INLINE V forward(V x, V beta, V threshold) {
    const V u = beta * x;
    const V soft = (greater(u, V{}) + log1p_unit(exp(-abs(u)))) * (number<V>(1) / beta);
    return select((u > threshold) | (x != x), x, soft);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V beta, V threshold) {
    const V u = beta * x;
    return select(u > threshold, dy, dy * sigmoid(u));
  }
};

// With e = exp(x) and w = e (e + 2), tanh(log(1 + e)) = w / (w + 2). From x = 20 (double: 40) on it
// is 1.
struct Mish {
  template <class V>
  static constexpr double kOne = sizeof(Elem<V>) == 4 ? 20 : 40;
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    const V e = exp(clamp(x, number<V>(-1000), number<V>(kOne<V>)));
    const V w = e * (e + number<V>(2));
    return x * (w / (w + number<V>(2)));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    const V two = number<V>(2);
    const V e = exp(clamp(x, number<V>(-1000), number<V>(kOne<V>)));
    const V w = e * (e + two), d = w + two;
    const V steep = number<V>(4) * e * (number<V>(1) + e) / (d * d);
    return dy * fma(clamp(x, number<V>(-1000), number<V>(kOne<V>)), steep, w / d);
  }
};

struct Softsign {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return x / (number<V>(1) + abs(x));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    const V d = number<V>(1) + abs(x);
    return dy / (d * d);
  }
};

struct Tanh {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return tanh(x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return dy * fma(-y, y, number<V>(1));
  }
};

struct Hardtanh {
  template <class V>
  static HL_INLINE V forward(V x, V low, V high) {
    return clamp(x, low, high);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V low, V high) {
    return select((y <= low) | (y >= high), V{}, dy);
  }
};

struct Relu6 {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return clamp(x, V{}, number<V>(6));
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return select((y <= V{}) | (y >= number<V>(6)), V{}, dy);
  }
};

struct Hardsigmoid {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return clamp(x + number<V>(3), V{}, number<V>(6)) / number<V>(6);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    const auto flat = (x <= number<V>(-3)) | (x >= number<V>(3));
    return select(flat, V{}, dy / number<V>(6));
  }
};

struct Hardswish {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return x * clamp(x + number<V>(3), V{}, number<V>(6)) / number<V>(6);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V, V) {
    const V slope = fma(x, number<V>(1.0 / 3), number<V>(0.5));
    const V rising = select(x >= number<V>(3), number<V>(1), slope);
    return dy * select(x <= number<V>(-3), V{}, rising);
  }
};

struct Heaviside {
  template <class V>
  static HL_INLINE V forward(V x, V at_zero, V) {
    const V step = select(x > V{}, number<V>(1), select(x < V{}, V{}, at_zero));
    return select(x == x, step, x);
  }
};

}  // namespace

template <class T>
UnaryRows<T> activation_rows(UnaryOp op) {
  switch (op) {
    case UnaryOp::kElu:
      return rows_of<Elu, T>();
    case UnaryOp::kGelu:
      return rows_of<Gelu, T>();
    case UnaryOp::kGeluTanh:
      return rows_of<GeluTanh, T>();
    case UnaryOp::kHardsigmoid:
      return rows_of<Hardsigmoid, T>();
    case UnaryOp::kHardswish:
      return rows_of<Hardswish, T>();
    case UnaryOp::kHardtanh:
      return rows_of<Hardtanh, T>();
    case UnaryOp::kHeaviside:
      return rows_of<Heaviside, T>();
    case UnaryOp::kLeakyRelu:
      return rows_of<LeakyRelu, T>();
    case UnaryOp::kLogsigmoid:
      return rows_of<Logsigmoid, T>();
    case UnaryOp::kMish:
      return rows_of<Mish, T>();
    case UnaryOp::kRelu:
      return rows_of<Relu, T>();
    case UnaryOp::kRelu6:
      return rows_of<Relu6, T>();
    case UnaryOp::kSelu:
      return rows_of<Selu, T>();
    case UnaryOp::kSigmoid:
      return rows_of<Sigmoid, T>();
    case UnaryOp::kSilu:
      return rows_of<Silu, T>();
    case UnaryOp::kSoftplus:
      return rows_of<Softplus, T>();
    case UnaryOp::kSoftsign:
      return rows_of<Softsign, T>();
    case UnaryOp::kTanh:
      return rows_of<Tanh, T>();
    default:
      return {};
  }
}

template UnaryRows<float> activation_rows(UnaryOp);
template UnaryRows<double> activation_rows(UnaryOp);

}  // namespace hl::cpu::HL_ISA
