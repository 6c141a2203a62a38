// Arrays made from a pattern.
//
//   one_hot    y[n, c] = 1 where c = index[n], else 0      index (N) and y (N, C) int64
//   triangle   lower: y[b, i, j] = x[b, i, j] where j <= i + k, else 0      upper: where j >= i + k
//              x and y (B, M, N), contiguous
#pragma once

#include "context.h"

namespace hl {

struct OneHotShape {
  int64_t N, C;
};

enum class Triangle { kLower, kUpper };

struct TriangleShape {
  Triangle part;
  int64_t B, M, N, k;
  int item;  // bytes of an element
};

template <class T>
using one_hot_t = void(Ctx&, const OneHotShape&, const int64_t* index, int64_t* y);
template <class T>
using triangle_t = void(Ctx&, const TriangleShape&, const void* x, void* y);

}  // namespace hl
