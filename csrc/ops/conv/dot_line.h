// The direct convolution into few channels: a register tile would leave most of its lanes empty, so
// the lanes go along the sum instead, which is then long.
//
//   y[q, o] = b[o] + sum over the stretches s and k < run of  a[q * pitch + at[s] + k] w[o][s * run + k]
//
// P pixels and O channels at a time: P + O loads serve P * O multiply-adds. The lanes are added at the
// end, so that the order of a sum depends on nothing but its length.
#pragma once

#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

// A load that stays one: compilers take it as free to read memory again at each of several uses, and
// where vectors straddle cache lines each reading costs two.
template <class T>
HL_INLINE Vec<T> load_once(const T* p) {
  return *reinterpret_cast<const volatile UnalignedVec<T>*>(p);
}

template <class T>
struct DotLine {
  int64_t run, stretches;
  const T* a;
  int64_t pitch;  // from pixel to pixel of a
  const int64_t* at;
  const T* w;
  int64_t depth;  // from channel to channel of w
  const T* b;     // added, or null
  T* y;
  int64_t step;  // from pixel to pixel of y
};

constexpr int kDotLineChannels = 4;  // at a time
// Sums, the weights of a step and one vector of the image must fit the registers: 32, or 16 on AVX2.
constexpr int dot_line_pixels(int channels) {
  return kTileRows >= 8 ? (channels <= 3 ? 8 : 6) : (channels == 1 ? 8 : channels == 2 ? 4 : 3);
}

template <class T, int P, int O>
HL_INLINE void dot_pixels(const DotLine<T>& l, int64_t q) {
  constexpr int L = kLanes<T>;
  const int64_t run = l.run, pitch = l.pitch, depth = l.depth;
  const T* a = l.a + q * pitch;
  const T* w = l.w;
  Vec<T> sum[P][O];
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i) {
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) sum[i][o] = zero<T>();
  }
  auto add = [&](const T* x, int64_t k, auto get) __attribute__((always_inline)) {
    Vec<T> wv[O];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) wv[o] = get(w + o * depth + k);
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) {
      const Vec<T> xv = get(x + i * pitch + k);
#pragma GCC unroll 8
      for (int o = 0; o < O; ++o) sum[i][o] = fma(xv, wv[o], sum[i][o]);
    }
  };
  for (int64_t s = 0; s < l.stretches; ++s, w += run) {
    const T* x = a + l.at[s];
    int64_t k = 0;
    for (; k + L <= run; k += L) {
      add(x, k, [](const T* p) __attribute__((always_inline)) { return load_once(p); });
    }
    if (const int64_t n = run - k; n > 0) {
      add(x, k, [n](const T* p) __attribute__((always_inline)) { return load_n(p, n); });
    }
  }
  T bias[O];
  for (int o = 0; o < O; ++o) bias[o] = l.b ? l.b[o] : T(0);
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i) {
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) l.y[(q + i) * l.step + o] = hsum(sum[i][o]) + bias[o];
  }
}

template <class T, int O>
void dot_channels(const DotLine<T>& l, int64_t pixels) {
  constexpr int P = dot_line_pixels(O);
  int64_t q = 0;
  if (pixels >= P) {
    // The last block may do some pixels again: cheaper than one at a time.
    for (; q < pixels; q += P) dot_pixels<T, P, O>(l, min64(q, pixels - P));
  }
  for (; q < pixels; ++q) dot_pixels<T, 1, O>(l, q);
}

template <class T>
void dot_line(DotLine<T> l, int64_t pixels, int64_t channels) {
  while (channels > 0) {
    const int64_t now = channels > kDotLineChannels && channels < 2 * kDotLineChannels
                            ? ceil_div(channels, 2)
                            : min64(channels, kDotLineChannels);
    const auto body = now == 1   ? &dot_channels<T, 1>
                      : now == 2 ? &dot_channels<T, 2>
                      : now == 3 ? &dot_channels<T, 3>
                                 : &dot_channels<T, 4>;
    body(l, pixels);
    l.w += now * l.depth, l.y += now, l.b += l.b ? now : 0, channels -= now;
  }
}

}  // namespace hl::cpu::HL_ISA
