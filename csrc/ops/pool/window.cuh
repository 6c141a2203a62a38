// Which inputs an output looks at and which outputs look at an input, as window.h has them.
#pragma once

#include "cuda/gpu.h"
#include "ops/pool/pool.h"

namespace hl::cuda {

__device__ inline int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
__device__ inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

// The taps of output o along one axis that lie inside the input.
struct Span {
  int64_t first, tap, count;  // input index and number of the first one, how many
  int64_t weight;             // how many the average counts
};

__device__ inline int64_t adaptive_first(const PoolAxis& a, int64_t o) { return o * a.in / a.out; }

__device__ inline Span span_of(const PoolShape& s, const PoolAxis& a, int64_t o) {
  if (s.adaptive) {
    const int64_t first = adaptive_first(a, o), n = ceil_div((o + 1) * a.in, a.out) - first;
    return {first, 0, n, n};
  }
  const int64_t start = o * a.stride - a.before;
  // Taps in front of `limit`, of those on or behind `start`.
  const auto taps_before = [&](int64_t limit) {
    return limit <= start ? 0 : at_most(a.kernel, ceil_div(limit - start, a.dilation));
  };
  Span w;
  w.tap = start < 0 ? ceil_div(-start, a.dilation) : 0;
  w.first = start + w.tap * a.dilation;
  w.count = at_least(0, taps_before(a.in) - w.tap);
  w.weight = s.count_pad ? taps_before(a.in + a.after) : w.count;
  return w;
}

// Outputs low ... high whose windows may hold input i; those that dilation leaves out are among them.
struct Cover {
  int64_t low, high;
};
__device__ inline Cover cover_of(const PoolShape& s, const PoolAxis& a, int64_t i) {
  if (s.adaptive) return {i * a.out / a.in, ceil_div((i + 1) * a.out, a.in) - 1};
  const int64_t at = i + a.before, behind = at - a.dilation * (a.kernel - 1);
  return {behind <= 0 ? 0 : ceil_div(behind, a.stride), at_most(a.out - 1, at / a.stride)};
}

// Number of the tap of output o that looks at i, or -1 where dilation steps over it.
__device__ inline int64_t tap_of(const PoolShape& s, const PoolAxis& a, int64_t o, int64_t i) {
  if (s.adaptive) return i - adaptive_first(a, o);
  const int64_t t = i + a.before - o * a.stride;
  if (a.dilation == 1) return t;
  return t % a.dilation == 0 ? t / a.dilation : -1;
}

}  // namespace hl::cuda
