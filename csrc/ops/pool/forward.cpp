#include "cpu/simd/pow.h"
#include "kernel.h"
#include "ops/pool/pool.h"
#include "ops/pool/taps.h"
#include "ops/pool/window.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kAheadBytes = 2048;

// The window of one output: how many taps there are along D, H and W, and where the next one lies.
struct Window {
  int64_t count[3];
  int64_t step[3];      // numbers
  int64_t tap;          // number of the first
  int64_t tap_step[2];  // from one along D and H to the next; 1 along W
};

// Calls f(i) for 0 <= i < n; kN is n where it is known beforehand, else 0.
template <int kN, class F>
HL_INLINE void repeat(int64_t n, const F& f) {
  if constexpr (kN > 0) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kN; ++i) f(i);
  } else {
    for (int64_t i = 0; i < n; ++i) f(i);
  }
}

// Calls f(row, tap) for each row of taps, with the row's first number and first tap. KH is the
// number of rows of a plane window where it is known beforehand, else 0.
template <int KH, class T, class F>
HL_INLINE void each_row(const Window& w, const T* x, const F& f) {
  const int64_t planes = KH ? 1 : w.count[0];
  for (int64_t a = 0; a < planes; ++a) {
    repeat<KH>(w.count[1], [&](int64_t b) __attribute__((always_inline)) {
      f(x + a * w.step[0] + b * w.step[1], w.tap + a * w.tap_step[0] + b * w.tap_step[1]);
    });
  }
}

// A fold makes V vectors of one pixel of y, or with kTail the n < kLanes numbers at its end, from
// the window that begins at x. `at` is their place in y.
template <class T, bool kTail>
HL_INLINE Vec<T> load_at(const T* p, int64_t n) {
  return kTail ? load_n(p, n) : load(p);
}
// A tap of a small window. Several rows are read side by side, more than the hardware foresees: the ones
// that come soon are asked for (the third column of a window is the first of the next).
template <class T, bool kTail, int KW>
HL_INLINE Vec<T> load_tap(const T* p, int64_t column, int64_t n) {
  if (KW > 0 && !kTail && column < 2) __builtin_prefetch(p + kAheadBytes / sizeof(T));
  return load_at<T, kTail>(p, n);
}
template <class T, bool kTail, int V>
HL_INLINE void put_at(T* p, const Vec<T> (&v)[V], int64_t n, bool past_cache) {
  for (int k = 0; k < V; ++k) {
    if constexpr (kTail) {
      store_n(p, v[k], n);
    } else {
      put(p + k * kLanes<T>, v[k], past_cache);
    }
  }
}

// With the winners' numbers in `taps`.
template <class T, class P, bool kLargest>
struct Extreme {
  using Number = T;
  P* taps;
  bool past_cache;

  template <int V, bool kTail, int KH, int KW>
  HL_INLINE void cell(const Window& w, const T* x, T* y, int64_t at, int64_t n) const {
    Vec<T> best[V];
    Int<Vec<T>> winner[V];
    for (int k = 0; k < V; ++k) {
      best[k] = set1(kLargest ? -T(__builtin_inf()) : T(__builtin_inf()));
      winner[k] = same_lanes<T>(w.tap);
    }
    each_row<KH>(w, x, [&](const T* row, int64_t tap) __attribute__((always_inline)) {
      repeat<KW>(w.count[2], [&](int64_t c) __attribute__((always_inline)) {
        const Int<Vec<T>> number = same_lanes<T>(tap + c);
#pragma GCC unroll 4
        for (int k = 0; k < V; ++k) {
          const Vec<T> v = load_tap<T, kTail, KW>(row + c * w.step[2] + k * kLanes<T>, c, n);
          const auto wins = (kLargest ? v > best[k] : v < best[k]) | (v != v);
          best[k] = select(wins, v, best[k]);
          winner[k] = select(wins, number, winner[k]);
        }
      });
    });
    put_at<T, kTail>(y + at, best, n, past_cache);
    for (int k = 0; k < V; ++k) {
      if constexpr (kTail) {
        store_taps_n<T>(taps + at, winner[k], n);
      } else {
        store_narrow(taps + at + k * kLanes<T>, winner[k]);
      }
    }
  }
};

