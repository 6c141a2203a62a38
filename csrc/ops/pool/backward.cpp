#include "cpu/simd/pow.h"
#include "kernel.h"
#include "ops/pool/few_windows.h"
#include "ops/pool/pool.h"
#include "ops/pool/taps.h"
#include "ops/pool/window.h"

namespace hl::cpu::HL_ISA {
namespace {

// A row of outputs whose windows hold the present row of inputs.
struct RowAbove {
  int64_t offset;  // of the row's first number in dy
  int64_t tap;     // number of the tap that looks here, up to its place along W
  int64_t weight;  // taps along D and H that the average counts
};

int64_t most_rows(const PoolShape& s) {
  return most_cover(s, s.axis[0]) * most_cover(s, s.axis[1]);
}
int64_t most_above(const PoolShape& s) { return most_rows(s) * most_cover(s, s.axis[2]); }

bool side_by_side(const PoolShape& s, const PoolAxis& a) {
  return !s.adaptive && a.stride == a.kernel && a.dilation == 1 && a.before == 0 &&
         a.out * a.kernel <= a.in;
}

// Fills `rows` for input row (image, id, ih); returns how many. `apart`: windows lie side by side along D and
// H, as they most often do, and finding them is not worth the general search.
int64_t rows_above(const PoolShape& s, bool apart, int64_t image, int64_t id, int64_t ih,
                   RowAbove* rows) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  if (apart) {
    const int64_t od = id / D.kernel, oh = ih / H.kernel;
    if (od >= D.out || oh >= H.out) return 0;
    const int64_t jd = id - od * D.kernel, jh = ih - oh * H.kernel;
    rows[0] = {((image * D.out + od) * H.out + oh) * W.out * s.C, (jd * H.kernel + jh) * W.kernel,
               D.kernel * H.kernel};
    return 1;
  }
  const Cover d = cover_of(s, D, id), h = cover_of(s, H, ih);
  int64_t n = 0;
  for (int64_t od = d.low; od <= d.high; ++od) {
    const int64_t jd = tap_of(s, D, od, id);
    if (jd < 0) continue;
    for (int64_t oh = h.low; oh <= h.high; ++oh) {
      const int64_t jh = tap_of(s, H, oh, ih);
      if (jh < 0) continue;
      rows[n++] = {((image * D.out + od) * H.out + oh) * W.out * s.C,
                   (jd * H.kernel + jh) * W.kernel,
                   span_of(s, D, od).weight * span_of(s, H, oh).weight};
    }
  }
  return n;
}

// The outputs above pixel iw of that row, for each in front of which c0 channels are left out;
// returns how many.
template <bool kShares, class T>
int64_t outputs_above(const PoolShape& s, const RowAbove* rows, int64_t row_count, int64_t iw,
                      int64_t c0, Above<T>* above) {
  const PoolAxis& W = s.axis[2];
  const Cover w = cover_of(s, W, iw);
  int64_t n = 0;
  for (int64_t ow = w.low; ow <= w.high; ++ow) {
    const int64_t jw = tap_of(s, W, ow, iw);
    if (jw < 0) continue;
    const int64_t weight = kShares ? span_of(s, W, ow).weight : 0;
    for (int64_t r = 0; r < row_count; ++r) {
      const int64_t m = s.divisor ? s.divisor : rows[r].weight * weight;
      above[n++] = {rows[r].offset + ow * s.C + c0, rows[r].tap + jw, kShares ? T(1) / T(m) : T(1)};
    }
  }
  return n;
}

template <class T, bool kTail>
HL_INLINE Vec<T> load_at(const T* p, int64_t n) {
  return kTail ? load_n(p, n) : load(p);
}

// What an output sends to the input that `above` was made for: add() adds it to the sum, finish()
// makes dx of the sum. picked() is what a vector of inputs gets, each lane from an output of its own: lane
// i from number at + lanes[i], as tap first.tap + tap[i].

// dy where that input won, nothing elsewhere.
template <class T, class P>
struct Winners {
  using Number = T;
  static constexpr bool kReadsX = false, kShares = false;
  const T* dy;
  const P* taps;

  template <bool kTail>
  HL_INLINE Vec<T> add(Vec<T> sum, const Above<T>& above, int64_t c, int64_t n) const {
    const int64_t at = above.offset + c;
    const auto won = load_taps<T>(taps + at) == same_lanes<T>(above.tap);
    return sum + select(won, load_at<T, kTail>(dy + at, n), zero<T>());
  }
  HL_INLINE Vec<T> picked(const Above<T>& first, int64_t at, int64_t room, Vec<Lane<T>> lanes,
                          Vec<Lane<T>> tap) const {
    const Int<Vec<T>> low = load_taps<T>(taps + at), high = load_taps<T>(taps + at + kLanes<T>);
    const auto number = (Int<Vec<T>>)pick((Vec<T>)low, (Vec<T>)high, lanes);
    const auto won = number == same_lanes<T>(first.tap) + (Int<Vec<T>>)tap;
    return select(won, pick_from(dy + at, room, lanes), zero<T>());
  }
  HL_INLINE Vec<T> finish(Vec<T> sum, Vec<T>) const { return sum; }
};

// A share of dy.
template <class T>
struct Shares {
  using Number = T;
  static constexpr bool kReadsX = false, kShares = true;
  const T* dy;

