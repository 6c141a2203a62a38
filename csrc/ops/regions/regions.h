// Images cut into regions, and regions counted.
//
//   label_regions   connected components of mask (N, H, W): label (N, H, W) is 0 where the mask is 0
//                   and else counts the components of its image from 1, in the order of their first
//                   pixels. Neighbours share an edge or, with 8, an edge or a corner, and connect
//                   where they hold the same value.
//   confusion       table (C, C): how many elements have target t and prediction p; a target of
//                   `ignore` does not count.
//   graph_segment   Felzenszwalb and Huttenlocher (2004) on x (H, W, C): edges of 8-neighbours by
//                   ascending Euclidean distance w of their pixels; two components A and B become
//                   one where w <= min(inner(A) + k/|A|, inner(B) + k/|B|), inner the largest w
//                   within; at last those below `least` pixels join the neighbour of the smallest
//                   w. label (H, W) as above, from 0.
//   group_regions   Uijlings et al. (2013): the most similar two neighbours become one, until one is
//                   left; each that ever was gives a box. label (H, W) with R regions, bins (H, W, F)
//                   of histogram bins, 0 ... B - 1: feature f of region r has the histogram of its
//                   bins, divided by its pixels; features [0, F1) are colour, the others texture.
//                     similar(a, b) = sum_f,b min(hist_a, hist_b) / groups
//                                     + 1 - (|a| + |b|)/|image| + 1 - (box(a, b) - |a| - |b|)/|image|
//                   colour and texture count as 1 at most each. boxes (2 R - 1, 4), the regions
//                   first, then what became of them in that order.
#pragma once

#include "context.h"

namespace hl {

struct LabelShape {
  int64_t N, H, W;
  int neighbours;  // 4 or 8
};
template <class T>
using label_regions_t = void(Ctx&, const LabelShape&, const int64_t* mask, int64_t* label,
                             int64_t* count);

struct ConfusionShape {
  int64_t n, C;
  int64_t ignore;
};
template <class T>
using confusion_t = void(Ctx&, const ConfusionShape&, const int64_t* target,
                         const int64_t* prediction, int64_t* table);

struct SegmentShape {
  int64_t H, W, C;
  double k;
  int64_t least;
};
template <class T>
using graph_segment_t = void(Ctx&, const SegmentShape&, const T* x, int64_t* label, int64_t* count);

struct GroupShape {
  int64_t H, W, R;
  int64_t F, F1, B;
};
// size (2 R - 1): pixels of each
template <class T>
using group_regions_t = void(Ctx&, const GroupShape&, const int64_t* label, const uint8_t* bins,
                             double* boxes, int64_t* size, int64_t* count);

}  // namespace hl
