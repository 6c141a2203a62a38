#include "cpu/raw.h"
#include "kernel.h"
#include "ops/roi/samples.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 32768;  // least multiply-adds of a thread's task
constexpr int kSamples = 32;      // of a bin that are worked out before their channels are mixed
constexpr int64_t kChannels = 64;
constexpr int64_t kBands = 8;

template <class T>
struct Corners {
  int n;
  int64_t offset[4 * kSamples];
  T weight[4 * kSamples];

  HL_INLINE void add(int64_t at, T w) {
    if (w == 0) return;  // is not read: what it holds, maybe NaN, plays no part
    offset[n] = at, weight[n++] = w;
  }
};

// y (+)= sum of weight x[offset] over C channels, V vectors at a time.
template <int V, class T>
HL_INLINE void mix_vectors(const Corners<T>& c, const T* x, bool more, T* y) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[V];
  for (int v = 0; v < V; ++v) sum[v] = more ? load(y + v * L) : zero<T>();
  for (int i = 0; i < c.n; ++i) {
    const T* from = x + c.offset[i];
    const Vec<T> w = set1(c.weight[i]);
    for (int v = 0; v < V; ++v) sum[v] = fma(w, load(from + v * L), sum[v]);
  }
  for (int v = 0; v < V; ++v) store(y + v * L, sum[v]);
}

template <class T>
void mix(const Corners<T>& c, const T* x, int64_t C, bool more, T* y) {
  constexpr int L = kLanes<T>;
  int64_t k = 0;
  for (; k + 4 * L <= C; k += 4 * L) mix_vectors<4>(c, x + k, more, y + k);
  for (; k + L <= C; k += L) mix_vectors<1>(c, x + k, more, y + k);
  if (k == C) return;
  Vec<T> sum = more ? load_n(y + k, C - k) : zero<T>();
  for (int i = 0; i < c.n; ++i) {
    sum = fma(set1(c.weight[i]), load_n(x + c.offset[i] + k, C - k), sum);
  }
  store_n(y + k, sum, C - k);
}

// f(corners, first of the bin) for all samples of a bin, some at a time.
template <class T, class F>
HL_INLINE void for_corners(const RoiShape& s, const Roi<T>& roi, int64_t ph, int64_t pw,
                           int64_t row_from, int64_t row_to, const F& f) {
  Corners<T> c;
  c.n = 0;
  bool more = false;
  const Span rows = span_of(roi.y, ph), columns = span_of(roi.x, pw);
  for (int64_t i = rows.first; i < rows.last; ++i) {
    Sample<T> v, h;
    if (!sample_at(roi.y, ph, i, v)) continue;
    const bool upper = v.low >= row_from && v.low < row_to;
    const bool lower = v.high >= row_from && v.high < row_to;
    if (!upper && !lower) continue;
    const T above = (1 - v.part) * roi.inverse, below = v.part * roi.inverse;
    for (int64_t j = columns.first; j < columns.last; ++j) {
      if (!sample_at(roi.x, pw, j, h)) continue;
      const int64_t low = h.low * s.C, high = h.high * s.C, row = s.W * s.C;
      if (upper) {
        c.add(v.low * row + low, above * (1 - h.part));
        c.add(v.low * row + high, above * h.part);
      }
      if (lower) {
        c.add(v.high * row + low, below * (1 - h.part));
        c.add(v.high * row + high, below * h.part);
      }
      if (c.n > 4 * (kSamples - 1)) {
        f(c, more);
        more = true, c.n = 0;
      }
    }
  }
  if (c.n > 0 || !more) f(c, more);
}

template <class T>
Plan align_plan(const RoiShape& s, const char* algorithm) {
  Plan p = {};
  p.algorithm = algorithm;
  const double bins = double(s.K) * double(s.PH) * double(s.PW) * double(s.C);
  p.flops = 8.0 * bins * double(s.sampling > 0 ? s.sampling * s.sampling : 4);
  p.bytes = (bins + double(s.N) * double(s.H) * double(s.W) * double(s.C)) * sizeof(T);
  return p;
}

}  // namespace