  template <bool kTail>
  HL_INLINE Vec<T> add(Vec<T> sum, const Above<T>& above, int64_t c, int64_t n) const {
    return fma(load_at<T, kTail>(dy + above.offset + c, n), set1(above.share), sum);
  }
  HL_INLINE Vec<T> picked(const Above<T>& first, int64_t at, int64_t room, Vec<Lane<T>> lanes,
                          Vec<Lane<T>>) const {
    return pick_from(dy + at, room, lanes) * set1(first.share);
  }
  HL_INLINE Vec<T> finish(Vec<T> sum, Vec<T>) const { return sum; }
};

// Lp: g, which holds all factors but x^(p - 1).
template <class T>
struct Powers {
  using Number = T;
  static constexpr bool kReadsX = true, kShares = false;
  const T* g;
  T exponent;  // p - 1

  template <bool kTail>
  HL_INLINE Vec<T> add(Vec<T> sum, const Above<T>& above, int64_t c, int64_t n) const {
    return sum + load_at<T, kTail>(g + above.offset + c, n);
  }
  HL_INLINE Vec<T> picked(const Above<T>&, int64_t at, int64_t room, Vec<Lane<T>> lanes,
                          Vec<Lane<T>>) const {
    return pick_from(g + at, room, lanes);
  }
  HL_INLINE Vec<T> finish(Vec<T> sum, Vec<T> x) const {
    if (exponent == 0) return sum;
    return sum * (exponent == 1 ? x : pow(x, set1(exponent)));
  }
};

// Inputs alike: `count` of n numbers each, `step` apart in dx and `above_step` in dy.
struct Stretch {
  int64_t count, n, step, above_step;
};

// V vectors of dx at `at`, or its last n numbers; c is the distance from the numbers of `above`.
// kCount is how many outputs there are above, where that is known, else -1.
template <int V, bool kTail, int kCount, class Source, class T = typename Source::Number>
HL_INLINE void cell(const Source& source, const Above<T>* above, int64_t above_count, int64_t c,
                    const T* x, T* dx, int64_t at, int64_t n, bool past_cache) {
  constexpr int L = kLanes<T>;
  const int64_t count = kCount >= 0 ? kCount : above_count;
  Vec<T> sum[V];
  for (int k = 0; k < V; ++k) sum[k] = zero<T>();
  for (int64_t a = 0; a < count; ++a) {
#pragma GCC unroll 4
    for (int k = 0; k < V; ++k) sum[k] = source.template add<kTail>(sum[k], above[a], c + k * L, n);
  }
  for (int k = 0; k < V; ++k) {
    Vec<T> at_x = zero<T>();
    if constexpr (Source::kReadsX) at_x = load_at<T, kTail>(x + at + k * L, n);
    const Vec<T> result = source.finish(sum[k], at_x);
    if constexpr (kTail) {
      store_n(dx + at, result, n);
    } else {
      put(dx + at + k * L, result, past_cache);
    }
  }
}

template <int kCount, class Source, class T = typename Source::Number>
void pixels(const Source& source, const Above<T>* above, int64_t above_count, const Stretch& s,
            const T* x, T* dx, int64_t at, bool past_cache) {
  constexpr int L = kLanes<T>;
  for (int64_t q = 0; q < s.count; ++q) {
    const int64_t from = at + q * s.step, moved = q * s.above_step;
    int64_t c = 0;
    for (; c + 4 * L <= s.n; c += 4 * L) {
      cell<4, false, kCount>(source, above, above_count, moved + c, x, dx, from + c, 0, past_cache);
    }
    for (; c + L <= s.n; c += L) {
      cell<1, false, kCount>(source, above, above_count, moved + c, x, dx, from + c, 0, past_cache);
    }
    if (c < s.n) {
      cell<1, true, kCount>(source, above, above_count, moved + c, x, dx, from + c, s.n - c,
                            past_cache);
    }
  }
}

template <class Source, class T = typename Source::Number>
HL_INLINE void stretch(const Source& source, const Above<T>* above, int64_t above_count,
                       const Stretch& s, const T* x, T* dx, int64_t at, bool past_cache) {
  if (above_count == 1) {  // windows that do not overlap
    return pixels<1>(source, above, 1, s, x, dx, at, past_cache);
  }
  pixels<-1>(source, above, above_count, s, x, dx, at, past_cache);
}

// Windows that lie side by side along W, below one row of outputs: KW inputs at a time, so that each
// number of dy is read once a row.
template <int KW, bool kTail, class Source, class T = typename Source::Number>
HL_INLINE void inputs_of(const Source& source, const Above<T>& first, int64_t c, int64_t C,
                         const T* x, T* dx, int64_t at, int64_t n, bool past_cache) {
  Vec<T> sum[KW];
#pragma GCC unroll 4
  for (int j = 0; j < KW; ++j) {
    const Above<T> above = {first.offset, first.tap + j, first.share};
    sum[j] = source.template add<kTail>(zero<T>(), above, c, n);
  }
#pragma GCC unroll 4
  for (int j = 0; j < KW; ++j) {
    Vec<T> at_x = zero<T>();
    if constexpr (Source::kReadsX) at_x = load_at<T, kTail>(x + at + j * C, n);
    const Vec<T> result = source.finish(sum[j], at_x);
    if constexpr (kTail) {
      store_n(dx + at + j * C, result, n);
    } else {
      put(dx + at + j * C, result, past_cache);
    }
  }
}

template <int KW, class Source, class T = typename Source::Number>
void windows(const Source& source, Above<T> first, int64_t count, int64_t C, int64_t channels,
             const T* x, T* dx, int64_t at, bool past_cache) {
  constexpr int L = kLanes<T>;
  for (int64_t q = 0; q < count; ++q, at += KW * C, first.offset += C) {
    int64_t c = 0;
    for (; c + L <= channels; c += L) {
      inputs_of<KW, false>(source, first, c, C, x, dx, at + c, L, past_cache);
    }
    if (c < channels) {
      inputs_of<KW, true>(source, first, c, C, x, dx, at + c, channels - c, past_cache);
    }
  }
}

// Rows of windows of two or three pixels: inputs_of and few_windows.
bool are_beside(const PoolShape& s, const Cut& cut) {
  const PoolAxis& W = s.axis[2];
  return cut.blocks == 1 && side_by_side(s, W) && (W.kernel == 2 || W.kernel == 3);
}

Cut cut_of(const PoolShape& s) {
  int64_t covers = 1;
  for (const PoolAxis& a : s.axis) covers *= max64(1, min64(a.kernel * a.out / a.in, a.out));
  return cut_rows(s.N * s.axis[0].in * s.axis[1].in, s.axis[2].in, s.C, covers);
}

template <class Source, class T = typename Source::Number>
void gather(Ctx& ctx, const PoolShape& s, const Source& source, const T* x, T* dx) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  const Cut cut = cut_of(s);
  const int64_t C = s.C, elements = s.N * D.in * H.in * W.in * C;
  const bool past_cache = streams<T>(ctx, dx, elements, C, cut);
  // Inputs low ... high are seen by whole windows only. There the outputs above one pixel are
  // those above the pixel a stride before, moved by one: the row is a few interleaved stretches.
  const bool beside = are_beside(s, cut), few = beside && s.C < kLanes<T>;
  const bool apart = side_by_side(s, D) && side_by_side(s, H);
  const Cover inner = {s.adaptive ? W.in : reach_of(W), W.in - 1 - reach_of(W)};
  parallel_for(ctx, cut.units, cut.grain, [&](int64_t begin, int64_t end, int worker) {
    Above<T>* above = worker_scratch<Above<T>>(ctx, worker);
    RowAbove* rows = reinterpret_cast<RowAbove*>(above + most_above(s));
    Pattern<T> pattern[3 * kLanes<T>];
    if (few) fill_pattern(s, pattern);
    for (int64_t unit = begin; unit < end; ++unit) {
      const Place place = place_of(cut, unit, W.in, C);
      const int64_t row = place.row, c0 = place.channel;
      const int64_t ih = row % H.in, id = row / H.in % D.in, image = row / H.in / D.in;
      const int64_t row_count = rows_above(s, apart, image, id, ih, rows);
      const auto some = [&](int64_t iw, Stretch alike) {
        const int64_t n = outputs_above<Source::kShares>(s, rows, row_count, iw, c0, above);
        stretch(source, above, n, alike, x, dx, (row * W.in + iw) * C + c0, past_cache);
      };
      const Stretch single = {1, place.channels, 0, 0};
      if (beside && row_count == 1) {
        outputs_above<Source::kShares>(s, rows, 1, 0, c0, above);
        if (few) {
          few_windows(s, source, pattern, above[0], s.N * D.out * H.out * W.out * C,
                      W.out * W.kernel * C, x, dx, row * W.in * C);
        } else {
          const auto all = W.kernel == 2 ? &windows<2, Source> : &windows<3, Source>;
          all(source, above[0], W.out, C, place.channels, x, dx, row * W.in * C + c0, past_cache);
        }
        for (int64_t iw = W.out * W.kernel; iw < W.in; ++iw) some(iw, single);
        continue;
      }
      const int64_t low = min64(max64(place.first, inner.low), place.last);
      const int64_t high = max64(low, min64(place.last, inner.high + 1));
      for (int64_t iw = place.first; iw < low; ++iw) some(iw, single);
      if (W.stride == 1 && cut.bands == 1 && low < high) {  // one long pixel
        some(low, {1, (high - low) * C, 0, 0});
      } else {
        for (int64_t iw = low; iw < min64(high, low + W.stride); ++iw) {
          some(iw, {ceil_div(high - iw, W.stride), place.channels, W.stride * C, C});
        }
      }
      for (int64_t iw = high; iw < place.last; ++iw) some(iw, single);
    }
    store_fence();
  });
}

