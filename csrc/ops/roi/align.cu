#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/roi/samples.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan align_plan(const RoiShape& s, const char* algorithm, int64_t scratch) {
  const double bins = double(s.K) * double(s.PH) * double(s.PW) * double(s.C);
  const double image = double(s.N) * double(s.H) * double(s.W) * double(s.C);
  return {algorithm,
          nullptr,
          {1, 1, 1},
          scratch,
          0,
          8.0 * bins * double(s.sampling > 0 ? s.sampling * s.sampling : 4),
          (bins + image) * sizeof(T)};
}

template <class T>
Plan roi_align_forward_plan(const RoiShape& s) {
  return align_plan<T>(s, "a thread per element", 0);
}
template <class T>
void roi_align_forward(Ctx& ctx, const RoiShape& s, const T* x, const T* rois, T* y) {
  const Block3 bins = block_of(s.PH, s.PW, s.C);
  each(ctx, s.K * s.PH * s.PW * s.C, [=] __device__(int64_t i) {
    int64_t at[3];
    const int64_t k = place_in(bins, i, at), c = at[2];
    const Roi<T> roi = roi_of(s, rois + 5 * k);
    const T* image = x + roi.image * s.H * s.W * s.C + c;
    const Samples rows = samples_between(roi.y, at[0], -1, double(s.H));
    const Samples columns = samples_between(roi.x, at[1], -1, double(s.W));
    double sum = 0;
    for (int64_t r = rows.first; roi.finite && r < rows.last; ++r) {
      Sample<T> v, h;
      if (!sample_at(roi.y, at[0], r, v)) continue;
      const T *above = image + v.low * s.W * s.C, *below = image + v.high * s.W * s.C;
      const T w_above = 1 - v.part, w_below = v.part;
      T part = 0;
      for (int64_t j = columns.first; j < columns.last; ++j) {
        if (!sample_at(roi.x, at[1], j, h)) continue;
        const int64_t low = h.low * s.C, high = h.high * s.C;
        // A corner without weight is not read: what it holds, maybe NaN, plays no part.
        const auto add = [&](const T* row, int64_t place, T weight) {
          if (weight != 0) part += weight * row[place];
        };
        add(above, low, w_above * (1 - h.part));
        add(above, high, w_above * h.part);
        add(below, low, w_below * (1 - h.part));
        add(below, high, w_below * h.part);
      }
      sum += part;
    }
    y[i] = roi.finite ? T(sum * roi.inverse) : T(NAN);
  });
}

// The rois as backward reads them lie in scratch.
template <class T>
Plan roi_align_backward_plan(const RoiShape& s) {
  return align_plan<T>(s, "a thread per element, gathered", s.K * int64_t(sizeof(Roi<T>)));
}

// Whether a bin may hold a sample that reads element i: from below it to above.
template <class T>
__device__ bool near(const RoiAxis<T>& a, int64_t bin, int64_t i) {
  const T from = a.start + T(bin) * a.bin, to = from + a.bin;
  const T low = from < to ? from : to, high = from < to ? to : from;
  return (i == 0 || high >= T(i - 2)) && (i == a.size - 1 || low <= T(i + 2));
}
template <class T>
__device__ Samples samples_at(const RoiAxis<T>& a, int64_t bin, int64_t i) {
  return samples_between(a, bin, double(i - 1), double(i + 1));
}

// What of dy reaches element (row, column) from one bin.
template <class T>
__device__ T weight_of(const Roi<T>& roi, int64_t ph, int64_t pw, int64_t row, int64_t column) {
  T down = 0, across = 0;
  const Samples rows = samples_at(roi.y, ph, row), columns = samples_at(roi.x, pw, column);
  Sample<T> p;
  for (int64_t i = rows.first; i < rows.last; ++i) {
    if (sample_at(roi.y, ph, i, p)) down += p.of(row);
  }
  if (down == 0) return 0;
  for (int64_t j = columns.first; j < columns.last; ++j) {
    if (sample_at(roi.x, pw, j, p)) across += p.of(column);
  }
  return down * across * roi.inverse;
}

template <class T>
void roi_align_backward(Ctx& ctx, const RoiShape& s, const T* dy, const T* rois, T* dx) {
  Roi<T>* known = reinterpret_cast<Roi<T>*>(ctx.shared);
  each(ctx, s.K, [=] __device__(int64_t k) { known[k] = roi_of(s, rois + 5 * k); });
  const Block3 image = block_of(s.H, s.W, s.C);
  each(ctx, s.N * s.H * s.W * s.C, [=] __device__(int64_t i) {
    int64_t at[3];
    const int64_t n = place_in(image, i, at), c = at[2];
    double sum = 0;
    for (int64_t k = 0; k < s.K; ++k) {
      if (known[k].image != n || !known[k].finite) continue;
      const Roi<T> roi = known[k];
      for (int64_t ph = 0; ph < s.PH; ++ph) {
        if (!near(roi.y, ph, at[0])) continue;
        for (int64_t pw = 0; pw < s.PW; ++pw) {
          if (!near(roi.x, pw, at[1])) continue;
          const T weight = weight_of(roi, ph, pw, at[0], at[1]);
          if (weight != 0) sum += double(weight) * dy[((k * s.PH + ph) * s.PW + pw) * s.C + c];
        }
      }
    }
    dx[i] = T(sum);
  });
}

HL_CUDA_KERNEL(roi_align_forward);
HL_CUDA_KERNEL(roi_align_backward);

}  // namespace
}  // namespace hl::cuda
