// The gradient by the weights: for every tap a product of dy, transposed, with the image moved by
// that tap.
#pragma once

#include "ops/conv/conv.h"

namespace hl::cpu::HL_ISA {

struct WeightCut {
  bool turned;  // few input channels: taps are the rows of the tile, output channels its columns
  int64_t mr, nr;
  int64_t channels, channel_blocks;  // of x that a task holds in its window
  int64_t outputs, output_blocks;    // channels of dy that it goes through
  int64_t rows, pixels, images;      // of a band: several images where they are small
  int64_t row_tasks, pixel_tasks, bands;
  int64_t splits;  // the bands are dealt to this many partial sums
  int64_t size;    // numbers in dw
  int64_t window_bytes,
      partial_bytes;  // a window is followed by the places of its rows and of dy's
};

template <class T>
WeightCut weight_cut(const ConvShape& s);
template <class T>
void weight_gradient(Ctx& ctx, const ConvShape& s, const WeightCut& k, const T* dy, const T* x,
                     T* dw);

// The sum of partial gradients, `size` numbers each, in order; one alone is dw itself.
template <class T>
void add_partials(Ctx& ctx, const T* partial, int64_t splits, int64_t size, T* dw);

// For one channel a group.
template <class T>
int64_t depthwise_weight_bytes(const ConvShape& s);
template <class T>
void depthwise_weight_gradient(Ctx& ctx, const ConvShape& s, const T* dy, const T* x, T* dw);

}  // namespace hl::cpu::HL_ISA
