// Along one axis of an array with any strides: running sums, sorting, the k largest.
//
//   cumsum  y[i] = x[0] + ... + x[i]; float32 sums run in double. Backward is the same from the
//   end:
//           dx[i] = dy[i] + ... + dy[n-1], so the bindings turn the axis round.
//   sort    stable, by radix: floats become integers of the same order, NaN the largest of all and
//           -0 equal to 0, as in PyTorch; descending order inverts the integers, so ties keep their
//           order there too. indices[i] is where value i came from.
//   topk    the first k of that order.
//   scatter_lines  backward of the last two: dx[indices[i]] += dy[i], 0 elsewhere.
#pragma once

#include "context.h"

namespace hl {

constexpr int kOrderDims = 8;

// Lines along the axis: n elements of x a line, `taken` of the result. The other axes are merged
// and walked in the result's order. Strides count elements.
struct OrderShape {
  int64_t n, taken, lines;
  int64_t x_step, y_step;
  int dims;
  int64_t size[kOrderDims], x_stride[kOrderDims], y_stride[kOrderDims];
  int descending;
};

template <class T>
using cumsum_t = void(Ctx&, const OrderShape&, const T* x, T* y);
template <class T>
using sort_t = void(Ctx&, const OrderShape&, const T* x, T* values, int64_t* indices);
// x: dy and indices, alike in strides; y: dx
template <class T>
using scatter_lines_t = void(Ctx&, const OrderShape&, const T* dy, const int64_t* indices, T* dx);

}  // namespace hl
