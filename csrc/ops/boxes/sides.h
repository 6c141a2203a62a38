// Boxes side by side: x1 of all, y1 of all, ..., so that a vector holds many boxes.
#pragma once

#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

// A box against which a vector of others is held.
template <class T>
struct OneBox {
  Vec<T> x1, y1, x2, y2, area;
  explicit HL_INLINE OneBox(const T* b)
      : x1(set1(b[0])),
        y1(set1(b[1])),
        x2(set1(b[2])),
        y2(set1(b[3])),
        area(set1((b[2] - b[0]) * (b[3] - b[1]))) {}
};

template <class T>
struct Sides {
  T *x1, *y1, *x2, *y2, *area;

  static HL_INLINE int64_t stride(int64_t n) { return round_up(n, 64); }
  static HL_INLINE int64_t bytes(int64_t n) { return 5 * stride(n) * int64_t(sizeof(T)); }
  static HL_INLINE Sides in(void* memory, int64_t n) {
    T* p = static_cast<T*>(memory);
    const int64_t step = stride(n);
    return {p, p + step, p + 2 * step, p + 3 * step, p + 4 * step};
  }

  HL_INLINE void put(int64_t j, const T* b) const {
    x1[j] = b[0], y1[j] = b[1], x2[j] = b[2], y2[j] = b[3];
    area[j] = (b[2] - b[0]) * (b[3] - b[1]);
  }
  HL_INLINE Vec<T> some(const T* p, int64_t lanes) const {
    return lanes == kLanes<T> ? load(p) : load_n(p, lanes);
  }
  // I and U of boxes j, j + 1, ... and `one`.
  HL_INLINE void overlap(int64_t j, int64_t lanes, const OneBox<T>& one, Vec<T>& both,
                         Vec<T>& whole) const {
    const Vec<T> w = min(some(x2 + j, lanes), one.x2) - max(some(x1 + j, lanes), one.x1);
    const Vec<T> h = min(some(y2 + j, lanes), one.y2) - max(some(y1 + j, lanes), one.y1);
    both = max(w, zero<T>()) * max(h, zero<T>());
    whole = (one.area + some(area + j, lanes)) - both;
  }
  // Width and height of the smallest box around both.
  HL_INLINE void around(int64_t j, int64_t lanes, const OneBox<T>& one, Vec<T>& w,
                        Vec<T>& h) const {
    w = max(some(x2 + j, lanes), one.x2) - min(some(x1 + j, lanes), one.x1);
    h = max(some(y2 + j, lanes), one.y2) - min(some(y1 + j, lanes), one.y1);
  }
  // The square of the distance of the middles.
  HL_INLINE Vec<T> apart(int64_t j, int64_t lanes, const OneBox<T>& one) const {
    const Vec<T> half = set1(T(0.5));
    const Vec<T> x = (some(x1 + j, lanes) + some(x2 + j, lanes)) * half - (one.x1 + one.x2) * half;
    const Vec<T> y = (some(y1 + j, lanes) + some(y2 + j, lanes)) * half - (one.y1 + one.y2) * half;
    return x * x + y * y;
  }
};

}  // namespace hl::cpu::HL_ISA
