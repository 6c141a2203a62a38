// One channel a group: nothing is summed over channels, so there is no product, only vectors of channels
// that meet their weights. Several pixels at a time share every weight that is loaded and, with the
// common kernels, every number of the image; the memory is the limit.
#include "ops/conv/correlate.h"
#include "ops/conv/dot_line.h"
#include "ops/conv/weight.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int kPixels = kTileRows >= 14 ? 8 : 4;  // accumulators, next to weights and image

constexpr int64_t kTaskWork = 1 << 16;     // multiply-adds worth waking a thread for
constexpr int64_t kBandBytes = 256 << 10;  // of image and gradient

// Taps [low, high) whose source, `base` + t * delta, lies in [0, size).
struct TapRange {
  int64_t low, high;
};
TapRange taps_inside(int64_t base, int64_t delta, int64_t taps, int64_t size) {
  TapRange r = {0, taps};
  while (r.low < taps && base + r.low * delta < 0) ++r.low;
  while (r.high > r.low && base + (r.high - 1) * delta >= size) --r.high;
  return r;
}

int64_t rows_per_task(int64_t rows, int64_t work_of_row) {
  return max64(1, min64(rows, ceil_div(kTaskWork, max64(1, work_of_row))));
}

// What one line of outputs reads and writes.
template <class T>
struct Line {
  const CorrelateAxis* axis;
  int64_t C;
  const T* from;  // where the first tap of output 0 would be
  const T* w;     // [tap][C]
  const T* b;     // or null
  T* to;
  int64_t to_step;
  TapRange t0, t1;
};