template <class T>
Plan roi_align_forward_plan(const RoiShape& s) {
  return align_plan<T>(s, "rows of bins");
}
template <class T>
void roi_align_forward(Ctx& ctx, const RoiShape& s, const T* x, const T* rois, T* y) {
  const int64_t line = s.PW * s.C * 16;
  parallel_for(
      ctx, s.K * s.PH, max64(1, kTask / max64(line, 1)), [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t k = t / s.PH, ph = t % s.PH;
          const Roi<T> roi = roi_of(s, rois + 5 * k);
          const T* image = x + roi.image * s.H * s.W * s.C;
          for (int64_t pw = 0; pw < s.PW; ++pw) {
            T* out = y + (t * s.PW + pw) * s.C;
            if (!roi.finite) {
              fill_items(out, T(__builtin_nan("")), s.C);
              continue;
            }
            for_corners(s, roi, ph, pw, 0, s.H,
                        [&](const Corners<T>& c, bool more) { mix(c, image, s.C, more, out); });
          }
        }
      });
}

template <class T>
Plan roi_align_backward_plan(const RoiShape& s) {
  return align_plan<T>(s, "bands of the image");
}
template <class T>
void roi_align_backward(Ctx& ctx, const RoiShape& s, const T* dy, const T* rois, T* dx) {
  constexpr int L = kLanes<T>;
  const int64_t height = max64(4, ceil_div(s.H, kBands)), bands = ceil_div(s.H, height);
  const int64_t blocks = ceil_div(s.C, kChannels);
  parallel_for(ctx, s.N * bands * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t image = t / (bands * blocks), first = t / blocks % bands * height;
      const int64_t last = min64(first + height, s.H);
      const int64_t c0 = t % blocks * kChannels, channels = min64(kChannels, s.C - c0);
      T* to = dx + image * s.H * s.W * s.C + c0;
      for (int64_t p = first * s.W; p < last * s.W; ++p) fill_items(to + p * s.C, T(0), channels);
      for (int64_t k = 0; k < s.K; ++k) {
        if (int64_t(rois[5 * k]) != image) continue;
        const Roi<T> roi = roi_of(s, rois + 5 * k);
        if (!roi.finite) continue;
        for (int64_t ph = 0; ph < s.PH; ++ph) {
          // A bin reads rows from one below its first sample's to one above its last's.
          const T a = roi.y.start + T(ph) * roi.y.bin, b = a + roi.y.bin;
          const T low = a < b ? a : b, high = a < b ? b : a;
          if ((high < T(first - 2) && first > 0) || (low > T(last + 2) && last < s.H)) continue;
          for (int64_t pw = 0; pw < s.PW; ++pw) {
            const T* from = dy + ((k * s.PH + ph) * s.PW + pw) * s.C + c0;
            for_corners(s, roi, ph, pw, first, last, [&](const Corners<T>& c, bool) {
              int64_t j = 0;
              for (; j + L <= channels; j += L) {
                const Vec<T> g = load(from + j);
                for (int i = 0; i < c.n; ++i) {
                  T* at = to + c.offset[i] + j;
                  store(at, fma(set1(c.weight[i]), g, load(at)));
                }
              }
              if (j == channels) return;
              const int64_t rest = channels - j;
              const Vec<T> g = load_n(from + j, rest);
              for (int i = 0; i < c.n; ++i) {
                T* at = to + c.offset[i] + j;
                store_n(at, fma(set1(c.weight[i]), g, load_n(at, rest)), rest);
              }
            });
          }
        }
      }
    }
  });
}

HL_DEFINE_KERNEL(roi_align_forward);
HL_DEFINE_KERNEL(roi_align_backward);

}  // namespace hl::cpu::HL_ISA
