// Functions of two operands, each with its derivative by either.
#include "cpu/simd/math.h"
#include "cpu/simd/pow.h"
#include "kernel.h"
#include "ops/elementwise/map.h"
#include "ops/elementwise/sum_walk.h"

namespace hl::cpu::HL_ISA {
namespace {

struct Add {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return a + b;
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V, V, V) {
    return dy;
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V, V, V) {
    return dy;
  }
};

struct Sub {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return a - b;
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V, V, V) {
    return dy;
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V, V, V) {
    return -dy;
  }
};

struct Mul {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return a * b;
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V, V b, V) {
    return dy * b;
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V, V) {
    return dy * a;
  }
};

struct Div {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return a / b;
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V, V b, V) {
    return dy / b;
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V b, V) {
    return -dy * ((a / b) / b);
  }
};

struct Pow {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return pow(a, b);
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V a, V b, V) {
    return select(b == V{}, V{}, dy * (b * pow(a, b - number<V>(1))));
  }
  // y log a has the limit 0 where a = 0 and b > 0; at b = 0 PyTorch says 0 as well.
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V b, V y) {
    return select((a == V{}) & (b >= V{}), V{}, dy * (y * log(a)));
  }
};

// a / b may round up to a whole number that it does not reach (1 / 0.1 is below 10): the remainder,
// which fmod gives exactly, decides. After NumPy's npy_divmod.
struct FloorDivide {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    const V zero = {}, one = number<V>(1), rest = fmod(a, b);
    const auto crosses = (rest != zero) & ((b < zero) != (rest < zero));
    const V q = (a - rest) / b - select(crosses, one, zero);
    const V whole = floor_of(q);
    const V y = select(q == zero, copysign(zero, a / b),
                       select(q - whole > number<V>(0.5), whole + one, whole));
    return select(b == zero, a / b, y);
  }
  template <class V>
  static HL_INLINE V grad_a(V, V, V, V) {
    return V{};
  }
  template <class V>
  static HL_INLINE V grad_b(V, V, V, V) {
    return V{};
  }
  template <class V>
  static HL_INLINE V floor_of(V x) {
    const V r = rint(x);
    return select(r > x, r - number<V>(1), r);
  }
};

struct Remainder {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    const V zero = {}, rest = fmod(a, b);
    const auto crosses = (rest != zero) & ((b < zero) != (rest < zero));
    return select(crosses, rest + b, select(rest == zero, copysign(rest, b), rest));
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V, V, V) {
    return dy;
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V b, V) {
    return -dy * FloorDivide::forward(a, b);
  }
};

struct Maximum {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return max(a, b);
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V a, V b, V) {
    return select(a < b, V{}, select(a == b, number<V>(0.5) * dy, dy));
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V b, V) {
    return grad_a(dy, b, a, a);
  }
};

struct Minimum {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return min(a, b);
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V a, V b, V) {
    return select(a > b, V{}, select(a == b, number<V>(0.5) * dy, dy));
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V b, V) {
    return grad_a(dy, b, a, a);
  }
};

struct Prelu {
  template <class V>
  static HL_INLINE V forward(V a, V b) {
    return select(a > V{}, a, b * a);
  }
  template <class V>
  static HL_INLINE V grad_a(V dy, V a, V b, V) {
    return select(a > V{}, dy, b * dy);
  }
  template <class V>
  static HL_INLINE V grad_b(V dy, V a, V, V) {
    return select(a > V{}, V{}, a * dy);
  }
};

template <class T>
HL_INLINE const T* input(void* const* p, int k) {
  return static_cast<const T*>(p[k]);
}