// Outputs [q, q + P) and taps t2 of the last axis, all of them inside. S taps and a step that are known to
// the compiler let neighbours share what they load; 0 means any.
template <class T, int P, int S, int STEP>
HL_INLINE void line_pixels(const Line<T>& l, int64_t q, const TapRange& t2) {
  constexpr int L = kLanes<T>;
  // Copies: a store of numbers may change what `l` points to, for all that the compiler knows.
  const CorrelateAxis* a = l.axis;
  const int64_t C = l.C, row = a[2].from * C;
  const int64_t step = (STEP ? STEP : a[2].step) * C, delta = (S ? 1 : a[2].delta) * C;
  const int64_t down = a[1].delta * row, deep = a[0].delta * a[1].from * row;
  const int64_t w_down = a[2].taps * C, w_deep = a[1].taps * w_down, to_step = l.to_step;
  const int64_t planes = l.t0.high - l.t0.low, rows = l.t1.high - l.t1.low;
  const T* from = l.from + q * a[2].step * C + l.t0.low * deep + l.t1.low * down;
  const T* weights = l.w + l.t0.low * w_deep + l.t1.low * w_down;
  const T* b = l.b;
  T* to = l.to + q * to_step;
  const int64_t low = t2.low, high = t2.high;
  // The next line needs rows that this one did not: ask for them in time.
  const T* ahead = from + (rows - 1) * down + a[1].step * row;
  auto channels = [&](int64_t at, auto get, auto put) __attribute__((always_inline)) {
    Vec<T> sum[P];
    const Vec<T> bias = b ? get(b + at) : zero<T>();
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) sum[i] = bias;
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) __builtin_prefetch(ahead + i * step + at);
    for (int64_t i0 = 0; i0 < planes; ++i0) {
      const T* x = from + i0 * deep + at;
      const T* w = weights + i0 * w_deep + at;
      for (int64_t i1 = 0; i1 < rows; ++i1, x += down, w += w_down) {
        if constexpr (S > 0) {
          Vec<T> wv[S];
#pragma GCC unroll 8
          for (int k = 0; k < S; ++k) wv[k] = get(w + k * C);
          constexpr int kWide = (P - 1) * STEP + S;
#pragma GCC unroll 32
          for (int j = 0; j < kWide; ++j) {  // pixel j of the image serves every output it meets
            const Vec<T> xv = get(x + j * C);
#pragma GCC unroll 8
            for (int i = 0; i < P; ++i) {
              const int k = j - i * STEP;
              if (k >= 0 && k < S) sum[i] = fma(wv[k], xv, sum[i]);
            }
          }
        } else {
          for (int64_t k = low; k < high; ++k) {
            const Vec<T> wv = get(w + k * C);
#pragma GCC unroll 8
            for (int i = 0; i < P; ++i) sum[i] = fma(wv, get(x + k * delta + i * step), sum[i]);
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) put(to + i * to_step + at, sum[i]);
  };
  int64_t at = 0;
  for (; at + L <= C; at += L) {
    channels(
        at, [](const T* p) __attribute__((always_inline)) { return load_once(p); },
        [](T* p, Vec<T> v) __attribute__((always_inline)) { store(p, v); });
  }
  if (const int64_t n = C - at; n > 0) {
    channels(
        at, [n](const T* p) __attribute__((always_inline)) { return load_n(p, n); },
        [n](T* p, Vec<T> v) __attribute__((always_inline)) { store_n(p, v, n); });
  }
}

template <class T>
using LineBody = void (*)(const Line<T>& l, int64_t inner, int64_t outer);

// One line; outputs in [inner, outer) need no look at the edges.
template <class T, int S, int STEP>
void line_body(const Line<T>& l, int64_t inner, int64_t outer) {
  const CorrelateAxis& x = l.axis[2];
  const TapRange all = {0, x.taps};
  auto edge = [&](int64_t q) {
    line_pixels<T, 1, 0, 0>(l, q, taps_inside(q * x.step + x.first, x.delta, x.taps, x.from));
  };
  int64_t q = 0;
  for (; q < inner; ++q) edge(q);
  if (outer - inner >= kPixels) {
    // The last block may do some outputs again: cheaper than one at a time.
    for (; q < outer; q += kPixels) {
      line_pixels<T, kPixels, S, STEP>(l, min64(q, outer - kPixels), all);
    }
    q = outer;
  }
  for (; q < outer; ++q) line_pixels<T, 1, S, STEP>(l, q, all);
  for (; q < x.out; ++q) edge(q);
}

template <class T>
LineBody<T> line_body_for(const CorrelateAxis& x) {
  if (x.delta == 1 || x.taps == 1) {
    if (x.taps == 3 && x.step == 1) return &line_body<T, 3, 1>;
    if (x.taps == 3 && x.step == 2) return &line_body<T, 3, 2>;
    if (x.taps == 5 && x.step == 1) return &line_body<T, 5, 1>;
  }
  return &line_body<T, 0, 0>;
}

}  // namespace

template <class T>
int64_t depthwise_bytes(const Correlation& c) {
  const CorrelateAxis* a = c.axis;
  return c.groups * a[0].taps * a[1].taps * a[2].taps * int64_t(sizeof(T)) + 64;
}

