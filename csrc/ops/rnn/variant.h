// What forward and backward of the variants share. Here a task takes some sequences through all steps,
// and each step goes through its parts one after the other: products, norms, gates, projection, zoneout.
#pragma once

#include "cpu/philox.h"
#include "ops/rnn/cut.h"

namespace hl::cpu::HL_ISA {

// Which gates are normalised together: all, but for the GRU's n.
struct NormGroups {
  int64_t count;
  int64_t size[2];  // numbers; the second follows the first
};

inline NormGroups norm_groups(const RnnShape& s) {
  const int64_t G = product_gates(s.cell);
  return G == 3 ? NormGroups{2, {2 * s.H, s.H}} : NormGroups{1, {G * s.H, 0}};
}

// Saved norms of a row.
template <class T>
struct NormRow {
  T *x, *h;              // normalised products
  T *x_scale, *h_scale;  // 1 / deviation of each group

  NormRow(const RnnShape& s, T* norms, int64_t row) {
    const int64_t GH = product_gates(s.cell) * s.H;
    x = norms + row * s.norm_stride, h = x + GH;
    x_scale = h + GH, h_scale = x_scale + 2;
  }
};

// Sequences of a task, tasks.
inline int64_t variant_block(const RnnShape& s) {
  const int64_t tiles = ceil_div(s.N, kTileRows);
  return max64(1, ceil_div(s.N, s.N < 8 ? 1 : max64(2, tiles)));
}

// y = LN(a): mean 0 and deviation 1 over n numbers; returns 1 / deviation.
template <class T>
T normalise(const T* a, int64_t n, double eps, T* y) {
  Vec<T> sums = zero<T>();
  each_vector<T>(
      n, [&](int64_t j, const auto& get, const auto&) HL_LAMBDA_INLINE { sums += get(a + j); });
  const T mean = hsum(sums) / T(n);
  Vec<T> squares = zero<T>();
  each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const Vec<T> v = get(a + j) - set1(mean);
    put(y + j, v);
    const Vec<T> kept = get(y + j);  // lanes beyond the end are zero again
    squares = fma(kept, kept, squares);
  });
  const Vec<T> root = sqrt(set1(hsum(squares) / T(n) + T(eps)));
  const T scale = T(1) / root[0];
  each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put)
                        HL_LAMBDA_INLINE { put(y + j, get(y + j) * set1(scale)); });
  return scale;
}

// da = scale (d - mean(d) - y mean(d y)), d = dy gain
template <class T>
void normalise_backward(const T* dy, const T* gain, const T* y, T scale, int64_t n, T* da) {
  Vec<T> sum = zero<T>(), along = zero<T>();
  each_vector<T>(n, [&](int64_t j, const auto& get, const auto&) HL_LAMBDA_INLINE {
    const Vec<T> d = get(dy + j) * get(gain + j);
    sum += d;
    along = fma(d, get(y + j), along);
  });
  const Vec<T> mean = set1(hsum(sum) / T(n)), slope = set1(hsum(along) / T(n));
  each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const Vec<T> d = get(dy + j) * get(gain + j);
    put(da + j, (d - mean - get(y + j) * slope) * set1(scale));
  });
}

// to[i] = word first + i of the call < below ? low : other
template <class T>
void draw(const RnnShape& s, uint64_t call, int64_t first, int64_t n, uint64_t below, T low,
          T other, T* to) {
  constexpr int64_t kWords = 256;
  alignas(64) uint32_t words[kWords];
  int64_t at = first / 4 * 4;
  while (at < first + n) {
    const int64_t count = min64(kWords, round_up(first + n - at, kPhiloxGroup));
    philox_words(s.seed, call, uint64_t(at / 4), count, words);
    for (int64_t i = max64(at, first); i < min64(at + count, first + n); ++i) {
      to[i - first] = words[i - at] < below ? low : other;
    }
    at += count;
  }
}

// The share of the old h (c) that a step keeps, by zoneout; `place` is n T + t.
template <class T>
void kept_of_h(const RnnShape& s, int64_t place, T* to) {
  if (s.zoneout == Zoneout::kDraw) {
    return draw(s, s.call + 1, place * s.P, s.P, s.zone_h_below, T(1), T(0), to);
  }
  for (int64_t j = 0; j < s.P; ++j) to[j] = T(s.zone_h);
}
template <class T>
void kept_of_c(const RnnShape& s, int64_t place, T* to) {
  if (s.zoneout == Zoneout::kDraw) {
    return draw(s, s.call + 2, place * s.H, s.H, s.zone_c_below, T(1), T(0), to);
  }
  for (int64_t j = 0; j < s.H; ++j) to[j] = T(s.zone_c);
}

// What w_hh sees of each number of a sequence's h.
template <class T>
void recurrent_mask(const RnnShape& s, int64_t sequence, T* to) {
  const T kept = s.drop < 1 ? T(1 / (1 - s.drop)) : T(0);
  draw(s, s.call, sequence * s.P, s.P, s.drop_below, T(0), kept, to);
}

// Panels of all products of a step, in order of the matrices' own lines.
template <class T>
struct Lines {
  Panels<T> panels;
  int64_t width;  // numbers of a row of products
};

template <class T>
int64_t lines_numbers(int64_t lines, int64_t depth) {
  return panels_bytes<T>(lines, depth, 1) / int64_t(sizeof(T));
}
template <class T>
constexpr int64_t lines_width(int64_t lines) {
  return panel_groups<T>(lines) * kTileColumns<T>;
}
// Line i, step k is w[i * rs + k * ks].
template <class T>
Lines<T> pack_lines(Ctx& ctx, const T* w, int64_t lines, int64_t depth, int64_t rs, int64_t ks,
                    T* to) {
  return {pack_panels_of(ctx, w, lines, depth, 1, 0, rs, ks, 0, to), lines_width<T>(lines)};
}
template <class T>
void multiply(const Lines<T>& w, const T* a, int64_t a_rs, int64_t rows, T* to) {
  step_products(w.panels, 0, w.panels.groups, a, a_rs, rows, to, w.width);
}

}  // namespace hl::cpu::HL_ISA