// Without. max(v, best) keeps best where they are equal, so that the sign of 0 is the first's.
struct NoTaps {};
template <class T, bool kLargest>
struct Extreme<T, NoTaps, kLargest> {
  using Number = T;
  bool past_cache;

  template <int V, bool kTail, int KH, int KW>
  HL_INLINE void cell(const Window& w, const T* x, T* y, int64_t at, int64_t n) const {
    Vec<T> best[V];
    for (int k = 0; k < V; ++k) {
      best[k] = set1(kLargest ? -T(__builtin_inf()) : T(__builtin_inf()));
    }
    each_row<KH>(w, x, [&](const T* row, int64_t) __attribute__((always_inline)) {
      repeat<KW>(w.count[2], [&](int64_t c) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int k = 0; k < V; ++k) {
          const Vec<T> v = load_tap<T, kTail, KW>(row + c * w.step[2] + k * kLanes<T>, c, n);
          best[k] = kLargest ? max(v, best[k]) : min(v, best[k]);
        }
      });
    });
    put_at<T, kTail>(y + at, best, n, past_cache);
  }
};

struct Plain {
  template <class V>
  HL_INLINE V term(V x) const {
    return x;
  }
  template <class V>
  HL_INLINE V result(V sum) const {
    return sum;
  }
};
struct Square {
  template <class V>
  HL_INLINE V term(V x) const {
    return x * x;
  }
  template <class V>
  HL_INLINE V result(V sum) const {
    return sqrt(sum);
  }
};
// Number by number in the C library: nothing that an unrolled loop would help.
template <class T>
__attribute__((noinline)) Vec<T> power(Vec<T> x, T p) {
  return pow(x, set1(p));
}
template <class T>
struct Power {
  T p;
  HL_INLINE Vec<T> term(Vec<T> x) const { return power(x, p); }
  HL_INLINE Vec<T> result(Vec<T> sum) const { return power(sum, 1 / p); }
};

// Sums of at most kShort taps, then of as many such sums, and these are added with the rounding error
// carried along (Kahan): no error grows with the window.
constexpr int64_t kShort = 16;

template <class V>
HL_INLINE void add(V& total, V& error, V x) {
  const V corrected = x - error, next = total + corrected;
  error = (next - total) - corrected;
  error = select(error == error, error, V{});  // of an infinite sum
  total = next;
}

template <class T, class Map>
struct Sum {
  Map map;
  T scale;
  bool past_cache;

  template <int V, bool kTail, int KH, int KW>
  HL_INLINE void cell(const Window& w, const T* x, T* y, int64_t at, int64_t n) const {
    Vec<T> total[V], sum[V], error[V];
    for (int k = 0; k < V; ++k) total[k] = sum[k] = error[k] = zero<T>();
    int64_t parts = 0;
    each_row<KH>(w, x, [&](const T* row, int64_t) __attribute__((always_inline)) {
      const int64_t count = KW ? KW : w.count[2];
      for (int64_t from = 0; from < count; from += kShort) {
        const T* first = row + from * w.step[2];
        Vec<T> part[V];
        for (int k = 0; k < V; ++k) part[k] = zero<T>();
        repeat<KW>(min64(count - from, kShort), [&](int64_t c) __attribute__((always_inline)) {
#pragma GCC unroll 4
          for (int k = 0; k < V; ++k) {
            const T* p = first + c * w.step[2] + k * kLanes<T>;
            part[k] += map.term(load_tap<T, kTail, KW>(p, c, n));
          }
        });
        for (int k = 0; k < V; ++k) sum[k] += part[k];
        if (!KW && ++parts % kShort == 0) {
          for (int k = 0; k < V; ++k) add(total[k], error[k], sum[k]), sum[k] = zero<T>();
        }
      }
    });
    if (!KW && parts >= kShort) {
      for (int k = 0; k < V; ++k) add(total[k], error[k], sum[k]), sum[k] = total[k];
    }
    for (int k = 0; k < V; ++k) sum[k] = map.result(sum[k] * set1(scale));
    put_at<T, kTail>(y + at, sum, n, past_cache);
  }