template <class T>
void depthwise(Ctx& ctx, const Correlation& c, const T* from, const T* w, const Finish<T>& finish,
               T* to, T* z) {
  const CorrelateAxis* a = c.axis;
  const int64_t C = c.groups, taps = a[0].taps * a[1].taps * a[2].taps;
  const int64_t kernel = a[0].kernel * a[1].kernel * a[2].kernel;
  T* weights = reinterpret_cast<T*>(ctx.shared);
  for (int64_t i = 0; i < taps; ++i) {
    int64_t tap = a[0].tap0 + i / (a[1].taps * a[2].taps) * a[0].tap_step;
    tap = tap * a[1].kernel + a[1].tap0 + i / a[2].taps % a[1].taps * a[1].tap_step;
    tap = tap * a[2].kernel + a[2].tap0 + i % a[2].taps * a[2].tap_step;
    for (int64_t channel = 0; channel < C; ++channel) {
      weights[i * C + channel] = w[channel * kernel + tap];
    }
  }
  // Outputs between `inner` and `outer` need no look at the edges.
  int64_t inner = 0;
  const auto base_of = [&](int64_t q) { return q * a[2].step + a[2].first; };
  while (inner < a[2].out && base_of(inner) < 0) ++inner;
  int64_t outer = a[2].out;
  while (outer > inner && base_of(outer - 1) + (a[2].taps - 1) * a[2].delta >= a[2].from) --outer;

  const LineBody<T> body = line_body_for<T>(a[2]);
  Finish<T> rest = finish;  // the sums start from the bias
  rest.b = nullptr;
  const int64_t rows = rows_per_task(a[1].out, a[2].out * C * taps);
  const int64_t row_tasks = ceil_div(a[1].out, rows), step = a[2].place_step * C;
  parallel_for(ctx, c.N * a[0].out * row_tasks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t p0 = task % row_tasks * rows, p1 = min64(a[1].out, p0 + rows);
      const int64_t plane = task / row_tasks % a[0].out, image = task / row_tasks / a[0].out;
      const int64_t d = plane * a[0].step + a[0].first;
      const TapRange t0 = taps_inside(d, a[0].delta, a[0].taps, a[0].from);
      const int64_t to_plane = image * a[0].to + plane * a[0].place_step + a[0].place;
      for (int64_t p = p0; p < p1; ++p) {
        const int64_t h = p * a[1].step + a[1].first;
        const TapRange t1 = taps_inside(h, a[1].delta, a[1].taps, a[1].from);
        const int64_t to_row = to_plane * a[1].to + p * a[1].place_step + a[1].place;
        T* line = to + (to_row * a[2].to + a[2].place) * C;
        const T* source =
            from + (((image * a[0].from + d) * a[1].from + h) * a[2].from + a[2].first) * C;
        body({a, C, source, weights, finish.b, line, step, t0, t1}, inner, outer);
        if (rest.needed())
          rest.lines(line, z ? z + (line - to) : nullptr, step, a[2].out, nullptr, C);
      }
    }
  });
}

namespace {

template <bool V>
struct Edge {
  static constexpr bool value = V;
};
template <int V>
struct Number {
  static constexpr int value = V;
};

struct DepthwiseWeightCut {
  int64_t rows, row_tasks, bands, splits;
};

DepthwiseWeightCut depthwise_weight_cut(const ConvShape& s, int64_t item) {
  DepthwiseWeightCut k = {};
  const int64_t size = s.C * s.kernel[0] * s.kernel[1] * s.kernel[2];
  // What a block of taps goes through stays in the second-level cache for the next one.
  const int64_t row_bytes = (s.in[2] * s.stride[1] + s.out[2]) * s.C * item;
  k.rows = max64(1, min64(s.out[1], kBandBytes / max64(1, row_bytes)));
  k.row_tasks = ceil_div(s.out[1], k.rows);
  k.bands = s.N * s.out[0] * k.row_tasks;
  k.splits = max64(1, min64(min64(k.bands, 32), (2 << 20) / max64(1, size * item)));
  return k;
}

}  // namespace

template <class T>
int64_t depthwise_weight_bytes(const ConvShape& s) {
  const DepthwiseWeightCut k = depthwise_weight_cut(s, sizeof(T));
  return k.splits * s.C * s.kernel[0] * s.kernel[1] * s.kernel[2] * int64_t(sizeof(T)) + 64;
}

