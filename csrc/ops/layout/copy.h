// Copies between any two strided views of the same sizes:  y[i, j, ...] = x[i, j, ...]
//
// Contiguous copies, permutations, flips, slices, assignments into slices, broadcasts (stride 0 in
// x), concatenation (y a slice of the result) and filling (every stride of x 0) are all this one
// kernel. No two elements of y share memory, and x and y do not overlap. Bits are moved, never
// looked at.
#pragma once

#include "context.h"

namespace hl {

constexpr int kCopyDims = 8;

struct CopyShape {
  int ndim;
  int item;  // bytes of an element: 1, 2, 4, 8 or 16
  int64_t size[kCopyDims];
  int64_t x_stride[kCopyDims], y_stride[kCopyDims];  // bytes
};

template <class T>
using copy_strided_t = void(Ctx&, const CopyShape&, const void* x, void* y);

}  // namespace hl