  // The same sums with y between the rows of taps: each is then read from front to back.
  static bool long_rows(const Window& w) {
    return w.step[2] * int64_t(sizeof(T)) >= 2048 && w.count[0] * w.count[1] < kShort &&
           w.count[2] <= kShort && w.count[0] * w.count[1] * w.count[2] > kShort;
  }
  template <int V, bool kTail>
  HL_INLINE void row(const Window& w, const T* x, T* y, int64_t n, bool first, bool last) const {
    Vec<T> part[V];
    for (int k = 0; k < V; ++k) part[k] = zero<T>();
    for (int64_t c = 0; c < w.count[2]; ++c) {
#pragma GCC unroll 4
      for (int k = 0; k < V; ++k) {
        part[k] += map.term(load_at<T, kTail>(x + c * w.step[2] + k * kLanes<T>, n));
      }
    }
    for (int k = 0; k < V; ++k) {
      if (!first) part[k] = load_at<T, kTail>(y + k * kLanes<T>, n) + part[k];
      if (last) part[k] = map.result(part[k] * set1(scale));
    }
    put_at<T, kTail>(y, part, n, last && past_cache);
  }
};

// Pixels of y with windows alike: `count` of n numbers each, `x_step` apart in x and `y_step` in y.
struct Stretch {
  int64_t count, n, x_step, y_step;
};

template <int KH, int KW, class T, class Fold>
void pixels(const Fold& fold, const Window& w, const Stretch& s, const T* x, T* y, int64_t at) {
  constexpr int L = kLanes<T>;
  for (int64_t q = 0; q < s.count; ++q, x += s.x_step, at += s.y_step) {
    int64_t c = 0;
    for (; c + 4 * L <= s.n; c += 4 * L) {
      fold.template cell<4, false, KH, KW>(w, x + c, y, at + c, 0);
    }
    for (; c + L <= s.n; c += L) fold.template cell<1, false, KH, KW>(w, x + c, y, at + c, 0);
    if (c < s.n) fold.template cell<1, true, KH, KW>(w, x + c, y, at + c, s.n - c);
  }
}

// Large windows over many channels: one row of taps after the other for all channels of a pixel.
template <class T, class Fold>
void long_rows(const Fold& fold, const Window& w, const Stretch& s, const T* x, T* y, int64_t at) {
  constexpr int L = kLanes<T>;
  const int64_t rows = w.count[0] * w.count[1];
  for (int64_t q = 0; q < s.count; ++q, x += s.x_step, at += s.y_step) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* from = x + r / w.count[1] * w.step[0] + r % w.count[1] * w.step[1];
      const bool first = r == 0, last = r + 1 == rows;
      int64_t c = 0;
      for (; c + 4 * L <= s.n; c += 4 * L) {
        fold.template row<4, false>(w, from + c, y + at + c, 0, first, last);
      }
      for (; c + L <= s.n; c += L) {
        fold.template row<1, false>(w, from + c, y + at + c, 0, first, last);
      }
      if (c < s.n) fold.template row<1, true>(w, from + c, y + at + c, s.n - c, first, last);
    }
  }
}

template <class T, class Fold>
HL_INLINE void stretch(const Fold& fold, const Window& w, const Stretch& s, const T* x, T* y,
                       int64_t at) {
  const bool plane = w.count[0] == 1;
  if (plane && w.count[1] == 2 && w.count[2] == 2) return pixels<2, 2>(fold, w, s, x, y, at);
  if (plane && w.count[1] == 3 && w.count[2] == 3) return pixels<3, 3>(fold, w, s, x, y, at);
  if constexpr (requires { Fold::long_rows(w); }) {
    if (Fold::long_rows(w)) return long_rows(fold, w, s, x, y, at);
  }
  pixels<0, 0>(fold, w, s, x, y, at);
}