// g = dy (k / m) y^(1 - p), 0 where y is 0: what Lp sends to every tap of a window.
template <class T>
void send(Ctx& ctx, const PoolShape& s, const T* dy, const T* y, T* g) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  const int64_t rows = s.N * D.out * H.out, L = kLanes<T>;
  const T whole = T(D.kernel * H.kernel * W.kernel), exponent = T(1 - s.power);
  const auto one = [&](Vec<T> d, Vec<T> v, Vec<T> scale) {
    Vec<T> result = d * scale;
    if (s.power == 2) {
      result /= v;
    } else if (s.power != 1) {
      result *= pow(v, set1(exponent));
    }
    return select(v == zero<T>(), zero<T>(), result);
  };
  parallel_for(
      ctx, rows, max64(1, kTask / 4 / (W.out * s.C)), [&](int64_t begin, int64_t end, int) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t oh = row % H.out, od = row / H.out % D.out;
          const int64_t weight = span_of(s, D, od).weight * span_of(s, H, oh).weight;
          for (int64_t ow = 0; ow < W.out; ++ow) {
            const Vec<T> scale = set1(whole / T(weight * span_of(s, W, ow).weight));
            const int64_t at = (row * W.out + ow) * s.C;
            int64_t c = 0;
            for (; c + L <= s.C; c += L) {
              store(g + at + c, one(load(dy + at + c), load(y + at + c), scale));
            }
            if (c < s.C) {
              const int64_t n = s.C - c;
              store_n(g + at + c, one(load_n(dy + at + c, n), load_n(y + at + c, n), scale), n);
            }
          }
        }
      });
}

}  // namespace

