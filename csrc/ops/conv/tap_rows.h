// The gradient by the weights from one channel to whole vectors of them: the taps are so few that the sums of
// several kernel rows fit the registers together. A number of dy is then read once for all of them, and there
// are as many independent sums as the multipliers want; a tile would have those of one kernel row.
//
//   sum[r, t] = over rows p and pixels q  x[place[p] + r * x_row + q * x_pixel + t] dy[dy_place[p] + q * K]
#pragma once

#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

template <class T>
struct TapRows {
  int64_t rows, pixels;
  const int64_t* place;     // of a row of x
  const int64_t* dy_place;  // and of dy
  const T* x;
  int64_t x_row, x_pixel;  // from one kernel row to the next, from pixel to pixel
  const T* dy;
  int64_t K;
  T* dw;  // number (tap, lane) at tap + lane * dw_step
  int64_t dw_step;
  bool add;  // to what is there
};

// Kernel rows of W taps that are summed together, beside a vector of dy and a number of x.
template <int W>
constexpr int kRowsTogether = kTileRows * kTileVectors >= 24 ? W
                              : W == 3                       ? 3
                                                             : 2;

template <class T, int W, int R>
HL_INLINE void add_tap_rows(const TapRows<T>& t, int64_t first) {
  Vec<T> sum[R][W];
  for (int r = 0; r < R; ++r) {
    for (int i = 0; i < W; ++i) sum[r][i] = zero<T>();
  }
  for (int64_t p = 0; p < t.rows; ++p) {
    const T* x[R];
    for (int r = 0; r < R; ++r) x[r] = t.x + t.place[p] + (first + r) * t.x_row;
    const T* dy = t.dy + t.dy_place[p];
    for (int64_t q = 0; q < t.pixels; ++q, dy += t.K) {
      const Vec<T> d = load(dy);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int i = 0; i < W; ++i) sum[r][i] = fma(set1(x[r][i]), d, sum[r][i]);
        x[r] += t.x_pixel;
        __asm__(
            ""
            : "+r"(x[r]));  // a pointer for each row: compilers prefer an offset for each number
      }
    }
  }
  alignas(64) T sums[R * W][kLanes<T>];
  for (int i = 0; i < R * W; ++i) store(sums[i], sum[i / W][i % W]);
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    T* to = t.dw + first * W + lane * t.dw_step;
    for (int i = 0; i < R * W; ++i) to[i] = t.add ? to[i] + sums[i][lane] : sums[i][lane];
  }
}

// Of all `count` kernel rows.
template <class T, int W>
void tap_rows(const TapRows<T>& t, int64_t count) {
  constexpr int R = kRowsTogether<W>;
  int64_t r = 0;
  for (; r + R <= count; r += R) add_tap_rows<T, W, R>(t, r);
  for (; r < count; ++r) add_tap_rows<T, W, 1>(t, r);
}

// For the kernels of 3, 4 or 5 taps a row that are worth code of their own, else null.
template <class T>
using TapRowsFn = void (*)(const TapRows<T>&, int64_t count);
template <class T>
TapRowsFn<T> tap_rows_of(int64_t taps) {
  return taps == 3   ? &tap_rows<T, 3>
         : taps == 4 ? &tap_rows<T, 4>
         : taps == 5 ? &tap_rows<T, 5>
                     : nullptr;
}

}  // namespace hl::cpu::HL_ISA