Cut cut_of(const PoolShape& s) {
  int64_t taps = 1;
  for (const PoolAxis& a : s.axis) taps *= a.kernel;
  return cut_rows(s.N * s.axis[0].out * s.axis[1].out, s.axis[2].out, s.C, taps);
}

// All outputs. fold_for(weight) makes the fold for a window in which `weight` taps count.
template <class T, class FoldFor>
void pool(Ctx& ctx, const PoolShape& s, const T* x, T* y, const FoldFor& fold_for) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  const Cut cut = cut_of(s);
  const int64_t C = s.C;
  const Cover whole = whole_windows(s, W);
  parallel_for(ctx, cut.units, cut.grain, [&](int64_t begin, int64_t end, int) {
    Window w;
    w.step[0] = D.dilation * H.in * W.in * C;
    w.step[1] = H.dilation * W.in * C;
    w.step[2] = W.dilation * C;
    w.tap_step[0] = H.kernel * W.kernel;
    w.tap_step[1] = W.kernel;
    for (int64_t unit = begin; unit < end; ++unit) {
      const Place place = place_of(cut, unit, W.out, C);
      const int64_t row = place.row, c0 = place.channel;
      const int64_t oh = row % H.out, od = row / H.out % D.out, image = row / H.out / D.out;
      const Span d = span_of(s, D, od), h = span_of(s, H, oh);
      const T* x_row = x + ((image * D.in + d.first) * H.in + h.first) * W.in * C + c0;
      for (int64_t ow = place.first; ow < place.last;) {
        const Span v = span_of(s, W, ow);
        Stretch some = {1, place.channels, 0, C};
        if (ow >= whole.low && ow <= whole.high) {
          some.count = min64(whole.high + 1, place.last) - ow;
          some.x_step = W.stride * C;
        }
        const int64_t next = ow + some.count;
        if (W.stride == 1 && cut.bands == 1) {  // neighbours look at neighbours: one long pixel
          some.n *= some.count;
          some.count = 1;
        }
        w.count[0] = d.count, w.count[1] = h.count, w.count[2] = v.count;
        w.tap = d.tap * w.tap_step[0] + h.tap * w.tap_step[1] + v.tap;
        // Where no tap lies inside, nothing may be read, and `first` may point anywhere.
        const bool empty = d.count == 0 || h.count == 0 || v.count == 0;
        if (empty) w.count[0] = 0;
        stretch(fold_for(d.weight * h.weight * v.weight), w, some, empty ? x : x_row + v.first * C,
                y, (row * W.out + ow) * C + c0);
        ow = next;
      }
    }
    store_fence();
  });
}

template <class T, bool kLargest>
void extremes(Ctx& ctx, const PoolShape& s, const T* x, T* y, void* taps, bool past_cache) {
  if (!taps) {
    const Extreme<T, NoTaps, kLargest> fold = {past_cache};
    pool(ctx, s, x, y, [&](int64_t) { return fold; });
  } else if (s.tap_bytes == 1) {
    const Extreme<T, uint8_t, kLargest> fold = {static_cast<uint8_t*>(taps), past_cache};
    pool(ctx, s, x, y, [&](int64_t) { return fold; });
  } else {
    const Extreme<T, int32_t, kLargest> fold = {static_cast<int32_t*>(taps), past_cache};
    pool(ctx, s, x, y, [&](int64_t) { return fold; });
  }
}

template <class T, class Map>
void sums(Ctx& ctx, const PoolShape& s, const T* x, T* y, Map map, T whole, bool past_cache) {
  pool(ctx, s, x, y, [&](int64_t weight) {
    const int64_t m = s.divisor ? s.divisor : weight;
    return Sum<T, Map>{map, m ? whole / T(m) : T(0), past_cache};
  });
}

}  // namespace

template <class T>
Plan pool_forward_plan(const PoolShape& s) {
  double taps = 1, in = double(s.N) * double(s.C), out = in;
  for (const PoolAxis& a : s.axis) {
    taps *= double(a.kernel), in *= double(a.in), out *= double(a.out);
  }
  const Cut cut = cut_of(s);
  Plan p = {};
  p.algorithm = s.axis[2].stride == 1 && !s.adaptive ? "runs of pixels" : "pixels";
  p.tile[0] = cut.grain, p.tile[1] = cut.pixels, p.tile[2] = cut.channels;
  p.flops = out * taps;
  p.bytes = (in + out) * sizeof(T);
  return p;
}

