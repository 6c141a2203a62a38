#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/roi/samples.cuh"

namespace hl::cuda {
namespace {

struct Window {
  int64_t from, to;
};

// Elements of one bin along an axis, in whole numbers. No image reaches as far as 2^40.
template <class T>
__device__ Window window_of(const RoiShape& s, T low, T high, int64_t bin, int64_t bins,
                            int64_t size) {
  const auto element = [&](T v) {
    constexpr double kFar = double(int64_t(1) << 40);
    const double e = round(double(v * T(s.scale)));
    return int64_t(e > kFar ? kFar : e < -kFar ? -kFar : e);
  };
  const auto inside = [&](int64_t i) { return i < 0 ? 0 : i > size ? size : i; };
  const int64_t start = element(low), end = element(high);
  const int64_t width = end < start ? 1 : end - start + 1;
  return {inside(bin * width / bins + start), inside(ceil_div((bin + 1) * width, bins) + start)};
}

template <class T>
Plan roi_pool_forward_plan(const RoiShape& s) {
  const double bins = double(s.K) * double(s.PH) * double(s.PW) * double(s.C);
  const double image = double(s.N) * double(s.H) * double(s.W) * double(s.C);
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 0, (bins + image) * sizeof(T)};
}
template <class T>
void roi_pool_forward(Ctx& ctx, const RoiShape& s, const T* x, const T* rois, T* y, int64_t* at) {
  const Block3 bins = block_of(s.PH, s.PW, s.C);
  each(ctx, s.K * s.PH * s.PW * s.C, [=] __device__(int64_t i) {
    int64_t bin[3];
    const T* r = rois + 5 * place_in(bins, i, bin);
    const bool finite = is_finite(r[1]) && is_finite(r[2]) && is_finite(r[3]) && is_finite(r[4]);
    Window h = {0, 0}, w = {0, 0};
    if (finite) {
      h = window_of(s, r[2], r[4], bin[0], s.PH, s.H);
      w = window_of(s, r[1], r[3], bin[1], s.PW, s.W);
    }
    const T* image = x + int64_t(r[0]) * s.H * s.W * s.C + bin[2];
    T best = finite ? T(0) : T(NAN);
    int64_t where = -1;
    for (int64_t row = h.from; row < h.to; ++row) {
      for (int64_t column = w.from; column < w.to; ++column) {
        const T v = image[(row * s.W + column) * s.C];
        if (where < 0 || v > best || v != v) best = v, where = row * s.W + column;
      }
    }
    y[i] = best;
    if (at) at[i] = where;
  });
}

// Which elements the channels of a bin have won: a box around them in scratch, so that an element looks
// at few bins.
struct Won {
  int32_t row, last_row, column, last_column;
};

template <class T>
Plan roi_pool_backward_plan(const RoiShape& s) {
  const double bins = double(s.K) * double(s.PH) * double(s.PW) * double(s.C);
  const double image = double(s.N) * double(s.H) * double(s.W) * double(s.C);
  return {"a thread per element, gathered",          nullptr, {1, 1, 1},
          s.K * s.PH * s.PW * int64_t(sizeof(Won)),  0,       bins,
          bins * (sizeof(T) + 8) + image * sizeof(T)};
}

template <class T>
void roi_pool_backward(Ctx& ctx, const RoiShape& s, const T* dy, const T* rois, const int64_t* at,
                       T* dx) {
  Won* won = reinterpret_cast<Won*>(ctx.shared);
  const Divider by_width = divide_by(s.W);
  const int64_t bins = s.PH * s.PW;
  each_row(ctx, s.K * bins, [=] __device__(int64_t bin, void* memory) {
    constexpr int kFar = 0x7fffffff;
    int* room = static_cast<int*>(memory);
    int low[2] = {-kFar, -kFar},
        high[2] = {-1, -1};  // of rows and columns; low with its sign changed
    for (int64_t c = threadIdx.x; c < s.C; c += kThreads) {
      int64_t row = at[bin * s.C + c];
      if (row < 0) continue;
      const int column = int(last_index(row, by_width));
      low[0] = Larger()(low[0], -int(row)), high[0] = Larger()(high[0], int(row));
      low[1] = Larger()(low[1], -column), high[1] = Larger()(high[1], column);
    }
    for (int a = 0; a < 2; ++a) {
      low[a] = block_reduce(low[a], room, Larger());
      high[a] = block_reduce(high[a], room, Larger());
    }
    if (threadIdx.x == 0) won[bin] = {-low[0], high[0], -low[1], high[1]};
  });
  const Block3 image = block_of(s.H, s.W, s.C);
  each(ctx, s.N * s.H * s.W * s.C, [=] __device__(int64_t i) {
    int64_t p[3];
    const int64_t n = place_in(image, i, p), place = p[0] * s.W + p[1];
    T sum = 0;
    for (int64_t k = 0; k < s.K; ++k) {
      if (int64_t(rois[5 * k]) != n) continue;
      for (int64_t bin = k * bins; bin < (k + 1) * bins; ++bin) {
        const Won w = won[bin];
        if (p[0] < w.row || p[0] > w.last_row || p[1] < w.column || p[1] > w.last_column) continue;
        if (at[bin * s.C + p[2]] == place) sum += dy[bin * s.C + p[2]];
      }
    }
    dx[i] = sum;
  });
}

HL_CUDA_KERNEL(roi_pool_forward);
HL_CUDA_KERNEL(roi_pool_backward);

}  // namespace
}  // namespace hl::cuda
