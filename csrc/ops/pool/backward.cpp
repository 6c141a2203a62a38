#include "cpu/simd/pow.h"
#include "kernels.h"
#include "ops/pool/pool.h"
#include "ops/pool/taps.h"
#include "ops/pool/window.h"

namespace hl::cpu::HL_ISA {
namespace {

// A row of outputs whose windows hold the present row of inputs.
struct RowCover {
  int64_t offset;  // of the row's first number in dy
  int64_t tap;     // number of the tap that looks here, up to its place along W
  int64_t weight;  // taps along D and H that the average counts
};

int64_t most_rows(const PoolShape& s) {
  return most_cover(s, s.axis[0]) * most_cover(s, s.axis[1]);
}

// Fills `rows` for input row (image, id, ih); returns how many.
int64_t cover_rows(const PoolShape& s, int64_t image, int64_t id, int64_t ih, RowCover* rows) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
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

// The outputs above one input pixel: rows of outputs, and a range along W.
struct Above {
  const PoolShape* s;
  const RowCover* rows;
  int64_t row_count;
  Cover w;
  int64_t iw;
};

template <class T, bool kTail>
HL_INLINE Vec<T> load_at(const T* p, int64_t n) {
  return kTail ? load_n(p, n) : load(p);
}

// dy where the winner was this input, nothing elsewhere.
template <class T, class P>
struct Winners {
  const T* dy;
  const P* taps;

  template <int V, bool kTail>
  HL_INLINE void gather(const Above& above, int64_t c, int64_t n, Vec<T> (&sum)[V]) const {
    const PoolShape& s = *above.s;
    for (int64_t r = 0; r < above.row_count; ++r) {
      const RowCover& row = above.rows[r];
      for (int64_t ow = above.w.low; ow <= above.w.high; ++ow) {
        const int64_t tap = tap_of(s, s.axis[2], ow, above.iw);
        if (tap < 0) continue;
        const Int<Vec<T>> number = same_lanes<T>(row.tap + tap);
        const int64_t at = row.offset + ow * s.C + c;
#pragma GCC unroll 4
        for (int k = 0; k < V; ++k) {
          const int64_t i = at + k * kLanes<T>;
          const auto won = load_taps<T>(taps + i) == number;
          sum[k] += select(won, load_at<T, kTail>(dy + i, n), zero<T>());
        }
      }
    }
  }
  HL_INLINE Vec<T> finish(Vec<T> sum, Vec<T>) const { return sum; }
  static constexpr bool kReadsX = false;
};

// dy over the number of taps that its average counted.
template <class T>
struct Shares {
  const T* dy;

  template <int V, bool kTail>
  HL_INLINE void gather(const Above& above, int64_t c, int64_t n, Vec<T> (&sum)[V]) const {
    const PoolShape& s = *above.s;
    for (int64_t ow = above.w.low; ow <= above.w.high; ++ow) {
      if (tap_of(s, s.axis[2], ow, above.iw) < 0) continue;
      const int64_t along = span_of(s, s.axis[2], ow).weight;
      for (int64_t r = 0; r < above.row_count; ++r) {
        const RowCover& row = above.rows[r];
        const int64_t at = row.offset + ow * s.C + c;
        const Vec<T> share = set1(T(1) / T(s.divisor ? s.divisor : row.weight * along));
#pragma GCC unroll 4
        for (int k = 0; k < V; ++k) {
          sum[k] = fma(load_at<T, kTail>(dy + at + k * kLanes<T>, n), share, sum[k]);
        }
      }
    }
  }
  HL_INLINE Vec<T> finish(Vec<T> sum, Vec<T>) const { return sum; }
  static constexpr bool kReadsX = false;
};

// dy as it is (Lp: its factor is in there already), times x^(p - 1).
template <class T>
struct Powers {
  const T* dy;
  T exponent;  // p - 1

