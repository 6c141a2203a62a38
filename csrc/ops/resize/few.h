// Images of few channels: lanes run along points, and what they read is gathered.
//
// With lanes along channels a vector of sixteen would hold one pixel of a grey image.
#pragma once

#include "cpu/simd/gather.h"
#include "ops/resize/places.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kFew = 4;

// Indices of gathers must fit into the integers of a lane.
HL_INLINE bool is_few(const GridShape& s) {
  const int64_t image = s.in[0] * s.in[1] * s.in[2] * s.C;
  return s.C > 0 && s.C <= kFew && image > 0 && image < (int64_t(1) << 31);
}

// The corners of a vector of places. What lies outside has index 0 and must be masked.
template <class T, int D>
struct CornerSet {
  Vec<Lane<T>> index[1 << D], inside[1 << D];
  Vec<T> weight[1 << D];
};

template <class T, int D>
HL_INLINE CornerSet<T, D> corners_at(const GridShape& s, const Places<T, D>& p, int k) {
  using I = Vec<Lane<T>>;
  CornerSet<T, D> c;
  for (int b = 0; b < 1 << D; ++b) {
    I at = {}, in = ~I{};
    Vec<T> w = set1(T(1));
    Lane<T> stride = Lane<T>(s.C);
    for (int a = 0; a < D; ++a) {
      const Lane<T> size = Lane<T>(s.in[2 - a]);
      const I i = load(p.corner[a] + k) + Lane<T>(b >> a & 1);
      const Vec<T> part = load(p.part[a] + k);
      in &= (i >= Lane<T>(0)) & (i < size);
      at += i * stride;
      w = w * (b >> a & 1 ? part : T(1) - part);
      stride *= size;
    }
    c.index[b] = at & in, c.inside[b] = in, c.weight[b] = w;
  }
  return c;
}

// y (points, C) of a vector of places, `lanes` of them points.
template <class T, int D>
HL_INLINE void sample_few(const GridShape& s, const Places<T, D>& p, int k, int64_t lanes,
                          const T* x, T fill, T* y) {
  const int corners = s.mode == SampleMode::kNearest ? 1 : 1 << D;
  const CornerSet<T, D> at = corners_at(s, p, k);
  Vec<T> outside{};
  Vec<Lane<T>> any{}, live[1 << D];
  for (int b = 0; b < corners; ++b) {
    live[b] = at.inside[b] & (at.weight[b] != T(0));  // is not read: what it holds plays no part
    outside += select(at.inside[b], Vec<T>{}, at.weight[b]);
    any |= live[b];
  }
  const auto whole = at.weight[0] == T(1);
  alignas(64) T out[kFew][kLanes<T>];
  for (int64_t c = 0; c < s.C; ++c) {
    const Vec<T> first = select(live[0], gather(x + c, at.index[0]), Vec<T>{});
    Vec<T> sum = at.weight[0] * first;
    for (int b = 1; b < corners; ++b) {
      sum = fma(at.weight[b], select(live[b], gather(x + c, at.index[b]), Vec<T>{}), sum);
    }
    sum = select(whole, first, sum);
    if (fill != 0) sum += outside * fill;
    store(out[c], select(any, sum, set1(fill)));
  }
  if (s.C == 1) return store_some(y, load(out[0]), lanes);
  for (int64_t i = 0; i < lanes; ++i) {
    for (int64_t c = 0; c < s.C; ++c) y[i * s.C + c] = out[c][i];
  }
}

// dg (points, D): dy times the difference of opposite corners, weighted along the other axes.
template <class T, int D>
HL_INLINE void grid_gradient_few(const GridShape& s, const Places<T, D>& p, int k, int64_t lanes,
                                 const T* x, const T* dy, T* dgrid) {
  constexpr int K = 1 << D;
  const CornerSet<T, D> at = corners_at(s, p, k);
  Vec<T> sum[D] = {};
  const Vec<Lane<T>> numbers = lane_numbers<T>();
  const Vec<Lane<T>> rows = numbers * Lane<T>(s.C) & (numbers < Lane<T>(lanes));
  for (int64_t c = 0; c < s.C; ++c) {
    const Vec<T> g = s.C == 1 ? load_some(dy, lanes) : gather(dy + c, rows);
    Vec<T> step[D] = {};
    for (int b = 0; b < K; ++b) {
      const Vec<T> v = select(at.inside[b], gather(x + c, at.index[b]), Vec<T>{});
      for (int a = 0; a < D; ++a) {
        Vec<T> factor = set1(b >> a & 1 ? T(1) : T(-1));
        for (int o = 0; o < D; ++o) {
          if (o == a) continue;
          const Vec<T> part = load(p.part[o] + k);
          factor = factor * (b >> o & 1 ? part : T(1) - part);
        }
        step[a] = fma(factor, v, step[a]);
      }
    }
    for (int a = 0; a < D; ++a) sum[a] = fma(step[a], g, sum[a]);
  }
  alignas(64) T out[D][kLanes<T>];
  for (int a = 0; a < D; ++a) {
    const Vec<T> slope = load(p.slope[a] + k);
    store(out[a], select(slope == T(0), Vec<T>{}, sum[a] * slope));
  }
  for (int64_t i = 0; i < lanes; ++i) {
    for (int a = 0; a < D; ++a) dgrid[i * D + a] = out[a][i];
  }
}

// dx of a vector of points.
template <class T, int D>
HL_INLINE void scatter_few(const GridShape& s, const Places<T, D>& p, int k, int64_t lanes,
                           const T* dy, T* dx) {
  const int corners = s.mode == SampleMode::kNearest ? 1 : 1 << D;
  const CornerSet<T, D> c = corners_at(s, p, k);
  alignas(64) Lane<T> index[1 << D][kLanes<T>], live[1 << D][kLanes<T>];
  alignas(64) T weight[1 << D][kLanes<T>];
  Vec<Lane<T>> absent{};
  const Vec<Lane<T>> beyond = lane_numbers<T>() >= Lane<T>(lanes);
  for (int b = 0; b < corners; ++b) {
    const Vec<Lane<T>> l = c.inside[b] & (c.weight[b] != T(0));
    absent |= ~(l | beyond);
    store(index[b], c.index[b]);
    store(live[b], l);
    store(weight[b], c.weight[b]);
  }
  const bool all = !any(absent);
  // Corner by corner: the next point's sums then seldom wait for this one's to be stored.
  for (int b = 0; b < corners; ++b) {
    for (int64_t i = 0; i < lanes; ++i) {
      if (!all && !live[b][i]) continue;
      T* to = dx + index[b][i];
      for (int64_t n = 0; n < s.C; ++n) to[n] += weight[b][i] * dy[i * s.C + n];
    }
  }
}

}  // namespace hl::cpu::HL_ISA
