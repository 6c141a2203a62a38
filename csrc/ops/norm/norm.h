// Normalisation: statistics of a set of numbers, and the numbers scaled by them.
//
//   xhat = (x - mean) rstd      rstd = 1 / sqrt(var + eps)      var = S (x - mean)^2 / n
//   y = w xhat + b
//
// Which n numbers share their statistics makes the layer. Over the rows of a channel, x (outer,
// rows, C) and C cut into `groups` of neighbours:
//
//                   outer   groups   w, b         statistics
//   batch norm      1       C        (C)          (C)               Ioffe and Szegedy, 2015
//   instance norm   N       C        (C)          (N, C)            Ulyanov et al., 2016
//   group norm      N       G        (C)          (N, G)            Wu and He, 2018
//   AdaIN           N       C        (N, C)       (N, C)            Huang and Belongie, 2017
//
// and along the last axis, x (rows, n), w and b (n), statistics (rows):
//
//   layer norm      as above                                        Ba et al., 2016
//   RMS norm        mean = 0, no b: var is the mean of the squares  Zhang and Sennrich, 2019
//   pixel norm      RMS norm without w                              Karras et al., 2018
//
// Backward, with g = w dy and means over the numbers that share statistics:
//
//   dx = rstd (g - mean(g) - xhat mean(g xhat))      db = S dy      dw = S dy xhat
//
// (RMS norm has no mean(g)). Where the statistics are given, as in evaluation, they are constants:
// dx = rstd g.
//
// Running statistics: r <- (1 - momentum) r + momentum s, with s the mean, or the variance with
// n - 1 for n (Bessel), averaged over `outer`.
//
// An activation may follow: y = act(z). Its gradient dz = dy act'(z) takes z = w xhat + b anew from
// x rather than from memory.
//
// Accuracy: variance is never E[x^2] - E[x]^2. Rows count from the first one; blocks of eight are
// centred on their own means, their sums joined around the mean of the first block, and chunks in
// double by Chan, Golub and LeVeque (1983). What the mean loses when it is rounded to T goes into
// the shift b.
//
// All arrays are contiguous; w and b may be null (1 and 0).
#pragma once

#include "context.h"
#include "ops/elementwise/elementwise.h"

namespace hl {

struct ChannelNormShape {
  int64_t outer, rows, C, groups;
  bool given;       // statistics come in as running_mean and running_var
  bool per_sample;  // w and b are (outer, C)
  int activation;   // a UnaryOp, or kNoActivation
  bool act_from_y;  // its gradient reads y, not z
  double p0, p1;    // its parameters
  double eps, momentum;
};

// running_mean and running_var (C) in-out: read where the statistics are given, else updated where
// not null. mean and rstd (outer, groups) may be null.
template <class T>
using channel_norm_forward_t = void(Ctx&, const ChannelNormShape&, const T* x, const T* w,
                                    const T* b, T* running_mean, T* running_var, T* y, T* mean,
                                    T* rstd);
// b serves the activation only. dw and db have the shape of w and b.
template <class T>
using channel_norm_backward_t = void(Ctx&, const ChannelNormShape&, const T* dy, const T* x,
                                     const T* w, const T* b, const T* mean, const T* rstd, T* dx,
                                     T* dw, T* db);

enum class RowNormKind : int { kLayer, kRms };

struct RowNormShape {
  int64_t rows, n;
  RowNormKind kind;
  double eps;
};

// mean (null for RMS) and rstd: (rows), may be null
template <class T>
using row_norm_forward_t = void(Ctx&, const RowNormShape&, const T* x, const T* w, const T* b, T* y,
                                T* mean, T* rstd);
template <class T>
using row_norm_backward_t = void(Ctx&, const RowNormShape&, const T* dy, const T* x, const T* w,
                                 const T* mean, const T* rstd, T* dx, T* dw, T* db);

// Minibatch standard deviation (Karras et al., 2018, as StyleGAN computes it): x (G, M, P, C) is a
// batch of N = G M images of P pixels; images m, M + m, 2 M + m, ... are a group. The channels are
// cut into F equal parts.
//
//   sd[m, p, c] = sqrt(var over g + eps)       s[m, f] = mean of sd over p and the part's channels
//   y (N, P, C + F) = x with s[m, :] behind the channels of each pixel of each image of the group
//
//   dx = dy[.., :C] + ds[m, f] (x - mean over g) / (G sd P C / F),   ds[m, f] = S dy[g, m, p, C + f]
struct MinibatchStdShape {
  int64_t G, M, P, C, F;
  double eps;
};

template <class T>
using minibatch_std_forward_t = void(Ctx&, const MinibatchStdShape&, const T* x, T* y);
template <class T>
using minibatch_std_backward_t = void(Ctx&, const MinibatchStdShape&, const T* dy, const T* x,
                                      T* dx);

}  // namespace hl