template <class T>
Plan pool_backward_plan(const PoolShape& s) {
  double in = double(s.N) * double(s.C) * sizeof(T), out = in, covers = 1;
  int64_t outputs = s.N * s.C;
  for (const PoolAxis& a : s.axis) {
    in *= double(a.in), out *= double(a.out), outputs *= a.out, covers *= double(a.kernel);
  }
  const Cut cut = cut_of(s);
  Plan p = {};
  p.algorithm = "gathered";
  p.tile[0] = cut.grain, p.tile[1] = cut.pixels, p.tile[2] = cut.channels;
  p.worker_bytes =
      most_rows(s) * int64_t(sizeof(RowAbove)) + most_above(s) * int64_t(sizeof(Above<T>));
  p.flops = out / sizeof(T) * covers;
  p.bytes = in + out;
  switch (s.kind) {
    case PoolKind::kMax:
    case PoolKind::kMin:
      p.bytes += out / sizeof(T) * s.tap_bytes;
      break;
    case PoolKind::kAvg:
      break;
    case PoolKind::kLp:
      p.bytes += in + out;
      p.shared_bytes = outputs * int64_t(sizeof(T));
      break;
  }
  return p;
}

template <class T>
void pool_backward(Ctx& ctx, const PoolShape& s, const T* dy, const void* taps, const T* x,
                   const T* y, T* dx) {
  int64_t inputs = s.N * s.C;
  for (const PoolAxis& a : s.axis) inputs *= a.in;
  if (inputs == 0) return;
  switch (s.kind) {
    case PoolKind::kMax:
    case PoolKind::kMin:
      if (s.tap_bytes == 1) {
        return gather(ctx, s, Winners<T, uint8_t>{dy, static_cast<const uint8_t*>(taps)}, x, dx);
      }
      return gather(ctx, s, Winners<T, int32_t>{dy, static_cast<const int32_t*>(taps)}, x, dx);
    case PoolKind::kAvg:
      return gather(ctx, s, Shares<T>{dy}, x, dx);
    case PoolKind::kLp: {
      T* g = reinterpret_cast<T*>(ctx.shared);
      send(ctx, s, dy, y, g);
      return gather(ctx, s, Powers<T>{g, T(s.power - 1)}, x, dx);
    }
  }
}

HL_DEFINE_KERNEL(pool_backward);

}  // namespace hl::cpu::HL_ISA
