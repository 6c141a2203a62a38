// Convolution (the cross-correlation that networks mean by it) in one, two or three dimensions.
//
//   y[n, j, o] = b[o] + sum over taps t and channels c of  x[n, j * stride + t * dilation - pad, c] w[o, t, c]
//
//   x (N, D, H, W, C)   w (K, kD, kH, kW, C/groups)   b (K)   y (N, D', H', W', K)
//
// j, t, stride, dilation and pad are triples; x counts as zero outside. Output channel o of group g
// sees the input channels of that group alone. Unused axes have size 1. Backward:
//
//   dx[n, i, c]  = sum over o, and over all j, t with j * stride + t * dilation - pad = i, of
//                  dy[n, j, o] w[o, t, c]          (as a forward: the transposed convolution)
//   dw[o, t, c]  = sum over n, j of  dy[n, j, o] x[n, j * stride + t * dilation - pad, c]
//   db[o]        = sum over n, j of  dy[n, j, o]
//
// Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
#pragma once

#include "context.h"
#include "ops/elementwise/elementwise.h"

namespace hl {

struct ConvShape {
  int64_t N, C, K, groups;
  int64_t in[3], kernel[3], out[3];
  int64_t stride[3], dilation[3], pad[3];  // zeros in front; those behind follow from `out`
  int activation;                          // a UnaryOp, or kNoActivation
  double p0, p1;
  bool packed;  // forward: there are panels of w (ops/matmul/pack.h)
};

// z, where not null, receives the result before the activation.
template <class T>
using conv_forward_t = void(Ctx&, const ConvShape&, const T* x, const T* w, const T* panels,
                            const T* b, T* y, T* z);
// b (C) and the activation are those of a transposed convolution; without them this is dx.
template <class T>
using conv_backward_data_t = void(Ctx&, const ConvShape&, const T* dy, const T* w, const T* b,
                                  T* dx, T* z);
template <class T>
using conv_backward_weight_t = void(Ctx&, const ConvShape&, const T* dy, const T* x, T* dw, T* db);

}  // namespace hl
