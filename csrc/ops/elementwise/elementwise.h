// Operations that treat every element alike.
//
//   unary      y = f(x; p0, p1)              dx = dy f'(x), from x or from y as UnarySaves says
//   binary     y = f(a, b)                   da = sum of dy df/da, db = sum of dy df/db, where the
//   sum
//                                            runs over the axes along which the operand was
//                                            broadcast
//   compare    y = a < b, ...  as bool
//   where      y = mask ? a : b              da = sum of (mask ? dy : 0), db likewise
//
// Every operand is a strided array of up to eight axes; a broadcast axis has stride 0. The result
// has the C order of the broadcast shape unless `out` brings strides of its own. An output may be
// exactly an input of the same shape.
//
// Conventions where mathematics leaves a choice (they are PyTorch's): NaN comes through maximum,
// minimum, relu, clip; f' is 0 at relu's corner, at hardtanh's and relu6's two, and 0 for sign and
// floor; clip passes the gradient at its ends; maximum and minimum share it in halves between
// equals.
#pragma once

#include "context.h"

namespace hl {

constexpr int kElementDims = 8;
constexpr int kElementOperands = 5;

enum class UnaryOp : int {
  kAbs,
  kCeil,
  kClip,  // p0 = low, p1 = high
  kCos,
  kErf,
  kExp,
  kExpm1,
  kFloor,
  kLog,
  kLog1p,
  kNeg,
  kPow,  // x ** p0
  kReciprocal,
  kRsqrt,
  kSign,
  kSin,
  kSqrt,
  kSquare,
  // activations
  kElu,          // p0 = alpha: x > 0 ? x : alpha (exp(x) - 1)
  kGelu,         // x Phi(x), Phi the integral of the normal distribution
  kGeluTanh,     // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  kHardsigmoid,  // clip(x / 6 + 1/2, 0, 1)
  kHardswish,    // x clip(x / 6 + 1/2, 0, 1)
  kHardtanh,     // clip(x, p0, p1)
  kHeaviside,    // 0, p0, 1 for x < 0, x = 0, x > 0; no gradient
  kLeakyRelu,    // p0 = slope: x > 0 ? x : slope x
  kLogsigmoid,   // -log(1 + exp(-x))
  kMish,         // x tanh(log(1 + exp(x)))
  kRelu,
  kRelu6,
  kSelu,
  kSigmoid,
  kSilu,      // x sigmoid(x)
  kSoftplus,  // p0 = beta, p1 = threshold: log(1 + exp(beta x)) / beta, or x where beta x >
              // threshold
  kSoftsign,  // x / (1 + |x|)
  kTanh,
  kCount
};

constexpr int kNoActivation = -1;  // where a kernel can finish with a UnaryOp

enum class BinaryOp : int {
  kAdd,
  kDiv,
  kFloorDivide,
  kMaximum,
  kMinimum,
  kMul,
  kPow,
  kPrelu,      // a > 0 ? a : b a
  kRemainder,  // a - floor(a / b) b, exactly: it has b's sign
  kSub,
  kCount
};

enum class CompareOp : int { kEq, kGe, kGt, kLe, kLt, kNe, kCount };

// Axes from the outermost in, neighbours merged; strides in elements, one row per operand in the
// order of the kernel's pointers.
struct ElementShape {
  int op;
  int type;  // ElementType, for kernels that serve several
  int dims;
  int64_t size[kElementDims];
  int64_t stride[kElementOperands][kElementDims];
  double p0, p1;
};

enum class ElementType : int { kFloat32, kFloat64, kInt32, kInt64, kBool };

template <class T>
using unary_forward_t = void(Ctx&, const ElementShape&, const T* x, T* y);
// saved is what bind/elementwise.h says for the op: x, y, or anything of the shape
template <class T>
using unary_backward_t = void(Ctx&, const ElementShape&, const T* dy, const T* saved, T* dx);

// A null a or b is the number p0.
template <class T>
using binary_forward_t = void(Ctx&, const ElementShape&, const T* a, const T* b, T* y);
// The gradient of operand p0 (0 or 1), summed over the axes where its stride is 0. Only pow with p0
// = 1 reads y.
template <class T>
using binary_backward_t = void(Ctx&, const ElementShape&, const T* dy, const T* a, const T* b,
                               const T* y, T* grad);

template <class T>
using compare_t = void(Ctx&, const ElementShape&, const void* a, const void* b, uint8_t* y);
template <class T>
using where_t = void(Ctx&, const ElementShape&, const uint8_t* mask, const void* a, const void* b,
                     void* y);

// dy where the mask is set (p0 = 0) or is not (1), summed over the axes where the gradient's stride
// is 0
template <class T>
using where_backward_t = void(Ctx&, const ElementShape&, const uint8_t* mask, const T* dy, T* grad);

// y += p0 x, in place
template <class T>
using axpy_t = void(Ctx&, const ElementShape&, const T* x, T* y);
// *y = 1 if no element is infinite or NaN, else 0
template <class T>
using all_finite_t = void(Ctx&, const ElementShape&, const T* x, int* y);

}  // namespace hl
