// The matrix of one axis as runs of weights: element o of the result reads a run of neighbours.
#pragma once

#include "cpu/parallel.h"
#include "ops/resize/resample.h"

namespace hl::cpu::HL_ISA {

template <class T>
struct AxisMap {
  int64_t from, to;  // elements read, elements made
  int64_t* first;    // (to): the first element of each run
  int64_t* start;    // (to + 1): where each run's weights begin
  T* weight;
  bool copies;  // each run is one element with weight 1
  bool plain;   // and the element is its own

  HL_INLINE int64_t count(int64_t o) const { return start[o + 1] - start[o]; }
};

// Most weights that one element of the result has.
HL_INLINE int64_t longest_run(const ResampleShape& s, int axis) {
  if (axis < 3 - s.axes) return 1;
  switch (s.mode) {
    case ResampleMode::kNearest:
    case ResampleMode::kNearestExact:
      return 1;
    case ResampleMode::kLinear:
      return 2;
    case ResampleMode::kCubic:
      return 4;
    case ResampleMode::kArea:
      return s.out[axis] > 0 ? s.in[axis] / s.out[axis] + 2 : 1;
    case ResampleMode::kFir:
      return ceil_div(s.fir_size, s.up[axis]);
  }
  return 0;
}

template <class T>
HL_INLINE int64_t map_bytes(int64_t to, int64_t weights) {
  return round_up((2 * to + 1) * 8 + weights * int64_t(sizeof(T)), 64);
}

template <class T>
HL_INLINE AxisMap<T> place_map(int64_t from, int64_t to, int64_t weights, unsigned char*& memory) {
  AxisMap<T> m = {};
  m.from = from, m.to = to;
  m.first = reinterpret_cast<int64_t*>(memory);
  m.start = m.first + to;
  m.weight = reinterpret_cast<T*>(m.start + to + 1);
  memory += map_bytes<T>(to, weights);
  return m;
}

HL_INLINE int64_t floor_of(double u) {
  const int64_t i = int64_t(u);
  return double(i) > u ? i - 1 : i;
}
HL_INLINE int64_t within(int64_t i, int64_t low, int64_t high) {
  return i < low ? low : i > high ? high : i;
}

// Where element o of the result lies among the elements that are read.
HL_INLINE double source_of(const ResampleShape& s, int axis, int64_t o) {
  const int64_t in = s.in[axis], out = s.out[axis];
  if (s.corners == Corners::kAligned) return out > 1 ? double(o * (in - 1)) / double(out - 1) : 0;
  if (s.scale[axis] > 0) return (double(o) + 0.5) / s.scale[axis] - 0.5;
  return double((2 * o + 1) * in - out) / double(2 * out);
}

HL_INLINE int64_t nearest_of(const ResampleShape& s, int axis, int64_t o, float shift) {
  const int64_t in = s.in[axis], out = s.out[axis];
  if (shift == 0) {
    if (in == out) return o;
    if (out == 2 * in) return o / 2;
  }
  const float step = s.scale[axis] > 0 ? float(1 / s.scale[axis]) : float(in) / float(out);
  return within(int64_t((float(o) + shift) * step), 0, in - 1);
}

// Writes the run of element o, returns its length.
template <class T>
HL_INLINE int64_t put_run(const ResampleShape& s, int axis, int64_t o, int64_t& first, T* weight) {
  const int64_t in = s.in[axis], out = s.out[axis];
  if (axis < 3 - s.axes) {
    first = o, weight[0] = T(1);
    return 1;
  }
  switch (s.mode) {
    case ResampleMode::kNearest:
    case ResampleMode::kNearestExact:
      first = nearest_of(s, axis, o, s.mode == ResampleMode::kNearest ? 0.0f : 0.5f);
      weight[0] = T(1);
      return 1;
    case ResampleMode::kLinear: {
      double u = source_of(s, axis, o);
      if (in == out) u = double(o);
      if (u < 0) u = 0;
      first = within(int64_t(u), 0, in - 1);
      const double rest = u - double(first);
      if (first == in - 1 || rest <= 0) {
        weight[0] = T(1);
        return 1;
      }
      weight[0] = T(1 - rest), weight[1] = T(rest);
      return 2;
    }
    case ResampleMode::kCubic: {
      const double u = source_of(s, axis, o);
      const int64_t i = floor_of(u);
      constexpr double a = -0.75;
      double w[4];
      for (int k = 0; k < 4; ++k) {
        const double d = __builtin_fabs(u - double(i - 1 + k));
        w[k] = d <= 1 ? (1 - d) * (1 + d - (a + 2) * d * d) : a * (d - 1) * (d - 2) * (d - 2);
      }
      first = within(i - 1, 0, in - 1);
      const int64_t n = within(i + 2, 0, in - 1) - first + 1;
      double sum[4] = {};
      for (int k = 0; k < 4; ++k) sum[within(i - 1 + k, 0, in - 1) - first] += w[k];
      for (int64_t k = 0; k < n; ++k) weight[k] = T(sum[k]);
      return n;
    }
    case ResampleMode::kArea: {
      first = o * in / out;
      const int64_t n = ceil_div((o + 1) * in, out) - first;
      for (int64_t k = 0; k < n; ++k) weight[k] = T(1 / double(n));
      return n;
    }
    case ResampleMode::kFir: {
      const int64_t up = s.up[axis], K = s.fir_size;
      const int64_t j = o * s.down[axis] - s.before[axis];  // window [j, j + K) of the stretched x
      first = j <= 0 ? 0 : min64(ceil_div(j, up), in);
      const int64_t stop = j + K <= 0 ? 0 : min64((j + K - 1) / up + 1, in);
      for (int64_t i = first; i < stop; ++i) weight[i - first] = T(s.fir[K - 1 - (i * up - j)]);
      return max64(stop - first, 0);
    }
  }
  return 0;
}

template <class T>
AxisMap<T> forward_map(const ResampleShape& s, int axis, unsigned char*& memory) {
  const int64_t to = s.out[axis];
  AxisMap<T> m = place_map<T>(s.in[axis], to, to * longest_run(s, axis), memory);
  m.copies = true;
  m.plain = m.from == to;
  m.start[0] = 0;
  for (int64_t o = 0; o < to; ++o) {
    T* w = m.weight + m.start[o];
    const int64_t n = put_run(s, axis, o, m.first[o], w);
    m.start[o + 1] = m.start[o] + n;
    m.copies &= n == 1 && *w == T(1);
    m.plain &= m.first[o] == o;
  }
  m.plain &= m.copies;
  return m;
}

// Which results read element i: again a run, since first and last elements of the runs never go
// back.
template <class T>
AxisMap<T> transposed_map(const ResampleShape& s, int axis, unsigned char*& memory) {
  const AxisMap<T> a = forward_map<T>(s, axis, memory);
  AxisMap<T> m = place_map<T>(a.to, a.from, a.to * longest_run(s, axis), memory);
  m.plain = a.plain;
  m.copies = true;
  for (int64_t i = 0; i <= m.to; ++i) m.start[i] = 0;
  for (int64_t o = 0; o < a.to; ++o) {
    for (int64_t k = 0; k < a.count(o); ++k) ++m.start[a.first[o] + k + 1];
  }
  for (int64_t i = 0; i < m.to; ++i) {
    m.copies &= m.start[i + 1] == 1;
    m.first[i] = 0;
    m.start[i + 1] += m.start[i];
  }
  // first[i] counts the weights that element i has so far, until all are there.
  for (int64_t o = 0; o < a.to; ++o) {
    for (int64_t k = 0; k < a.count(o); ++k) {
      const int64_t i = a.first[o] + k;
      const T w = a.weight[a.start[o] + k];
      m.weight[m.start[i] + m.first[i]++] = w;
      m.copies &= w == T(1);
    }
  }
  for (int64_t o = a.to - 1; o >= 0; --o) {
    for (int64_t k = 0; k < a.count(o); ++k) m.first[a.first[o] + k] = o;
  }
  return m;
}

}  // namespace hl::cpu::HL_ISA
