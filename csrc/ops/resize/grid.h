// Reading images at given places: affine grids, grid sampling (Jaderberg et al.: "Spatial transformer
// networks", 2015), and affine warps for augmentation.
//
// Axes of a place run from the last to the first: (x, y) over (W, H), or (x, y, z) over (W, H, D).
// dims is 2 or 3; images x (N, D, H, W, C) have D = 1 for two.
//
// affine_grid   g = theta (x, y, 1)   theta (N, dims, dims + 1), g (N, D', H', W', dims); x_j runs
//               from -1 to 1: aligned corners 2 j / (W' - 1) - 1 (0 for W' = 1), else (2 j + 1) / W' - 1
//               dtheta_ab = S dg_a (x, y, 1)_b
//
// grid_sample   u = (g + 1)/2 (W - 1) for aligned corners, else ((g + 1) W - 1)/2, in elements; then by
//               mode of padding
//                 zeros       x is 0 outside; a NaN counts as outside
//                 border      u held within [0, W - 1]; NaN at 0
//                 reflection  u mirrored about 0 and W - 1 (aligned), else -1/2 and W - 1/2; then held
//               linear    y = S_corners prod_a (1 - |u_a - corner_a|) x[corner], 2^dims corners around u
//               nearest   y = x[rint u], halves to even
//               dx[corner] += weight dy;   dg_a = S_c dy dy/du_a  du_a/dg_a, 0 where u was held and for
//               nearest
//
// warp_affine   grid_sample at u = m (j, i, 1), m (N, dims, dims + 1) in elements of x and y: exact for
//               whole shifts and flips. Outside, x is `fill`. Forward only: for data, not for layers.
//
// dx is made row by row: points are sorted by the row that they read, and each row of dx adds its
// points up in the order of the grid. So it is parallel, without atomics, and the same every time.
#pragma once

#include "context.h"
#include "ops/resize/resample.h"

namespace hl {

enum class SampleMode : int { kLinear, kNearest };
enum class OutsideMode : int { kZeros, kBorder, kReflection };

struct GridShape {
  int dims;
  int64_t N, C;
  int64_t in[3], out[3];  // D H W of x and of the grid
  Corners corners;
  SampleMode mode;
  OutsideMode outside;
  double fill;  // warp_affine
};

template <class T>
using affine_grid_forward_t = void(Ctx&, const GridShape&, const T* theta, T* grid);
template <class T>
using affine_grid_backward_t = void(Ctx&, const GridShape&, const T* dgrid, T* dtheta);

template <class T>
using grid_sample_forward_t = void(Ctx&, const GridShape&, const T* x, const T* grid, T* y);
template <class T>
using grid_sample_backward_t = void(Ctx&, const GridShape&, const T* dy, const T* x, const T* grid,
                                    T* dx, T* dgrid);
template <class T>
using warp_affine_t = void(Ctx&, const GridShape&, const T* x, const double* m, T* y);

}  // namespace hl
