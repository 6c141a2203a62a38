// Winograd's convolution for kernels of 3 x 3 that move by one: 16 multiplications where the definition
// has 36.
//
// F(2, 3) computes two neighbouring sums of three products with four multiplications,
//
//   y = A' [ (G g) * (B' d) ],     B' = | 1  0 -1  0 |   G = |  1   0   0  |   A' = | 1  1  1  0 |
//                                       | 0  1  1  0 |       |  ½   ½   ½  |        | 0  1 -1 -1 |
//                                       | 0 -1  1  0 |       |  ½  -½   ½  |
//                                       | 0  1  0 -1 |       |  0   0   1  |
//
// and, nested in both directions, a tile of 2 x 2 outputs from 4 x 4 inputs. Sums over channels and
// images commute with the transforms, so each of the 16 positions is a matrix product of its own:
//
//   V[p] (tiles, C) from x    U[p] (C, K) from w    M[p] = V[p] U[p]  (tiles, K) becomes y
//   W[p] (tiles, K) from dy                    dU[p] = W[p]' V[p]  (K, C)     becomes dw
//
// The gradient by the image is the forward of another correlation (correlate.h); the one by the weights
// is the transpose of the same identity: dg = G' [ (A dy) * (B' d) ]. Larger tiles save more and lose digits;
// these transforms only add, subtract and halve.
//
// Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast algorithms for
// convolutional neural networks", 2016, section 4.
#pragma once

#include "ops/conv/correlate.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kWinogradPositions = 16;

// The tiles of a picture, line by line, image by image.
struct WinogradGrid {
  int64_t images, high, wide;  // tiles down and across
  int64_t tiles() const { return images * high * wide; }
};

// Sixteen matrices side by side: number (row, column) of position p at p * step + row * pitch + column.
struct WinogradSheets {
  int64_t pitch, step;
  int64_t size() const { return kWinogradPositions * step; }
};

struct WinogradCut {
  WinogradGrid grid;
  int64_t nr;              // channels of a register tile
  int64_t block, blocks;   // tiles of a task, tasks
  WinogradSheets v, m;     // of a task; M for one panel
  int64_t panels, passes;  // of U: panels of nr columns, dealt to passes that keep it small
  int64_t worker_bytes, weight_bytes;
};

template <class T>
bool winograd_pays(const Correlation& c);
template <class T>
WinogradCut winograd_cut(const Correlation& c);
template <class T>
void winograd(Ctx& ctx, const Correlation& c, const WinogradCut& k, const T* from, const T* w,
              const Finish<T>& finish, T* to, T* z);

struct WinogradWeightCut {
  WinogradGrid grid;
  int64_t nr;
  int64_t block, bands;              // tiles at a time, and how many times
  int64_t outputs, output_blocks;    // channels of dy of a task
  int64_t channels, channel_blocks;  // and of x
  WinogradSheets w, v, du;           // of a task
  int64_t splits;                    // the bands are dealt to this many partial sums
  int64_t size;                      // numbers in dw
  int64_t worker_bytes, partial_bytes;
};

template <class T>
bool winograd_weight_pays(const ConvShape& s);
template <class T>
WinogradWeightCut winograd_weight_cut(const ConvShape& s);
template <class T>
void winograd_weight(Ctx& ctx, const ConvShape& s, const WinogradWeightCut& k, const T* dy,
                     const T* x, T* dw);

}  // namespace hl::cpu::HL_ISA
