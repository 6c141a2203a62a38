// Packing: a strip of a matrix becomes a panel that the register tile reads front to back.
//
// A panel holds `width` lines (rows of A or columns of B) over kc steps of k, k-major:
// panel[k * width + i] = element(line i, k), lines that do not exist are zero. Where the matrix is
// contiguous along the lines this is a copy; where it is contiguous along k, blocks of L x L numbers
// are transposed in registers. Convolution brings its own packer (im2col is nothing more).
#pragma once

#include "cpu/parallel.h"
#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

template <class T>
HL_INLINE void pack_lines_adjacent(T* panel, int width, const T* p, int lines, int64_t ks,
                                   int64_t kc) {
  constexpr int L = kLanes<T>;
  const int full = lines / L * L, tail = lines - full;
  for (int64_t k = 0; k < kc; ++k, p += ks, panel += width) {
    // Each step reads a short piece of another page, which no hardware prefetcher foresees.
    for (int i = 0; i < lines; i += L) __builtin_prefetch(p + 12 * ks + i);
    for (int i = 0; i < full; i += L) store(panel + i, load(p + i));
    if (tail) store_n(panel + full, load_n(p + full, tail), width - full < L ? width - full : L);
    for (int i = full + (tail ? L : 0); i < width; i += L) {
      store_n(panel + i, zero<T>(), width - i < L ? width - i : L);
    }
  }
}

template <class T>
HL_INLINE void pack_k_adjacent(T* panel, int width, const T* p, int lines, int64_t rs, int64_t kc) {
  constexpr int L = kLanes<T>;
  for (int i = 0; i < width; i += L) {
    const int rows = lines - i < L ? lines - i : L;  // may be zero or less: all padding
    const int out = width - i < L ? width - i : L;
    const T* line = p + i * rs;
    for (int64_t k = 0; k < kc; k += L) {
      const int64_t n = kc - k < L ? kc - k : L;
      Vec<T> block[L];
      for (int r = 0; r < rows; ++r) __builtin_prefetch(line + r * rs + k + 4 * L);
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) {
        block[r] = r >= rows ? zero<T>()
                   : n == L  ? load(line + r * rs + k)
                             : load_n(line + r * rs + k, n);
      }
      transpose<T>(block);
      T* dst = panel + k * width + i;
      if (n == L && out == L) {
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) store(dst + r * width, block[r]);
      } else {
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) {
          if (r < n) store_n(dst + r * width, block[r], out);
        }
      }
    }
  }
}

// One operand of a product, seen as lines over k. Direct operands are read in place by the tile.
template <class T>
struct Strided {
  const T* p;
  int64_t rs, ks;  // from line to line, from k to k
  bool direct;

  // Steps of k to pack before the next panel. Where the lines are adjacent the panels of one step lie
  // side by side, and four steps at a time make runs that the hardware prefetches.
  int64_t pack_steps(int64_t kc) const { return rs == 1 ? 4 : max64(kc, 1); }

  void pack(T* panel, int width, int64_t line, int lines, int64_t k, int64_t kc) const {
    const T* from = p + line * rs + k * ks;
    if (rs == 1) {
      pack_lines_adjacent(panel, width, from, lines, ks, kc);
    } else if (ks == 1) {
      pack_k_adjacent(panel, width, from, lines, rs, kc);
    } else {
      for (int64_t j = 0; j < kc; ++j) {
        for (int i = 0; i < width; ++i)
          panel[j * width + i] = i < lines ? from[i * rs + j * ks] : T(0);
      }
    }
  }
};

}  // namespace hl::cpu::HL_ISA
