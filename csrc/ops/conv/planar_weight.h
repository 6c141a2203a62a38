// The gradient by the weights from one channel to few: with lanes along channels a tile would be mostly
// empty, so lanes run along the pixels of a row, and dy is turned into planes for it.
//
//   dw[o, r, t] = sum over rows p and pixels q of  dy[o][p, q] x[p + r, q + t]
#pragma once

#include "ops/conv/conv.h"

namespace hl::cpu::HL_ISA {

struct PlanarWeightCut {
  int64_t rows, row_tasks;  // of dy that are turned at a time, of one image
  int64_t splits;           // the images are dealt to this many partial sums
  int64_t plane_pitch;      // pixels of a row of a plane
  int64_t window_rows, window_pitch;
  int64_t sums;  // vectors that a partial sum is kept in
  int64_t partial_bytes, worker_bytes;
};

template <class T>
bool planar_weight_pays(const ConvShape& s);
template <class T>
PlanarWeightCut planar_weight_cut(const ConvShape& s);
template <class T>
void planar_weight(Ctx& ctx, const ConvShape& s, const PlanarWeightCut& k, const T* dy, const T* x,
                   T* dw);

}  // namespace hl::cpu::HL_ISA
