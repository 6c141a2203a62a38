// Reductions over any axes of an array with any strides.
//
// Every element of x belongs to one output o, of n elements each:
//
//   sum        y = S x                      mean     y = S x / n
//   prod       y = P x                      max, min y = the largest, smallest; NaN if there is one
//   norm_1     y = S |x|                    norm_2   y = sqrt(S x^2)
//   norm_inf   y = max |x|                  norm_neg_inf  y = min |x|
//   norm_0     y = how many are not 0
//   var        y = S (x - mean)^2 / max(n - correction, 0)      std  y = sqrt(var)
//   logsumexp  y = m + log S exp(x - m), m = max x
//   argmax, argmin  y = the first index of the largest, smallest, or of the first NaN
//
// Backward, d = dy[o]:
//
//   sum dx = d            mean dx = d / n          prod dx = d * (product of the others)
//   max, min, norm_inf, norm_neg_inf   dx = d / ties where x (or |x|, times its sign) equals y
//   norm_1 dx = d sign x  norm_2 dx = d x / y, 0 where y = 0      norm_0 dx = 0
//   var dx = 2 d (x - mean) / max(n - correction, 0)     std dx = d (x - mean) / (max(..) y)
//   logsumexp dx = d exp(x - y)
//
// Accuracy: a block of a few thousand elements is summed by many lanes side by side, blocks are
// added in double (for float64 input as a pair high + low, Knuth's two-sum). Variance takes two
// passes over each block while it is in cache and merges blocks by Chan, Golub and LeVeque (1983),
// with the mean kept as a pair too.
#pragma once

#include "context.h"

namespace hl {

enum class ReduceOp : int {
  kSum,
  kMean,
  kProd,
  kMax,
  kMin,
  kNorm0,
  kNorm1,
  kNorm2,
  kNormInf,
  kNormNegInf,
  kVar,
  kStd,
  kLogSumExp,
  kArgMax,
  kArgMin,
  // what backward has to know besides: how often the result occurs, and for prod the product of
  // what is not 0 and the number of zeros
  kTiesMax,
  kTiesMin,
  kTiesNormInf,
  kTiesNormNegInf,
  kProdNonZero,
  kZeros,
};

constexpr int kReduceDims = 8;

// The axes of x after merging, sorted by |stride|, the smallest last; at least one of either sort.
// Strides count elements. An argument's index is the sum of its positions times `reduced_index`.
struct ReduceShape {
  ReduceOp op;
  int kept_dims, reduced_dims;
  int64_t kept[kReduceDims], kept_stride[kReduceDims], y_stride[kReduceDims];
  int64_t reduced[kReduceDims], reduced_stride[kReduceDims], reduced_index[kReduceDims];
  int64_t outputs, count;  // products of kept and of reduced
  double correction;
};

// dx (C order) is walked along x's own axes; dy, y and the kernel's statistics, one number per
// output, have stride 0 along reduced axes.
struct ReduceBackwardShape {
  ReduceShape forward;
  int dims;
  int64_t size[kReduceDims], x_stride[kReduceDims], dy_stride[kReduceDims], y_stride[kReduceDims];
  int64_t stat_stride[kReduceDims];
};

template <class T>
using reduce_forward_t = void(Ctx&, const ReduceShape&, const T* x, T* y);
template <class T>
using arg_reduce_t = void(Ctx&, const ReduceShape&, const T* x, int64_t* y);
// x may be null for sum and mean, y only serves max, min, the norms, std and logsumexp
template <class T>
using reduce_backward_t = void(Ctx&, const ReduceBackwardShape&, const T* dy, const T* x,
                               const T* y, T* dx);

}  // namespace hl
