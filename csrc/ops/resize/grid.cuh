// Places in an image as a thread works them out; the formulas are those of grid.h.
#pragma once

#include "cuda/divide.h"
#include "ops/resize/grid.h"

namespace hl::cuda {

// Axis 0 is x, along W.
template <class T, int D>
struct Place {
  T at[D];            // elements of x
  T slope[D];         // d at / d grid
  T part[D];          // at - corner
  int64_t corner[D];  // the lower one, or the nearest; -2 ... size
};

// From [-1, 1] to elements.
template <class T, int D>
__device__ void to_elements(const GridShape& s, const T* grid, Place<T, D>& p) {
#pragma unroll
  for (int a = 0; a < D; ++a) {
    const T size = T(s.in[2 - a]);
    const bool aligned = s.corners == Corners::kAligned;
    p.slope[a] = (aligned ? size - 1 : size) / 2;
    p.at[a] = (grid[a] + T(1)) * p.slope[a] + (aligned ? T(0) : T(-0.5));
  }
}

// Moves what lies outside, and keeps the slope's account of it.
template <class T, int D>
__device__ void bring_inside(const GridShape& s, Place<T, D>& p) {
  if (s.outside == OutsideMode::kZeros) return;
  const bool aligned = s.corners == Corners::kAligned;
#pragma unroll
  for (int a = 0; a < D; ++a) {
    const T last = T(s.in[2 - a] - 1);
    T v = p.at[a];
    if (s.outside == OutsideMode::kReflection) {
      const T low = aligned ? T(0) : T(-0.5), span = aligned ? last : last + 1;
      if (span == 0) {
        v = 0;
      } else {
        const T far = v - low, d = fabs(far), flips = floor(d / span), rest = d - flips * span;
        const bool odd = flips - 2 * floor(flips / 2) != 0;
        v = (odd ? span - rest : rest) + low;
        if (odd != (far < 0)) p.slope[a] = -p.slope[a];
      }
    }
    v = v == v ? v : T(0);
    if (v <= 0 || v >= last) p.slope[a] = 0;
    p.at[a] = v < 0 ? T(0) : v > last ? last : v;
  }
}

// Corners and fractions. What is far outside, or no number, gets a corner whose neighbours are all
// outside.
template <class T, int D>
__device__ void to_corners(const GridShape& s, Place<T, D>& p) {
#pragma unroll
  for (int a = 0; a < D; ++a) {
    const T end = T(s.in[2 - a]);
    const T v = !(p.at[a] >= -2) ? T(-2) : p.at[a] > end ? end : p.at[a];
    const T whole = s.mode == SampleMode::kNearest ? rint(v) : floor(v);
    p.part[a] = s.mode == SampleMode::kNearest ? T(0) : v - whole;
    p.corner[a] = int64_t(whole);
  }
}

template <class T, int D>
__device__ Place<T, D> find_place(const GridShape& s, const T* grid) {
  Place<T, D> p;
  to_elements(s, grid, p);
  bring_inside(s, p);
  to_corners(s, p);
  return p;
}

// Corner number b (bit a: the upper one along axis a): its weight, and the pixel of the image in which it
// lies; -1 outside.
template <class T, int D>
__device__ int64_t corner_at(const GridShape& s, const Place<T, D>& p, int b, T& weight) {
  int64_t pixel = 0;
  bool inside = true;
  weight = 1;
#pragma unroll
  for (int a = D - 1; a >= 0; --a) {
    const int64_t i = p.corner[a] + (b >> a & 1), size = s.in[2 - a];
    inside = inside && i >= 0 && i < size;
    pixel = pixel * size + i;
    weight *= b >> a & 1 ? p.part[a] : 1 - p.part[a];
  }
  return inside ? pixel : -1;
}

inline int64_t points_of(const GridShape& s) { return s.out[0] * s.out[1] * s.out[2]; }
inline int64_t pixels_of(const GridShape& s) { return s.in[0] * s.in[1] * s.in[2]; }

template <class T>
Plan grid_plan(const GridShape& s, const char* algorithm, int arrays) {
  const double points = double(s.N) * double(points_of(s)),
               image = double(s.N * pixels_of(s) * s.C);
  return {algorithm,
          nullptr,
          {1, 1, 1},
          0,
          0,
          s.mode == SampleMode::kNearest ? 0 : 2.0 * (1 << s.dims) * points * double(s.C),
          (arrays * image + points * double(s.C + arrays * s.dims)) * sizeof(T)};
}

}  // namespace hl::cuda
