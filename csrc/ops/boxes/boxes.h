// Boxes (x1, y1, x2, y2) of continuous coordinates: how much they overlap, how one is told relative
// to another, and which belongs to which.
//
//   w = x2 - x1, h = y2 - y1, area A = w h, never clamped: negative, zero and infinite sides
//   give what the formulas give, and NaN comes through.
//
// box_overlap    y (M, N) of a (M, 4), b (N, 4); with w and h of what is common held at 0 or more:
//                  iou   I / U,  U = A_a + A_b - I        (NaN where U = I = 0)
//                  giou  I / U - (C - U) / C,  C the area of the smallest box around both
//                  (Rezatofighi et al. 2019)
//                  diou  I / U - D / E,  D the square of the distance of the middles, E that of the
//                  diagonal of the smallest box around both, and eps      (Zheng et al. 2020)
//                  ciou  diou - alpha v,  v = (2/pi (atan(w_a/h_a) - atan(w_b/h_b)))^2,
//                  alpha = v / (1 - I/U + v + eps)                       (the same)
//
// box_loss       the same of pairs, 1 - value, with eps added to U and C of the divisors, and I = 0
//                unless both sides of what is common are positive. With g = -d:
//                  dI = g (1/(U+eps)) - dU',  dA_a = dA_b = dU',
//                  dU' = g (-I/(U+eps)^2 [+ 1/(C+eps)]),  dC = g (-(U+eps)/(C+eps)^2)
//                dD = d/E, dE = -d D/E^2, and alpha counts as a constant (so the paper's authors);
//                from there to the corners; where a max or min ties, half to each.
//
// box_encode     t = (wx (cx - cx_a)/w_a, wy (cy - cy_a)/h_a, ww log(w/w_a), wh log(h/h_a)),
//                (cx, cy) the middles, a the anchor
// box_decode     its inverse, of K codes for each anchor; the last two, divided by their weights,
//                are held at `clip` from above, where their gradient ends, too
//
// box_match      of overlaps (G, A): for each column the row of the largest, the first of equals, or
//                -1 where it is below `low`, -2 where below `high`. With `keep_best`, all columns
//                that reach a row's largest overlap, if positive, keep their row: no object is left
//                without. NaN counts as no overlap.
#pragma once

#include "context.h"

namespace hl {

enum class Overlap : int { kIou, kGiou, kDiou, kCiou };

struct OverlapShape {
  Overlap kind;
  int64_t M, N;  // pairs: M
  double eps;    // of iou and giou in pairs only
};
template <class T>
using box_overlap_t = void(Ctx&, const OverlapShape&, const T* a, const T* b, T* y);
template <class T>
using box_loss_forward_t = void(Ctx&, const OverlapShape&, const T* a, const T* b, T* loss);
template <class T>
using box_loss_backward_t = void(Ctx&, const OverlapShape&, const T* dy, const T* a, const T* b,
                                 T* da, T* db);

struct BoxCodeShape {
  int64_t N, K;      // anchors, codes for each
  double weight[4];  // x y w h
  double clip;
};
template <class T>
using box_encode_t = void(Ctx&, const BoxCodeShape&, const T* boxes, const T* anchors, T* codes);
template <class T>
using box_decode_t = void(Ctx&, const BoxCodeShape&, const T* codes, const T* anchors, T* boxes);
template <class T>
using box_decode_backward_t = void(Ctx&, const BoxCodeShape&, const T* dy, const T* codes,
                                   const T* anchors, T* dcodes);

struct BoxMatchShape {
  int64_t G, A;
  double low, high;
  bool keep_best;
};
template <class T>
using box_match_t = void(Ctx&, const BoxMatchShape&, const T* overlap, int64_t* match);

}  // namespace hl
