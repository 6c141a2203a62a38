// Pooling over windows that slide along one, two or three spatial axes, and its gradient.
//
// x is (N, D, H, W, C), y is (N, OD, OH, OW, C), both contiguous; 1-D and 2-D pools have axes of
// size 1 in front. Along an axis, output o looks at the taps j = 0 ... kernel - 1 at
//
//   i = o * stride - before + j * dilation      where 0 <= i < in, the others lie in the padding;
//   adaptive: i = floor(o in / out) + j  up to  ceil((o + 1) in / out)
//
//   max   y = the largest x[i]. A tie goes to the first tap, NaN beats all and the last NaN stays
//         (PyTorch's rules); -inf where a window has no tap inside. min is its mirror image.
//   avg   y = S x[i] / m. m counts the taps inside the input or, if count_pad, inside the input and
//         its padding: what ceil mode lets stick out behind does not count. `divisor` replaces m.
//   lp    y = (k S x[i]^p / m)^(1/p), k the number of taps of a whole window, m as with count_pad
//         (that is S x^p itself, scaled up where ceil mode cuts a window, as in PyTorch). p may be
//         any number, and as x^p keeps its sign for odd p, so does the sum.
//
// Backward, d = dy[o], summed over the outputs o whose window holds i, in an order that the shape
// gives:
//
//   max, min   dx[i] = S d    where tap[o] is the tap at i
//   avg        dx[i] = S d / m
//   lp         dx[i] = x[i]^(p-1) S d (k / m) y^(1-p), 0 where y = 0
//
// How max remembers: forward writes the winning tap's number (jd KH + jh) KW + jw, one byte for each
// output up to 256 taps, four beyond. For 2 x 2 windows of float32 that is 1/20 of forward's
// traffic. To find the winners again backward would have to read x and y (5 numbers for each 1 of
// dy) and would then still have to know which tie came first; so it reads dy and one byte for each
// output, and writes dx once. x itself is not kept.
//
// Backward asks each input pixel for the outputs above it (gathers), so every element of dx is
// written once, by one task, and no zeroing and no atomics are needed.
//
// taps: (N, OD, OH, OW, C) flat, and kTapSlack elements more, which may be read and written freely.
#pragma once

#include "context.h"

namespace hl {

enum class PoolKind : int { kMax, kMin, kAvg, kLp };

constexpr int64_t kTapSlack = 64;

struct PoolAxis {
  int64_t in, out;
  int64_t kernel;  // adaptive: the longest window, and no stride, dilation or padding
  int64_t stride, dilation, before, after;
};

struct PoolShape {
  PoolKind kind;
  bool adaptive, count_pad;
  int tap_bytes;  // 1 or 4 for max and min
  int64_t N, C;
  PoolAxis axis[3];  // D, H, W
  int64_t divisor;   // 0: count
  double power;
};

// taps may be null in forward (not wanted); they serve max and min, x and y serve lp.
template <class T>
using pool_forward_t = void(Ctx&, const PoolShape&, const T* x, T* y, void* taps);
template <class T>
using pool_backward_t = void(Ctx&, const PoolShape&, const T* dy, const void* taps, const T* x,
                             const T* y, T* dx);
// Place of each winner in its channel's plane, (d H + h) W + w; -1 where a window was empty.
template <class T>
using pool_indices_t = void(Ctx&, const PoolShape&, const void* taps, int64_t* indices);

}  // namespace hl