template <class T>
void pool_forward(Ctx& ctx, const PoolShape& s, const T* x, T* y, void* taps) {
  int64_t elements = s.N * s.C, window = 1;
  for (const PoolAxis& a : s.axis) elements *= a.out, window *= a.kernel;
  if (elements == 0) return;
  const bool past_cache = streams<T>(ctx, y, elements, s.C, cut_of(s));
  switch (s.kind) {
    case PoolKind::kMax:
      return extremes<T, true>(ctx, s, x, y, taps, past_cache);
    case PoolKind::kMin:
      return extremes<T, false>(ctx, s, x, y, taps, past_cache);
    case PoolKind::kAvg:
      return sums<T>(ctx, s, x, y, Plain{}, T(1), past_cache);
    case PoolKind::kLp:
      if (s.power == 1) return sums<T>(ctx, s, x, y, Plain{}, T(window), past_cache);
      if (s.power == 2) return sums<T>(ctx, s, x, y, Square{}, T(window), past_cache);
      return sums<T>(ctx, s, x, y, Power<T>{T(s.power)}, T(window), past_cache);
  }
}

HL_DEFINE_KERNEL(pool_forward);

// ---- places of the winners -----------------------------------------------------------------------
namespace {

constexpr int64_t kMostPlaces = 64;  // of a window that are worth a table

template <class P>
void find_places(Ctx& ctx, const PoolShape& s, const P* taps, int64_t* indices) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  const int64_t rows = s.N * D.out * H.out, window = D.kernel * H.kernel * W.kernel;
  const auto place = [&](const PoolAxis& a, int64_t o, int64_t tap) {
    return s.adaptive ? adaptive_first(a, o) + tap : o * a.stride - a.before + tap * a.dilation;
  };
  parallel_for(
      ctx, rows, max64(1, kTask / 4 / (W.out * s.C)), [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t oh = row % H.out, od = row / H.out % D.out;
          for (int64_t ow = 0; ow < W.out; ++ow) {
            const auto index = [&](int64_t tap) {
              const int64_t d = place(D, od, tap / (H.kernel * W.kernel));
              const int64_t h = place(H, oh, tap / W.kernel % H.kernel);
              const int64_t w = place(W, ow, tap % W.kernel);
              const bool inside = uint64_t(d) < uint64_t(D.in) && uint64_t(h) < uint64_t(H.in) &&
                                  uint64_t(w) < uint64_t(W.in);
              return inside ? (d * H.in + h) * W.in + w : -1;
            };
            const P* from = taps + (row * W.out + ow) * s.C;
            int64_t* to = indices + (row * W.out + ow) * s.C;
            if (window <= s.C && window <= kMostPlaces) {  // each place once
              int64_t places[kMostPlaces];
              for (int64_t tap = 0; tap < window; ++tap) places[tap] = index(tap);
              for (int64_t c = 0; c < s.C; ++c) to[c] = places[from[c]];
            } else {
              for (int64_t c = 0; c < s.C; ++c) to[c] = index(from[c]);
            }
          }
        }
      });
}

}  // namespace

Plan pool_indices_plan(const PoolShape& s) {
  Plan p = {};
  p.algorithm = "pixels";
  p.bytes = double(s.N) * double(s.C) * (8 + s.tap_bytes);
  for (const PoolAxis& a : s.axis) p.bytes *= double(a.out);
  return p;
}

void pool_indices(Ctx& ctx, const PoolShape& s, const void* taps, int64_t* indices) {
  if (s.N * s.C == 0) return;
  if (s.tap_bytes == 1) return find_places(ctx, s, static_cast<const uint8_t*>(taps), indices);
  find_places(ctx, s, static_cast<const int32_t*>(taps), indices);
}

HL_DEFINE_RAW_KERNEL(pool_indices);

}  // namespace hl::cpu::HL_ISA
