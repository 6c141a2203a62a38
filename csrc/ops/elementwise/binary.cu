#include "cuda/elements.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

template <class T>
__device__ T floor_divide(T a, T b) {
  if (b == 0) return a / b;
  // a / b may round up to a whole number that it does not reach: the remainder, which fmod gives
  // exactly, decides. After NumPy's npy_divmod.
  const T rest = fmod(a, b);
  T q = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) q -= 1;
  if (q == 0) return copysign(T(0), a / b);
  const T whole = floor(q);
  return q - whole > T(0.5) ? whole + 1 : whole;
}

template <class T>
__device__ T remainder_of(T a, T b) {
  const T rest = fmod(a, b);
  if (rest == 0) return copysign(rest, b);
  return (b < 0) != (rest < 0) ? rest + b : rest;
}

template <class T>
__device__ T binary(BinaryOp op, T a, T b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kFloorDivide:
      return floor_divide(a, b);
    case BinaryOp::kMaximum:
      return a > b || a != a ? a : b;
    case BinaryOp::kMinimum:
      return a < b || a != a ? a : b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kPow:
      return pow(a, b);
    case BinaryOp::kPrelu:
      return a > 0 ? a : b * a;
    case BinaryOp::kRemainder:
      return remainder_of(a, b);
    default:
      return a - b;
  }
}

// By the first or the second operand; only what the op needs is read.
template <class T>
__device__ T binary_gradient(BinaryOp op, bool second, T dy, const T* a, const T* b, const T* y) {
  switch (op) {
    case BinaryOp::kAdd:
      return dy;
    case BinaryOp::kDiv:
      return second ? -dy * ((*a / *b) / *b) : dy / *b;
    case BinaryOp::kFloorDivide:
      return 0;
    case BinaryOp::kMaximum:
      return *a == *b ? T(0.5) * dy : (second ? *b < *a : *a < *b) ? T(0) : dy;
    case BinaryOp::kMinimum:
      return *a == *b ? T(0.5) * dy : (second ? *b > *a : *a > *b) ? T(0) : dy;
    case BinaryOp::kMul:
      return dy * (second ? *a : *b);
    case BinaryOp::kPow:
      if (!second) return *b == 0 ? T(0) : dy * (*b * pow(*a, *b - 1));
      // y log a has the limit 0 where a = 0 and b > 0; at b = 0 PyTorch says 0 as well.
      return *a == 0 && *b >= 0 ? T(0) : dy * (*y * log(*a));
    case BinaryOp::kPrelu:
      if (second) return *a > 0 ? T(0) : *a * dy;
      return *a > 0 ? dy : *b * dy;
    case BinaryOp::kRemainder:
      return second ? -dy * floor_divide(*a, *b) : dy;
    default:
      return second ? -dy : dy;
  }
}

template <class T>
struct BinaryTerm {
  BinaryOp op;
  bool second;
  const T *dy, *a, *b, *y;
  __device__ T operator()(const Offsets<5>& o) const {
    return binary_gradient(op, second, dy[o.at[0]], a + o.at[1], b + o.at[2], y + o.at[3]);
  }
};

template <class T>
Plan binary_forward_plan(const ElementShape& s) {
  return element_plan(s, 3, sizeof(T));
}
template <class T>
void binary_forward(Ctx& ctx, const ElementShape& s, const T* a, const T* b, T* y) {
  const BinaryOp op = BinaryOp(s.op);
  const T number = T(s.p0);
  map_elements<3>(
      ctx, s, y,
      [=] __device__(const Offsets<3>& o) {
        return Both<T>{a ? a[o.at[0]] : number, b ? b[o.at[1]] : number};
      },
      [=] __device__(const Both<T>& v) { return binary(op, v.a, v.b); });
}

template <class T>
Plan binary_backward_plan(const ElementShape& s) {
  return gradient_plan<T, 5>(s);
}
template <class T>
void binary_backward(Ctx& ctx, const ElementShape& s, const T* dy, const T* a, const T* b,
                     const T* y, T* grad) {
  gradient<5>(ctx, s, BinaryTerm<T>{BinaryOp(s.op), s.p0 != 0, dy, a, b, y}, grad);
}

HL_CUDA_KERNEL(binary_forward);
HL_CUDA_KERNEL(binary_backward);

}  // namespace
}  // namespace hl::cuda
