// Where the samples of a bin lie along one axis, as samples.h has it, for one thread.
#pragma once

#include "cuda/gpu.h"
#include "ops/roi/roi.h"

namespace hl::cuda {

template <class T>
struct RoiAxis {
  T start, bin;
  int64_t samples;  // in a bin
  int64_t size;     // of x
};
template <class T>
struct Roi {
  int64_t image;
  bool finite;
  RoiAxis<T> y, x;
  T inverse;  // 1 / samples of a bin
};

template <class T>
__device__ bool is_finite(T v) {
  return v - v == 0;
}

template <class T>
__device__ RoiAxis<T> axis_of(const RoiShape& s, T low, T high, int64_t bins, int64_t size) {
  const T offset = s.aligned ? T(0.5) : T(0);
  const T start = low * T(s.scale) - offset, end = high * T(s.scale) - offset;
  T width = end - start;
  if (!s.aligned) width = width > 1 ? width : T(1);
  RoiAxis<T> a = {start, width / T(bins), s.sampling, size};
  if (s.sampling == 0) {
    // Beyond 2^53 samples a bin no longer holds one that differs from its neighbour.
    const double wanted = ceil(double(width / T(bins)));
    a.samples = wanted < 1 ? 0 : wanted < 9e15 ? int64_t(wanted) : int64_t(9e15);
  }
  return a;
}

template <class T>
__device__ Roi<T> roi_of(const RoiShape& s, const T* r) {
  Roi<T> roi;
  roi.image = int64_t(r[0]);
  roi.y = axis_of(s, r[2], r[4], s.PH, s.H);
  roi.x = axis_of(s, r[1], r[3], s.PW, s.W);
  roi.finite = is_finite(roi.y.start) && is_finite(roi.y.bin) && is_finite(roi.x.start) &&
               is_finite(roi.x.bin) && is_finite(r[3]) && is_finite(r[4]);
  const double count = double(roi.y.samples) * double(roi.x.samples);
  roi.inverse = T(1 / (count > 1 ? count : 1));
  return roi;
}

// Samples [first, last) of a bin that may lie between two elements; rounding is left room.
struct Samples {
  int64_t first, last;
};
template <class T>
__device__ Samples samples_between(const RoiAxis<T>& a, int64_t bin, double from, double to) {
  const double step = double(a.bin) / double(a.samples);
  if (a.samples <= 4 || step == 0) return {0, a.samples};
  const double start = double(a.start) + double(bin) * double(a.bin) + step / 2;
  double low = (from - start) / step, high = (to - start) / step;
  if (step < 0) {
    const double t = low;
    low = high, high = t;
  }
  const double far = 1e-6 * (fabs(low) + fabs(high));
  const double room = 2 + (far < 64 ? far : 64), n = double(a.samples);
  low -= room, high += room;
  low = low < n ? (low > 0 ? low : 0) : n;  // n for NaN: the image is nowhere near
  high = high > low ? (high < n ? high : n) : low;
  return {int64_t(low), int64_t(high)};
}

// A sample: x[low] (1 - part) + x[high] part.
template <class T>
struct Sample {
  int64_t low, high;
  T part;

  // The weight of one element.
  __device__ T of(int64_t i) const {
    return (i == low ? 1 - part : T(0)) + (i == high ? part : T(0));
  }
};
template <class T>
__device__ bool sample_at(const RoiAxis<T>& a, int64_t bin, int64_t i, Sample<T>& p) {
  T u = a.start + T(bin) * a.bin + (T(i) + T(0.5)) * a.bin / T(a.samples);
  if (!(u >= -1 && u <= T(a.size)) || a.size == 0) return false;
  u = u > 0 ? u : T(0);
  p.low = int64_t(u);
  if (p.low >= a.size - 1) {
    p.low = p.high = a.size - 1;
    p.part = 0;
  } else {
    p.high = p.low + 1;
    p.part = u - T(p.low);
  }
  return true;
}

}  // namespace hl::cuda
