// The direct convolution of one channel into few: in a register tile of pixels by channels most lanes would
// be empty, so the tile lies on its side, channels by pixels, and its result is turned on the way out.
//
//   y[q, o] = b[o] + sum over rows r and taps t of  x[at[r] + q + t] w[r, t, o]
#pragma once

#include "cpu/gemm_tile.h"
#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

// Of the channels that are worth it, and fit the tile.
template <class T>
constexpr int64_t kPlanarChannels = min64(kTileRows, kLanes<T> / 2);

template <class T>
struct PlanarLine {
  int64_t taps, rows;
  const T* x;  // whole tiles of pixels may be read
  const int64_t* at;
  const T* w;
  int64_t channels;
  const T* b;  // added, or null
  T* y;
  int64_t step;  // from pixel to pixel of y
};

template <class T>
void planar_line(const PlanarLine<T>& l, int64_t pixels) {
  constexpr int64_t L = kLanes<T>, nr = kTileVectors * L;
  alignas(64) T sums[kPlanarChannels<T> * nr];
  const Vec<T> bias = l.b ? load_n(l.b, l.channels) : zero<T>();
  for (int64_t q = 0; q < pixels; q += nr) {
    const int64_t n = min64(nr, pixels - q);
    Tile<T> t = {l.taps, l.w, 1, l.channels, l.x + q, 1, sums, nr, 1, n, T(1), T(0)};
    t.stretches = l.rows;
    t.a_step = l.taps * l.channels;
    t.b_at = l.at;
    tile<T>(l.channels, ceil_div(n, L))(t);
    for (int64_t v = 0; v < n; v += L) {
      Vec<T> block[L] = {};
      for (int64_t i = 0; i < kPlanarChannels<T>; ++i) {
        if (i < l.channels) block[i] = load(sums + i * nr + v);
      }
      transpose<T>(block);
      for (int64_t i = 0; i < min64(L, n - v); ++i) {
        store_n(l.y + (q + v + i) * l.step, block[i] + bias, l.channels);
      }
    }
  }
}

}  // namespace hl::cpu::HL_ISA
