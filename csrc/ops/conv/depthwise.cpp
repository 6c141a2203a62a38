// One channel a group: nothing is summed over channels, so there is no product, only vectors of channels
// that meet their weights. Four pixels at a time share every weight that is loaded; the memory is the
// limit.
#include "ops/conv/correlate.h"
#include "ops/conv/weight.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int kPixels = 4;

template <int N>
struct Count {
  static constexpr int value = N;
};
constexpr int64_t kTaskWork = 1 << 16;  // multiply-adds worth waking a thread for

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

// Outputs [q0, q0 + P) of one line, whose taps on the last axis are all inside; t0, t1 are the ranges of
// the others. w[tap][C].
template <class T, int P>
HL_INLINE void line_pixels(const Correlation& c, const T* from, const TapRange& t0,
                           const TapRange& t1, const TapRange& t2, int64_t C, const T* w, T* to,
                           int64_t to_step) {
  constexpr int L = kLanes<T>;
  const CorrelateAxis* a = c.axis;
  const int64_t pixel = C, row = a[2].from * pixel, plane = a[1].from * row;
  const int64_t step = a[2].step * pixel;
  auto channels = [&](int64_t at, auto get, auto put) __attribute__((always_inline)) {
    Vec<T> sum[P];
#pragma GCC unroll 4
    for (int i = 0; i < P; ++i) sum[i] = zero<T>();
    for (int64_t i0 = t0.low; i0 < t0.high; ++i0) {
      for (int64_t i1 = t1.low; i1 < t1.high; ++i1) {
        const T* line = from + i0 * a[0].delta * plane + i1 * a[1].delta * row + at;
        const T* weights = w + ((i0 * a[1].taps + i1) * a[2].taps) * C + at;
        for (int64_t i2 = t2.low; i2 < t2.high; ++i2) {
          const Vec<T> wv = get(weights + i2 * C);
          const T* x = line + i2 * a[2].delta * pixel;
#pragma GCC unroll 4
          for (int i = 0; i < P; ++i) sum[i] = fma(wv, get(x + i * step), sum[i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < P; ++i) put(to + i * to_step + at, sum[i]);
  };
  int64_t at = 0;
  for (; at + L <= C; at += L) {
    channels(
        at, [](const T* p) __attribute__((always_inline)) { return load(p); },
        [](T* p, Vec<T> v) __attribute__((always_inline)) { store(p, v); });
  }
  if (const int64_t n = C - at; n > 0) {
    channels(
        at, [n](const T* p) __attribute__((always_inline)) { return load_n(p, n); },
        [n](T* p, Vec<T> v) __attribute__((always_inline)) { store_n(p, v, n); });
  }
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
        const T* source = from + ((image * a[0].from + d) * a[1].from + h) * a[2].from * C;
        auto pixels = [&](int64_t q, auto count) {
          constexpr int P = decltype(count)::value;
          const TapRange t2 = P > 1 ? TapRange{0, a[2].taps}
                                    : taps_inside(base_of(q), a[2].delta, a[2].taps, a[2].from);
          line_pixels<T, P>(c, source + base_of(q) * C, t0, t1, t2, C, weights, line + q * step,
                            step);
        };
        int64_t q = 0;
        for (; q < inner; ++q) pixels(q, Count<1>{});
        for (; q + kPixels <= outer; q += kPixels) pixels(q, Count<kPixels>{});
        for (; q < a[2].out; ++q) pixels(q, Count<1>{});
        if (finish.needed()) {
          finish.lines(line, z ? z + (line - to) : nullptr, step, a[2].out, finish.b, C);
        }
      }
    }
  });
}

namespace {

constexpr int kTapsAtOnce = 8;

struct DepthwiseWeightCut {
  int64_t rows, row_tasks, bands, splits;
};

DepthwiseWeightCut depthwise_weight_cut(const ConvShape& s, int64_t item) {
  DepthwiseWeightCut k = {};
  const int64_t size = s.C * s.kernel[0] * s.kernel[1] * s.kernel[2];
  k.rows = rows_per_task(s.out[1], s.out[2] * size);
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

// partial[split][tap][C]; each split goes through its bands and adds, and the splits are added in order.
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
        for (int64_t tap = 0; tap < taps; tap += 1) {
          const int64_t t2 = tap % s.kernel[2], t1 = tap / s.kernel[2] % s.kernel[1];
          const int64_t t0 = tap / s.kernel[2] / s.kernel[1];
          // The taps of one kernel row go together, up to eight at a time.
          if (t2 % kTapsAtOnce != 0) continue;
          const int64_t count = min64(kTapsAtOnce, s.kernel[2] - t2);
          const int64_t d = plane * s.stride[0] - s.pad[0] + t0 * s.dilation[0];
          if (d < 0 || d >= s.in[0]) continue;
          for (int64_t at = 0; at < C; at += L) {
            const int64_t n = min64(L, C - at);
            Vec<T> sum[kTapsAtOnce];
            for (int i = 0; i < kTapsAtOnce; ++i) sum[i] = zero<T>();
            for (int64_t p = p0; p < p1; ++p) {
              const int64_t h = p * s.stride[1] - s.pad[1] + t1 * s.dilation[1];
              if (h < 0 || h >= s.in[1]) continue;
              const T* line = x + ((image * s.in[0] + d) * s.in[1] + h) * s.in[2] * C + at;
              const T* grad = dy + ((image * s.out[0] + plane) * s.out[1] + p) * s.out[2] * C + at;
              for (int64_t q = 0; q < s.out[2]; ++q) {
                const Vec<T> g = load_n(grad + q * C, n);
                const int64_t at_q = q * s.stride[2] - s.pad[2] + t2 * s.dilation[2];
#pragma GCC unroll 8
                for (int i = 0; i < kTapsAtOnce; ++i) {
                  const int64_t w = at_q + i * s.dilation[2];
                  if (i < count && w >= 0 && w < s.in[2]) {
                    sum[i] = fma(g, load_n(line + w * C, n), sum[i]);
                  }
                }
              }
            }
#pragma GCC unroll 8
            for (int i = 0; i < kTapsAtOnce; ++i) {
              if (i >= count) continue;
              T* q = into + (tap + i) * C + at;
              store_n(q, load_n(q, n) + sum[i], n);
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
