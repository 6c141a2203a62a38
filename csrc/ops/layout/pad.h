// Padding of any axes, and its gradient.
//
//   y[j] = x[source(j - before)] on each axis of size n, or the constant where there is no source:
//     constant   i                  inside, none outside
//     reflect    period 2n - 2:     2 1 [0 1 2] 1 0         (n = 1: 0)
//     replicate                     0 0 [0 1 2] 2 2
//     circular   period n:          1 2 [0 1 2] 0 1
//     symmetric  period 2n:         1 0 [0 1 2] 2 1
//   Padding may be longer than the axis; the periods go on.
//
//   dx[i] = sum of dy[j] over all j with that source, in ascending order of j
//
// x (size...) and y (before + size + after...) are contiguous.
#pragma once

#include "context.h"

namespace hl {

constexpr int kPadDims = 8;

enum class PadMode { kConstant, kReflect, kReplicate, kCircular, kSymmetric };

struct PadShape {
  PadMode mode;
  int ndim;
  int item;  // bytes of an element
  int64_t size[kPadDims], before[kPadDims], after[kPadDims];
};

template <class T>
using pad_forward_t = void(Ctx&, const PadShape&, const void* x, const void* value, void* y);
template <class T>
using pad_backward_t = void(Ctx&, const PadShape&, const T* dy, T* dx);

}  // namespace hl