namespace {

constexpr int kGradientRows = 4;  // lines of dy that share each load of x

// sum[r][k] += dy[p] * x[p + r] over outputs [q0, q1) of P lines, for the taps of R kernel rows, S next to
// each other in each: all inside, or looked at one by one. The lines that the next P outputs add to these
// are asked for: one vector of every pixel is a stride that hardware gives up on.
template <class T, int P, int R, int S, bool EDGE>
HL_INLINE void add_lines(const T* dy, int64_t down, const T* const* x, int64_t q0, int64_t q1,
                         int64_t step, int64_t delta, int64_t first, int64_t size, int64_t C,
                         int64_t n, Vec<T> (*sum)[S]) {
  auto add = [&](auto get) __attribute__((always_inline)) {
    for (int64_t q = q0; q < q1; ++q) {
      if constexpr (P > 1 && !EDGE) {
        const T *g = dy + (P * down + q * C), *v = x[R - 1] + P * size * C + (q * step + first) * C;
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) {
          __builtin_prefetch(g + p * down);
          __builtin_prefetch(v + p * size * C);
        }
      }
      Vec<T> g[P];
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) g[p] = get(dy + p * down + q * C);
#pragma GCC unroll 8
      for (int k = 0; k < S; ++k) {
        const int64_t at = q * step + first + k * delta;
        if (EDGE && (at < 0 || at >= size)) continue;
#pragma GCC unroll 8
        for (int row = 0; row < P + R - 1; ++row) {
          const Vec<T> v = get(x[row] + at * C);
#pragma GCC unroll 8
          for (int p = 0; p < P; ++p) {
            if (p <= row && row < p + R) sum[row - p][k] = fma(g[p], v, sum[row - p][k]);
          }
        }
      }
    }
  };
  if (n == kLanes<T>) {
    add([](const T* p) __attribute__((always_inline)) { return load(p); });
  } else {
    add([n](const T* p) __attribute__((always_inline)) { return load_n(p, n); });
  }
}

// S taps of each of R kernel rows, from number `tap` on, over rows [p0, p1) of one plane.
template <class T, int R, int S>
void add_taps(const ConvShape& s, const T* dy, const T* x, int64_t image, int64_t plane, int64_t p0,
              int64_t p1, int64_t tap, T* into) {
  constexpr int L = kLanes<T>;
  const int64_t C = s.C, t2 = tap % s.kernel[2], t1 = tap / s.kernel[2] % s.kernel[1];
  const int64_t d =
      plane * s.stride[0] - s.pad[0] + tap / s.kernel[2] / s.kernel[1] * s.dilation[0];
  if (d < 0 || d >= s.in[0]) return;
  const int64_t step = s.stride[2], delta = s.dilation[2], first = t2 * delta - s.pad[2];
  const int64_t width = s.in[2], outputs = s.out[2];
  int64_t inner = 0, outer = outputs;
  while (inner < outer && inner * step + first < 0) ++inner;
  while (outer > inner && (outer - 1) * step + first + (S - 1) * delta >= width) --outer;
  for (int64_t at = 0; at < C; at += L) {
    const int64_t n = min64(L, C - at);
    Vec<T> sum[R][S];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int k = 0; k < S; ++k) sum[r][k] = zero<T>();
    }
    const T* pixels = x + (image * s.in[0] + d) * s.in[1] * width * C + at;
    const T* grads = dy + (image * s.out[0] + plane) * s.out[1] * outputs * C + at;
    const int64_t apart = s.dilation[1], down = outputs * C;
    auto row_of = [&](int64_t p) { return p * s.stride[1] - s.pad[1] + t1 * apart; };
    // Outputs of `lines` lines, of which `live` kernel rows from r on lie in the image.
    auto add = [&](auto lines, auto live, int64_t p, int r) __attribute__((always_inline)) {
      constexpr int P = decltype(lines)::value, R1 = decltype(live)::value;
      const T* rows[P + R1 - 1];
      for (int i = 0; i < P + R1 - 1; ++i)
        rows[i] = pixels + (row_of(p) + (r + i) * apart) * width * C;
      auto run = [&](int64_t q0, int64_t q1, auto edge) __attribute__((always_inline)) {
        add_lines<T, P, R1, S, decltype(edge)::value>(grads + p * down, down, rows, q0, q1, step,
                                                      delta, first, width, C, n, sum + r);
      };
      run(0, inner, Edge<true>{});
      run(inner, outer, Edge<false>{});
      run(outer, outputs, Edge<true>{});
    };
    const bool dense = s.stride[1] == 1 && apart == 1;  // lines of dy meet the same lines of x
    for (int64_t p = p0; p < p1;) {
      const int64_t h = row_of(p), last = h + (R - 1) * apart;
      if (h >= 0 && dense && p + kGradientRows <= p1 && last + kGradientRows <= s.in[1]) {
        add(Number<kGradientRows>{}, Number<R>{}, p, 0);
        p += kGradientRows;
        continue;
      }
      if (h >= 0 && last < s.in[1]) {
        add(Number<1>{}, Number<R>{}, p, 0);
      } else {
        for (int r = 0; r < R; ++r) {
          const int64_t row = h + r * apart;
          if (row >= 0 && row < s.in[1]) add(Number<1>{}, Number<1>{}, p, r);
        }
      }
      ++p;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int k = 0; k < S; ++k) {
        T* q = into + (tap + r * s.kernel[2] + k) * C + at;
        store_n(q, load_n(q, n) + sum[r][k], n);
      }
    }
  }
}