template <class Op, class T>
void forward_tile(const void*, void* const* p, int64_t n) {
  using V = Vec<T>;
  map_row(
      static_cast<T*>(p[2]), n, [](V a, V b) { return Op::forward(a, b); }, input<T>(p, 0),
      input<T>(p, 1));
}
template <class Op, class T>
void grad_a_tile(const void*, void* const* p, int64_t n) {
  using V = Vec<T>;
  map_row(
      static_cast<T*>(p[4]), n, [](V dy, V a, V b, V y) { return Op::grad_a(dy, a, b, y); },
      input<T>(p, 0), input<T>(p, 1), input<T>(p, 2), input<T>(p, 3));
}
template <class Op, class T>
void grad_b_tile(const void*, void* const* p, int64_t n) {
  using V = Vec<T>;
  map_row(
      static_cast<T*>(p[4]), n, [](V dy, V a, V b, V y) { return Op::grad_b(dy, a, b, y); },
      input<T>(p, 0), input<T>(p, 1), input<T>(p, 2), input<T>(p, 3));
}

struct Tiles {
  TileBody forward, grad[2];
};
template <class Op, class T>
Tiles tiles() {
  return {&forward_tile<Op, T>, {&grad_a_tile<Op, T>, &grad_b_tile<Op, T>}};
}

template <class T>
Tiles tiles_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
      return tiles<Add, T>();
    case BinaryOp::kDiv:
      return tiles<Div, T>();
    case BinaryOp::kFloorDivide:
      return tiles<FloorDivide, T>();
    case BinaryOp::kMaximum:
      return tiles<Maximum, T>();
    case BinaryOp::kMinimum:
      return tiles<Minimum, T>();
    case BinaryOp::kMul:
      return tiles<Mul, T>();
    case BinaryOp::kPow:
      return tiles<Pow, T>();
    case BinaryOp::kPrelu:
      return tiles<Prelu, T>();
    case BinaryOp::kRemainder:
      return tiles<Remainder, T>();
    case BinaryOp::kSub:
      return tiles<Sub, T>();
    default:
      return {};
  }
}

template <class T>
void axpy_tile(const void* alpha, void* const* p, int64_t n) {
  using V = Vec<T>;
  const V factor = set1(T(*static_cast<const double*>(alpha)));
  map_row(
      static_cast<T*>(p[2]), n, [=](V x, V y) { return fma(factor, x, y); }, input<T>(p, 0),
      input<T>(p, 1));
}

}  // namespace

template <class T>
Plan binary_forward_plan(const ElementShape& s) {
  return walk_plan(s, 3, sizeof(T));
}
template <class T>
void binary_forward(Ctx& ctx, const ElementShape& s, const T* a, const T* b, T* y) {
  const TileBody body = tiles_of<T>(BinaryOp(s.op)).forward;
  const T number = T(s.p0);
  const Walk w = walk_of<T>(s, body, a ? a : &number, b ? b : &number, y);
  if (one_run(s, 3)) return body(nullptr, w.base, s.size[0]);
  walk(ctx, s, w);
}

template <class T>
Plan binary_backward_plan(const ElementShape& s) {
  Plan p = walk_plan(s, 5, sizeof(T));
  if (!sums(s, 5)) return p;
  p.algorithm = "rows, summed";
  p.shared_bytes = sum_walk_bytes(s, 5, sizeof(T));
  return p;
}
template <class T>
void binary_backward(Ctx& ctx, const ElementShape& s, const T* dy, const T* a, const T* b,
                     const T* y, T* grad) {
  const TileBody body = tiles_of<T>(BinaryOp(s.op)).grad[s.p0 != 0];
  const Walk w = walk_of<T>(s, body, dy, a, b, y, grad);
  if (one_run(s, 5)) return body(nullptr, w.base, s.size[0]);
  if (sums(s, 5)) return sum_walk<T>(ctx, s, w);
  walk(ctx, s, w);
}

// y is operand 1 and 2: read, then written.
template <class T>
Plan axpy_plan(const ElementShape& s) {
  return walk_plan(s, 3, sizeof(T));
}
template <class T>
void axpy(Ctx& ctx, const ElementShape& s, const T* x, T* y) {
  const Walk w = walk_of<T>(s.p0, &axpy_tile<T>, x, y, y);
  if (one_run(s, 3)) return w.body(w.op, w.base, s.size[0]);
  walk(ctx, s, w);
}

HL_DEFINE_KERNEL(binary_forward);
HL_DEFINE_KERNEL(binary_backward);
HL_DEFINE_KERNEL(axpy);

}  // namespace hl::cpu::HL_ISA
