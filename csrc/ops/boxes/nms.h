// Non-maximum suppression: of boxes that overlap, the one with the highest score.
//
//   nms        Boxes are taken in the order that the caller has sorted (highest score first, equal
//              scores in the order of the boxes); one stays unless its IoU with a box that stayed,
//              of its own class, is above `threshold`. A pair whose IoU is no number, such as two
//              points or a box with a NaN, is not suppressed.
//   soft_nms   Bodla et al. (2017): the box with the highest score is taken, and the scores of the
//              others are multiplied by
//                 linear    1 - IoU where IoU > threshold, else 1
//                 gaussian  exp(-IoU^2 / sigma)
//              and so on while a score is above `least`. NaN scores are never taken, and an IoU that
//              is no number counts as 0.
//
// Each box is held against those that stayed, not each that stayed against all behind: boxes that
// fall do so early, and the few that stay are a dense array. Blocks of candidates meet the boxes
// that stayed before the block in parallel; within a block the order decides.
#pragma once

#include "context.h"

namespace hl {

struct NmsShape {
  int64_t N, classes;
  double threshold;
};
// order: positions of boxes, class after class, the best of each first. start (classes + 1): where a
// class begins. stays (N): 1 for each box that stays, by its own number.
template <class T>
using nms_t = void(Ctx&, const NmsShape&, const T* boxes, const int64_t* order,
                   const int64_t* start, uint8_t* stays);

enum class Decay : int { kLinear, kGaussian };
struct SoftNmsShape {
  int64_t N;
  Decay decay;
  double threshold, sigma, least;
};
// keep (N), its first count[0] entries are written; new_scores (N) alike.
template <class T>
using soft_nms_t = void(Ctx&, const SoftNmsShape&, const T* boxes, const T* scores, int64_t* keep,
                        T* new_scores, int64_t* count);

}  // namespace hl
