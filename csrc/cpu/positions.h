// Positions of an array's axes, one after the other.
#pragma once

#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

constexpr int kWalkDims = 8;

// Walks the positions of some axes, the last one fastest, with two offsets.
struct Positions {
  int dims;
  const int64_t *size, *a_stride, *b_stride;
  int64_t at[kWalkDims];
  int64_t a, b;

  HL_INLINE void seek(int64_t position) {
    a = b = 0;
    for (int i = dims - 1; i >= 0; --i) {
      at[i] = dims == 1 ? position : position % size[i];
      if (i) position /= size[i];
      a += at[i] * a_stride[i], b += at[i] * b_stride[i];
    }
  }
  HL_INLINE void next() {
    for (int i = dims - 1; i >= 0; --i) {
      a += a_stride[i], b += b_stride[i];
      if (++at[i] < size[i] || i == 0) return;
      a -= size[i] * a_stride[i], b -= size[i] * b_stride[i];
      at[i] = 0;
    }
  }
};

}  // namespace hl::cpu::HL_ISA
