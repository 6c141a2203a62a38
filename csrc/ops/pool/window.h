// Which inputs an output looks at, which outputs look at an input, and how the work is cut.
#pragma once

#include "cpu/parallel.h"
#include "ops/pool/pool.h"

namespace hl::cpu::HL_ISA {

// The taps of output o along one axis that lie inside the input.
struct Span {
  int64_t first;   // input index of the first
  int64_t tap;     // its number
  int64_t count;   // how many
  int64_t weight;  // how many the average counts
};

HL_INLINE int64_t reach_of(const PoolAxis& a) { return a.dilation * (a.kernel - 1); }

HL_INLINE int64_t adaptive_first(const PoolAxis& a, int64_t o) { return o * a.in / a.out; }
HL_INLINE int64_t adaptive_end(const PoolAxis& a, int64_t o) {
  return ceil_div((o + 1) * a.in, a.out);
}

HL_INLINE Span span_of(const PoolShape& s, const PoolAxis& a, int64_t o) {
  if (s.adaptive) {
    const int64_t first = adaptive_first(a, o), n = adaptive_end(a, o) - first;
    return {first, 0, n, n};
  }
  const int64_t start = o * a.stride - a.before;
  if (start >= 0 && start + reach_of(a) < a.in) return {start, 0, a.kernel, a.kernel};
  // Taps in front of `limit`, of those on or behind `start`.
  const auto taps_before = [&](int64_t limit) {
    return limit <= start ? 0 : min64(a.kernel, ceil_div(limit - start, a.dilation));
  };
  Span w;
  w.tap = start < 0 ? ceil_div(-start, a.dilation) : 0;
  w.first = start + w.tap * a.dilation;
  w.count = max64(0, taps_before(a.in) - w.tap);
  w.weight = s.count_pad ? taps_before(a.in + a.after) : w.count;
  return w;
}

// Outputs low ... high whose windows may hold an input; those that dilation leaves out are among
// them.
struct Cover {
  int64_t low, high;
};

constexpr int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

HL_INLINE Cover cover_of(const PoolShape& s, const PoolAxis& a, int64_t i) {
  if (s.adaptive) return {i * a.out / a.in, ceil_div((i + 1) * a.out, a.in) - 1};
  const int64_t at = i + a.before;
  return {max64(0, floor_div(at - reach_of(a) + a.stride - 1, a.stride)),
          min64(a.out - 1, at / a.stride)};
}

// Number of the tap of output o that looks at i, or -1 where dilation steps over it.
HL_INLINE int64_t tap_of(const PoolShape& s, const PoolAxis& a, int64_t o, int64_t i) {
  if (s.adaptive) return i - adaptive_first(a, o);
  const int64_t t = i + a.before - o * a.stride;
  if (a.dilation == 1) return t;
  return t % a.dilation == 0 ? t / a.dilation : -1;
}

// Most outputs that cover one input.
HL_INLINE int64_t most_cover(const PoolShape& s, const PoolAxis& a) {
  return min64(a.out, s.adaptive ? a.out / a.in + 2 : a.kernel);
}

// Outputs low ... high whose windows lie inside the input. Adaptive windows differ from each other,
// so there none counts.
HL_INLINE Cover whole_windows(const PoolShape& s, const PoolAxis& a) {
  if (s.adaptive || a.in <= reach_of(a)) return {0, -1};
  return {ceil_div(a.before, a.stride), (a.in - 1 - reach_of(a) + a.before) / a.stride};
}

// ---- the cut -------------------------------------------------------------------------------------
constexpr int64_t kTask = 1 << 15;  // numbers read by one task, at least

// Units of (row of pixels, block of its pixels, band of channels).
struct Cut {
  int64_t blocks, pixels;   // along the row
  int64_t bands, channels;  // along C
  int64_t units, grain;
};

HL_INLINE Cut cut_rows(int64_t rows, int64_t row, int64_t C, int64_t reads_per_element) {
  Cut c;
  const int64_t pixel = max64(1, C * reads_per_element);
  c.pixels = min64(row, max64(1, kTask / pixel));
  c.blocks = ceil_div(row, c.pixels);
  // Few large pixels, as in a global pool of one image: channels are what is left to share out.
  c.channels = rows * c.blocks >= 16 || pixel < 2 * kTask ? C : round_up(ceil_div(C, 16), 64);
  c.bands = C == 0 ? 0 : ceil_div(C, c.channels);
  c.units = rows * c.blocks * c.bands;
  c.grain = max64(1, kTask / (c.pixels * max64(1, c.channels * reads_per_element)));
  return c;
}

// A unit: pixels [first, last) of a row, and channels from `channel` on.
struct Place {
  int64_t row, first, last, channel, channels;
};

HL_INLINE Place place_of(const Cut& c, int64_t unit, int64_t row, int64_t C) {
  Place p;
  p.channel = unit % c.bands * c.channels;
  p.channels = min64(c.channels, C - p.channel);
  unit /= c.bands;
  p.first = unit % c.blocks * c.pixels;
  p.last = min64(p.first + c.pixels, row);
  p.row = unit / c.blocks;
  return p;
}

// Whether a result that starts at p can be stored past the caches in whole vectors.
template <class T>
HL_INLINE bool streams(const Ctx& ctx, const void* p, int64_t elements, int64_t C, const Cut& c) {
  return elements * int64_t(sizeof(T)) >= ctx.last_cache && uintptr_t(p) % kVectorBytes == 0 &&
         C % kLanes<T> == 0 && c.channels % kLanes<T> == 0;
}

template <class T>
HL_INLINE void put(T* p, Vec<T> v, bool past_cache) {
  if (past_cache) {
    store_past_cache(p, v);
  } else {
    store(p, v);
  }
}

}  // namespace hl::cpu::HL_ISA
