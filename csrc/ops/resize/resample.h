// Separable resampling of the spatial axes: interpolation and FIR filters, 1-D, 2-D and 3-D.
//
//   y = (A_D x A_H x A_W) x          each A a sparse matrix (out, in) of its axis alone
//   dx = (A_D x A_H x A_W)^T dy      the same with every A transposed
//
// So there is one loop over weights and the modes differ in the rows of A only. With s = in / out, or
// 1 / scale where a scale is given (PyTorch's rules, recompute_scale_factor=False):
//
//   nearest        y_o = x[min(floor(o s), in - 1)], in float32 arithmetic as PyTorch's channels-last
//                  kernels have it; o if in = out, o / 2 if out = 2 in
//   nearest-exact  the same at (o + 1/2) s
//   linear         at u = max((o + 1/2) s - 1/2, 0), or o (in - 1) / (out - 1) for aligned corners:
//                  (1 - u + i) x_i + (u - i) x_i+1,   i = floor u, the last element repeated
//   cubic          four elements around u (not held at 0), Keys' kernel with a = -3/4, edges repeated
//                  (Keys: "Cubic convolution interpolation for digital image processing", 1981)
//   area           mean of x[floor(o in / out) ... ceil((o + 1) in / out) - 1]
//   fir            y_o = S_k f[K - 1 - k] u[o down + k - before],  u = x with up - 1 zeros after each
//                  element, and zero outside: a convolution, StyleGAN's upfirdn (Karras et al. 2019)
//
// x (N, D, H, W, C) and y (N, D', H', W', C) are contiguous; axes that are not there have size 1.
#pragma once

#include "context.h"

namespace hl {

enum class ResampleMode : int { kNearest, kNearestExact, kLinear, kCubic, kArea, kFir };
enum class Corners : int { kHalfPixel, kAligned };

constexpr int kMaxFir = 64;

struct ResampleShape {
  ResampleMode mode;
  Corners corners;
  int axes;  // the last ones of the three; the others have size 1 and are left alone
  int64_t N, C;
  int64_t in[3], out[3];  // D H W
  double scale[3];        // out / in as the caller gave it, 0 where it follows from the sizes
  int64_t up[3], down[3], before[3];
  int fir_size;
  double fir[kMaxFir];
};

template <class T>
using resample_forward_t = void(Ctx&, const ResampleShape&, const T* x, T* y);
template <class T>
using resample_backward_t = void(Ctx&, const ResampleShape&, const T* dy, T* dx);

}  // namespace hl
