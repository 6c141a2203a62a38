// Places in an image, a batch of points at a time: from grid coordinates to corners and fractions.
#pragma once

#include "cpu/exp_run.h"
#include "cpu/simd/gather.h"
#include "ops/resize/grid.h"

namespace hl::cpu::HL_ISA {

constexpr int kPoints = 64;  // places that are worked out together

// Axis 0 is x, along W.
template <class T, int D>
struct Places {
  alignas(64) T at[D][kPoints];            // in: the grid's number, or already elements of x
  alignas(64) T slope[D][kPoints];         // d at / d grid, for gradients
  alignas(64) T part[D][kPoints];          // at - corner
  alignas(64) Lane<T> corner[D][kPoints];  // the lower one, or the nearest; -2 ... size
};

template <class V>
HL_INLINE V floor(V v) {
  const V r = rint(v);
  return r - select(r > v, set1(Elem<V>(1)), V{});
}

// The grid's numbers of up to kPoints points, n points from `grid` on.
template <class T, int D>
HL_INLINE void read_grid(const T* grid, int n, Places<T, D>& p) {
  for (int k = 0; k < n; ++k) {
    for (int a = 0; a < D; ++a) p.at[a][k] = grid[k * D + a];
  }
  for (int a = 0; a < D; ++a) {
    for (int k = n; k < kPoints; ++k) p.at[a][k] = T(0);
  }
}

// From [-1, 1] to elements.
template <class T, int D>
HL_INLINE void to_elements(const GridShape& s, int n, Places<T, D>& p) {
  for (int a = 0; a < D; ++a) {
    const T size = T(s.in[2 - a]);
    const bool aligned = s.corners == Corners::kAligned;
    const T half = (aligned ? size - 1 : size) / 2, shift = aligned ? T(0) : T(-0.5);
    for (int k = 0; k < n; k += kLanes<T>) {
      store(p.at[a] + k, (load(p.at[a] + k) + T(1)) * half + shift);
      store(p.slope[a] + k, set1(half));
    }
  }
}

// Moves what lies outside, and keeps the slope's account of it.
template <class T, int D>
HL_INLINE void bring_inside(const GridShape& s, int n, Places<T, D>& p) {
  using V = Vec<T>;
  if (s.outside == OutsideMode::kZeros) return;
  for (int a = 0; a < D; ++a) {
    const T size = T(s.in[2 - a]);
    const bool aligned = s.corners == Corners::kAligned;
    const V low = set1(aligned ? T(0) : T(-0.5)), span = set1(aligned ? size - 1 : size);
    const V last = set1(size - 1), none = V{};
    for (int k = 0; k < n; k += kLanes<T>) {
      V v = load(p.at[a] + k), slope = load(p.slope[a] + k);
      if (s.outside == OutsideMode::kReflection) {
        if (span[0] == 0) {
          v = none;
        } else {
          const V far = v - low, d = abs(far);
          const V flips = floor(d / span), rest = d - flips * span;
          const auto odd = flips - T(2) * floor(flips * T(0.5)) != none;
          v = select(odd, span - rest, rest) + low;
          slope = select(odd, -slope, slope);
          slope = select(far < none, -slope, slope);
        }
      }
      v = select(v == v, v, none);
      const auto held = (v <= none) | (v >= last);
      store(p.slope[a] + k, select(held, none, slope));
      store(p.at[a] + k, clamp(v, none, last));
    }
  }
}

// Corners and fractions. What is far outside, or no number, gets a corner whose neighbours are all
// outside.
template <class T, int D>
HL_INLINE void to_corners(const GridShape& s, int n, Places<T, D>& p) {
  using V = Vec<T>;
  for (int a = 0; a < D; ++a) {
    const V far = set1(T(-2)), end = set1(T(s.in[2 - a]));
    for (int k = 0; k < n; k += kLanes<T>) {
      V v = load(p.at[a] + k);
      v = clamp(select(v == v, v, far), far, end);
      const V whole = s.mode == SampleMode::kNearest ? rint(v) : floor(v);
      store(p.part[a] + k, s.mode == SampleMode::kNearest ? V{} : v - whole);
      store<Lane<T>>(p.corner[a] + k, to_int(whole));
    }
  }
}

// All of this, for the points of a grid.
template <class T, int D>
HL_INLINE void find_places(const GridShape& s, const T* grid, int n, Places<T, D>& p) {
  read_grid(grid, n, p);
  to_elements(s, n, p);
  bring_inside(s, n, p);
  to_corners(s, n, p);
}

}  // namespace hl::cpu::HL_ISA
