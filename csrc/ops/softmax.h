// Softmax and gated linear unit along one axis of a contiguous array (outer, length, inner).
//
//   softmax      y = exp(x - m) / s      m = max x,  s = S exp(x - m)      dx = y (dy - S dy y)
//   log softmax  y = (x - m) - log s                                       dx = dy - exp(y) S dy
//
// A line with NaN or +inf, or of nothing but -inf, is NaN throughout, as in PyTorch. Sums over a
// line run as in reductions: short stretches in T, those in double.
//
//   glu          x = (a, b) halves along the axis:  y = a sigmoid(b)
//                da = dy sigmoid(b)      db = dy a sigmoid(b) (1 - sigmoid(b))
#pragma once

#include "context.h"

namespace hl {

enum class SoftmaxKind : int { kPlain, kLog };

struct SoftmaxShape {
  int64_t outer, length, inner;
  SoftmaxKind kind;
};

template <class T>
using softmax_forward_t = void(Ctx&, const SoftmaxShape&, const T* x, T* y);
template <class T>
using softmax_backward_t = void(Ctx&, const SoftmaxShape&, const T* dy, const T* y, T* dx);

// x: (outer, 2, half), y: (outer, half)
struct GluShape {
  int64_t outer, half;
};

template <class T>
using glu_forward_t = void(Ctx&, const GluShape&, const T* x, T* y);
template <class T>
using glu_backward_t = void(Ctx&, const GluShape&, const T* dy, const T* x, T* dx);

}  // namespace hl