  template <int V, bool kTail>
  HL_INLINE void gather(const Above& above, int64_t c, int64_t n, Vec<T> (&sum)[V]) const {
    const PoolShape& s = *above.s;
    for (int64_t r = 0; r < above.row_count; ++r) {
      for (int64_t ow = above.w.low; ow <= above.w.high; ++ow) {
        if (tap_of(s, s.axis[2], ow, above.iw) < 0) continue;
        const int64_t at = above.rows[r].offset + ow * s.C + c;
#pragma GCC unroll 4
        for (int k = 0; k < V; ++k) sum[k] += load_at<T, kTail>(dy + at + k * kLanes<T>, n);
      }
    }
  }
  HL_INLINE Vec<T> finish(Vec<T> sum, Vec<T> x) const {
    if (exponent == 0) return sum;
    return sum * (exponent == 1 ? x : pow(x, set1(exponent)));
  }
  static constexpr bool kReadsX = true;
};

template <class T, class Source, int V, bool kTail>
HL_INLINE void cell(const Source& source, const Above& above, int64_t c, const T* x, T* dx,
                    int64_t at, int64_t n, bool past_cache) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[V];
  for (int k = 0; k < V; ++k) sum[k] = zero<T>();
  source.template gather<V, kTail>(above, c, n, sum);
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

Cut cut_of(const PoolShape& s) {
  int64_t covers = 1;
  for (const PoolAxis& a : s.axis) covers *= max64(1, min64(a.kernel * a.out / a.in, a.out));
  return cut_rows(s.N * s.axis[0].in * s.axis[1].in, s.axis[2].in, s.C, covers);
}

template <class T, class Source>
void gather(Ctx& ctx, const PoolShape& s, const Source& source, const T* x, T* dx) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  const Cut cut = cut_of(s);
  const int64_t C = s.C, elements = s.N * D.in * H.in * W.in * C;
  const bool past_cache = streams<T>(dx, elements, C, cut);
  // Inputs from `full` up to `full_end` are seen by whole windows only.
  const bool runs = runs_along(s) && cut.bands == 1;
  const int64_t full = reach_of(W), full_end = W.in - reach_of(W);
  parallel_for(ctx, cut.units, cut.grain, [&](int64_t begin, int64_t end, int worker) {
    RowCover* rows = worker_scratch<RowCover>(ctx, worker);
    Above above = {&s, rows, 0, {}, 0};
    for (int64_t unit = begin; unit < end; ++unit) {
      int64_t rest = unit;
      const int64_t c0 = rest % cut.bands * cut.channels, n = min64(cut.channels, C - c0);
      rest /= cut.bands;
      const int64_t first = rest % cut.blocks * cut.pixels, last = min64(first + cut.pixels, W.in);
      const int64_t row = rest / cut.blocks;
      const int64_t ih = row % H.in, id = row / H.in % D.in, image = row / H.in / D.in;
      above.row_count = cover_rows(s, image, id, ih, rows);
      for (int64_t iw = first; iw < last;) {
        const int64_t run = runs && iw >= full && iw < full_end ? min64(full_end, last) - iw : 1;
        above.iw = iw;
        above.w = cover_of(s, W, iw);
        const int64_t at = (row * W.in + iw) * C + c0, count = run > 1 ? run * C : n;
        constexpr int L = kLanes<T>;
        int64_t c = 0;
        for (; c + 4 * L <= count; c += 4 * L) {
          cell<T, Source, 4, false>(source, above, c0 + c, x, dx, at + c, 0, past_cache);
        }
        for (; c + L <= count; c += L) {
          cell<T, Source, 1, false>(source, above, c0 + c, x, dx, at + c, 0, past_cache);
        }
        if (c < count) {
          cell<T, Source, 1, true>(source, above, c0 + c, x, dx, at + c, count - c, past_cache);
        }
        iw += run;
      }
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
  p.worker_bytes = most_rows(s) * int64_t(sizeof(RowCover));
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
