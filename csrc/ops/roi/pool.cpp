#include "cpu/raw.h"
#include "kernel.h"
#include "ops/roi/samples.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 16384;
constexpr int64_t kChannels = 16;  // of a backward task

struct Window {
  int64_t from, to;
};

// Elements of one bin along an axis, in whole numbers. No image reaches as far as 2^40.
template <class T>
HL_INLINE Window window_of(const RoiShape& s, T low, T high, int64_t bin, int64_t bins,
                           int64_t size) {
  const auto element = [&](T v) {
    constexpr double kFar = double(int64_t(1) << 40);
    const double e = __builtin_round(double(v * T(s.scale)));
    return int64_t(e > kFar ? kFar : e < -kFar ? -kFar : e);
  };
  const int64_t start = element(low), width = max64(element(high) - start + 1, 1);
  const int64_t from = bin * width / bins + start, to = ceil_div((bin + 1) * width, bins) + start;
  return {min64(max64(from, 0), size), min64(max64(to, 0), size)};
}

template <class T>
HL_INLINE bool whole(const T* r) {
  return is_finite(r[1]) && is_finite(r[2]) && is_finite(r[3]) && is_finite(r[4]);
}

}  // namespace

template <class T>
Plan roi_pool_forward_plan(const RoiShape& s) {
  Plan p = {};
  p.algorithm = "bins";
  const double bins = double(s.K) * double(s.PH) * double(s.PW) * double(s.C);
  p.bytes = (bins + double(s.N) * double(s.H) * double(s.W) * double(s.C)) * sizeof(T);
  return p;
}
template <class T>
void roi_pool_forward(Ctx& ctx, const RoiShape& s, const T* x, const T* rois, T* y, int64_t* at) {
  const int64_t line = s.PW * s.C * 8;
  parallel_for(
      ctx, s.K * s.PH, max64(1, kTask / max64(line, 1)), [&](int64_t begin, int64_t end, int) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t k = t / s.PH, ph = t % s.PH;
          const T* r = rois + 5 * k;
          const bool finite = whole(r);
          const T* image = x + int64_t(r[0]) * s.H * s.W * s.C;
          const Window h = finite ? window_of(s, r[2], r[4], ph, s.PH, s.H) : Window{0, 0};
          for (int64_t pw = 0; pw < s.PW; ++pw) {
            T* out = y + (t * s.PW + pw) * s.C;
            int64_t* where = at ? at + (t * s.PW + pw) * s.C : nullptr;
            const Window w = finite ? window_of(s, r[1], r[3], pw, s.PW, s.W) : Window{0, 0};
            const bool none = h.from >= h.to || w.from >= w.to;
            const T empty = finite ? T(0) : T(__builtin_nan(""));
            for (int64_t c = 0; c < s.C; ++c) {
              out[c] = none ? empty : image[(h.from * s.W + w.from) * s.C + c];
              if (where) where[c] = none ? -1 : h.from * s.W + w.from;
            }
            for (int64_t i = h.from; i < h.to && !none; ++i) {
              for (int64_t j = w.from; j < w.to; ++j) {
                const T* v = image + (i * s.W + j) * s.C;
                for (int64_t c = 0; c < s.C; ++c) {
                  const bool better = v[c] > out[c] || v[c] != v[c];
                  out[c] = better ? v[c] : out[c];
                  if (where) where[c] = better ? i * s.W + j : where[c];
                }
              }
            }
          }
        }
      });
}

template <class T>
Plan roi_pool_backward_plan(const RoiShape& s) {
  Plan p = {};
  p.algorithm = "blocks of channels";
  const double bins = double(s.K) * double(s.PH) * double(s.PW) * double(s.C);
  p.flops = bins;
  p.bytes = bins * (sizeof(T) + 8) + double(s.N * s.H * s.W * s.C) * sizeof(T);
  return p;
}
template <class T>
void roi_pool_backward(Ctx& ctx, const RoiShape& s, const T* dy, const T* rois, const int64_t* at,
                       T* dx) {
  const int64_t blocks = ceil_div(s.C, kChannels), bins = s.PH * s.PW;
  parallel_for(ctx, s.N * blocks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t image = t / blocks, c0 = t % blocks * kChannels;
      const int64_t channels = min64(kChannels, s.C - c0);
      T* to = dx + image * s.H * s.W * s.C + c0;
      for (int64_t p = 0; p < s.H * s.W; ++p) fill_items(to + p * s.C, T(0), channels);
      for (int64_t k = 0; k < s.K; ++k) {
        if (int64_t(rois[5 * k]) != image) continue;
        for (int64_t b = 0; b < bins; ++b) {
          const int64_t from = (k * bins + b) * s.C + c0;
          for (int64_t c = 0; c < channels; ++c) {
            if (at[from + c] >= 0) to[at[from + c] * s.C + c] += dy[from + c];
          }
        }
      }
    }
  });
}

HL_DEFINE_KERNEL(roi_pool_forward);
HL_DEFINE_KERNEL(roi_pool_backward);

}  // namespace hl::cpu::HL_ISA
