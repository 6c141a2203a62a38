// Backward of windows that lie side by side along W, of fewer channels than a vector has lanes: lanes run on
// from pixel to pixel of dx, and each picks its output from two vectors of dy.
#pragma once

#include "cpu/exp_run.h"
#include "cpu/parallel.h"
#include "cpu/simd/gather.h"
#include "ops/pool/pool.h"

namespace hl::cpu::HL_ISA {

// An output whose window holds the present pixel.
template <class T>
struct Above {
  int64_t offset, tap;
  T share;  // of dy in an average
};

// Lanes of the two vectors at p, behind which there are `room` numbers.
template <class T>
HL_INLINE Vec<T> pick_from(const T* p, int64_t room, Vec<Lane<T>> lanes) {
  constexpr int64_t L = kLanes<T>;
  if (room >= 2 * L) return pick(load(p), load(p + L), lanes);
  return pick(load_n(p, min64(L, room)), load_n(p + L, max64(0, room - L)), lanes);
}

// After KW * C vectors, that is L windows, the pattern repeats itself.
template <class T>
struct Pattern {
  int64_t from;  // numbers of dy in front of what is picked
  Vec<Lane<T>> lanes, tap;
};

template <class T>
int64_t pattern_size(const PoolShape& s) {
  const int64_t row = s.axis[2].out * s.axis[2].kernel * s.C;
  return min64(s.axis[2].kernel * s.C, ceil_div(row, kLanes<T>));
}

template <class T>
void fill_pattern(const PoolShape& s, Pattern<T>* pattern) {
  const int64_t KW = s.axis[2].kernel, size = pattern_size<T>(s);
  for (int64_t v = 0; v < size; ++v) {
    Pattern<T>& p = pattern[v];
    p.from = v * kLanes<T> / s.C / KW * s.C;
    for (int64_t i = 0; i < kLanes<T>; ++i) {
      const int64_t at = v * kLanes<T> + i, pixel = at / s.C;
      p.lanes[i] = Lane<T>(pixel / KW * s.C + at % s.C - p.from);
      p.tap[i] = Lane<T>(pixel % KW);
    }
  }
}

// The n numbers of a row of windows that begins at dx + at; `size` numbers are in dy.
template <class Source, class T = typename Source::Number>
void few_windows(const PoolShape& s, const Source& source, const Pattern<T>* pattern,
                 const Above<T>& first, int64_t size, int64_t n, const T* x, T* dx, int64_t at) {
  constexpr int64_t L = kLanes<T>;
  const int64_t period = pattern_size<T>(s);
  int64_t from = first.offset;
  for (int64_t i = 0, v = 0; i < n; i += L, ++v) {
    if (v == period) v = 0, from += L * s.C;
    const Pattern<T>& p = pattern[v];
    const int64_t begin = from + p.from, count = min64(L, n - i);
    Vec<T> at_x = zero<T>();
    if constexpr (Source::kReadsX) at_x = load_some(x + at + i, count);
    const Vec<T> sum = source.picked(first, begin, size - begin, p.lanes, p.tap);
    store_some(dx + at + i, source.finish(sum, at_x), count);
  }
}

}  // namespace hl::cpu::HL_ISA
