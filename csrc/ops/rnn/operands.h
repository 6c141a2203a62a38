// Operands of products over all steps: rows of x, h and dx where the caller keeps them, in the order
// of Order.
#pragma once

#include "cpu/gemm.h"

namespace hl::cpu::HL_ISA {

// Lines anywhere, each contiguous along k.
template <class T>
struct PickedLines {
  const T* const* at;

  int64_t pack_steps(int64_t kc) const { return max64(kc, 1); }

  void pack(T* panel, int width, int64_t line, int lines, int64_t k, int64_t kc) const {
    constexpr int L = kLanes<T>;
    for (int i = 0; i < width; i += L) {
      const int rows = lines - i < L ? lines - i : L;
      const int out = width - i < L ? width - i : L;
      const T* const* from = at + line + i;
      for (int64_t j = 0; j < kc; j += L) {
        const int64_t n = min64(L, kc - j);
        Vec<T> block[L];
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) {
          block[r] = r >= rows ? zero<T>()
                     : n == L  ? load(from[r] + k + j)
                               : load_n(from[r] + k + j, n);
        }
        transpose<T>(block);
        T* to = panel + j * width + i;
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) {
          if (r < n) store_n(to + r * width, block[r], out);
        }
      }
    }
  }
};

// Steps of k anywhere, the lines of each adjacent.
template <class T>
struct PickedSteps {
  const T* const* at;

  int64_t pack_steps(int64_t kc) const { return min64(max64(kc, 1), 4); }

  void pack(T* panel, int width, int64_t line, int lines, int64_t k, int64_t kc) const {
    constexpr int L = kLanes<T>;
    for (int64_t j = 0; j < kc; ++j) {
      const T* from = at[k + j] + line;
      T* to = panel + j * width;
      for (int i = 0; i < width; i += L) {
        const int n = lines - i, out = width - i < L ? width - i : L;
        const Vec<T> v = n >= L ? load(from + i) : n > 0 ? load_n(from + i, n) : zero<T>();
        if (out == L) {
          store(to + i, v);
        } else {
          store_n(to + i, v, out);
        }
      }
    }
  }
};

template <class T>
GemmCut picked_cut(int64_t M, int64_t N, int64_t K, bool b_along_k, bool a_direct = false) {
  if (is_narrow<T>(M, N, K)) return narrow_cut<T>(M, N, K, a_direct, b_along_k);
  return gemm_cut<T>(M, N, K, a_direct, false);
}

// da is read in place where few columns of dx would use each number of a copy.
template <class T>
constexpr bool reads_in_place(int64_t columns) {
  return columns <= 8 * kTileColumns<T>;
}

}  // namespace hl::cpu::HL_ISA
