// Regions of interest: each box of an image resampled to PH x PW bins.
//
// x (N, H, W, C), rois (K, 5) of (image, x1, y1, x2, y2), y (K, PH, PW, C). A roi's box is scaled to
// elements of x.
//
//   roi_align  (He et al. 2017) o = 1/2 if aligned, else 0: start = x1 scale - o, width = (x2 - x1)
//              scale, at least 1 unless aligned. A bin is width / PW wide and holds S samples each
//              way, `sampling` of them, or ceil(width / PW):
//                 u = start + (pw + (i + 1/2) / S) width / PW
//                 y = 1/S^2 sum_samples sum_corners weight x[corner]
//              linear between the elements; 0 beyond -1 and W, held at the edge elements within.
//              dx[corner] += weight dy / S^2
//   roi_pool   (Girshick 2015) corners rounded, halves away from 0, width = x2 - x1 + 1, at least 1;
//              bin pw holds elements floor(pw width / PW) + x1 up to ceil((pw + 1) width / PW) + x1
//              that lie in x; y is their largest (NaN beats all), 0 of none.
//              at (K, PH, PW, C): h W + w of the largest, -1 of none; dx[at] += dy
//
// A roi with a corner that is not finite gives NaN and no gradient. Samples far outside are not
// visited, however large a box is.
//
// dx is cut into images, bands of rows and blocks of channels, one task each, which walks the rois
// in their order: parallel, without atomics, the same sums every time.
#pragma once

#include "context.h"

namespace hl {

struct RoiShape {
  int64_t N, H, W, C;
  int64_t K, PH, PW;
  double scale;
  int64_t sampling;  // 0: as many as elements
  bool aligned;
};

template <class T>
using roi_align_forward_t = void(Ctx&, const RoiShape&, const T* x, const T* rois, T* y);
template <class T>
using roi_align_backward_t = void(Ctx&, const RoiShape&, const T* dy, const T* rois, T* dx);
// at may be null
template <class T>
using roi_pool_forward_t = void(Ctx&, const RoiShape&, const T* x, const T* rois, T* y,
                                int64_t* at);
template <class T>
using roi_pool_backward_t = void(Ctx&, const RoiShape&, const T* dy, const T* rois,
                                 const int64_t* at, T* dx);

}  // namespace hl