template <class T>
using AddTaps = void (*)(const ConvShape&, const T*, const T*, int64_t, int64_t, int64_t, int64_t,
                         int64_t, T*);
template <class T>
AddTaps<T> add_taps_for(int64_t rows, int64_t taps) {
  if (taps == 3) return rows == 3 ? &add_taps<T, 3, 3> : &add_taps<T, 1, 3>;
  if (taps == 5) return rows == 2 ? &add_taps<T, 2, 5> : &add_taps<T, 1, 5>;
  return &add_taps<T, 1, 1>;
}

}  // namespace

// partial[split][tap][C]; each split goes through its bands and adds, and the splits are added in
// order.
template <class T>
void depthwise_weight_gradient(Ctx& ctx, const ConvShape& s, const T* dy, const T* x, T* dw) {
  constexpr int L = kLanes<T>;
  const DepthwiseWeightCut k = depthwise_weight_cut(s, sizeof(T));
  const int64_t C = s.C, taps = s.kernel[0] * s.kernel[1] * s.kernel[2], size = taps * C;
  T* partial = reinterpret_cast<T*>(ctx.shared);
  parallel_for(ctx, k.splits, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t split = begin; split < end; ++split) {
      T* into = partial + split * size;
      for (int64_t i = 0; i < size; i += L) store_n(into + i, zero<T>(), min64(L, size - i));
      const int64_t first = k.bands * split / k.splits, stop = k.bands * (split + 1) / k.splits;
      for (int64_t band = first; band < stop; ++band) {
        const int64_t p0 = band % k.row_tasks * k.rows, p1 = min64(s.out[1], p0 + k.rows);
        const int64_t plane = band / k.row_tasks % s.out[0], image = band / k.row_tasks / s.out[0];
        // A block of taps has its sums in registers while dy passes by once.
        for (int64_t plane_tap = 0; plane_tap < taps; plane_tap += s.kernel[1] * s.kernel[2]) {
          for (int64_t t2 = 0, wide; t2 < s.kernel[2]; t2 += wide) {
            wide = s.kernel[2] - t2 >= 5 ? 5 : s.kernel[2] - t2 >= 3 ? 3 : 1;
            const int64_t most = wide == 5 ? 2 : wide == 3 ? 3 : 1;
            for (int64_t t1 = 0, high; t1 < s.kernel[1]; t1 += high) {
              high = s.kernel[1] - t1 >= most ? most : 1;
              add_taps_for<T>(high, wide)(s, dy, x, image, plane, p0, p1,
                                          plane_tap + t1 * s.kernel[2] + t2, into);
            }
          }
        }
      }
    }
  });
  for (int64_t channel = 0; channel < C; ++channel) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      T sum = partial[tap * C + channel];
      for (int64_t split = 1; split < k.splits; ++split) {
        sum += partial[split * size + tap * C + channel];
      }
      dw[channel * taps + tap] = sum;
    }
  }
}

#define HL_INSTANTIATE(T)                                                                        \
  template int64_t depthwise_bytes<T>(const Correlation&);                                       \
  template void depthwise<T>(Ctx&, const Correlation&, const T*, const T*, const Finish<T>&, T*, \
                             T*);                                                                \
  template int64_t depthwise_weight_bytes<T>(const ConvShape&);                                  \
  template void depthwise_weight_gradient<T>(Ctx&, const ConvShape&, const T*, const T*, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
