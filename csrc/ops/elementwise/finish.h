// Bias and activation on finished lines of a product, while they are in the cache.
#pragma once

#include "cpu/parallel.h"
#include "ops/elementwise/rows.h"

namespace hl::cpu::HL_ISA {

// y = act(y + b), and z = y + b where its gradient needs that.
template <class T>
struct Finish {
  const T* b;  // null: none
  UnaryRow<T> act;
  double p0, p1;
  bool keep_z;

  bool needed() const { return b || act || keep_z; }

  // `rows` lines of n numbers, `step` apart; b belongs to the first of the n.
  void lines(T* y, T* z, int64_t step, int64_t rows, const T* bias, int64_t n) const {
    constexpr int L = kLanes<T>;
    T* sum = keep_z ? z : y;
    if (bias && step == n && n < L && rows >= L) return short_lines(y, sum, rows, bias, n);
    if (!bias && step == n) n *= rows, rows = 1;  // one long line
    // Two passes: a line that has just been written cannot be read back at once.
    if (bias || keep_z) {
      for (int64_t r = 0; r < rows; ++r) {
        const T* from = y + r * step;
        T* to = sum + r * step;
        for (int64_t i = 0; i < n; i += L) {
          const int64_t k = min64(L, n - i);
          Vec<T> v = load_n(from + i, k);
          if (bias) v += load_n(bias + i, k);
          store_n(to + i, v, k);
        }
      }
    }
    if (act) {
      for (int64_t r = 0; r < rows; ++r) act(sum + r * step, y + r * step, n, p0, p1);
    }
  }

 private:
  // Lines of less than a vector, one behind the other: L of them are n whole vectors, and their bias, L
  // times b, is put in a row.
  void short_lines(T* y, T* sum, int64_t rows, const T* bias, int64_t n) const {
    constexpr int64_t L = kLanes<T>;
    alignas(64) T row[L * L];
    const int64_t period = L * n, all = rows * n;
    for (int64_t i = 0; i < period; i += n) {
      for (int64_t j = 0; j < n; ++j) row[i + j] = bias[j];
    }
    for (int64_t i = 0, at = 0; i < all; i += L, at = at + L == period ? 0 : at + L) {
      const int64_t k = min64(L, all - i);
      store_n(sum + i, load_n(y + i, k) + load(row + at), k);
    }
    if (act) act(sum, y, all, p0, p1);
  }
};

template <class T>
Finish<T> finish_with(const T* b, const T* z, int activation, double p0, double p1) {
  return {b, activation < 0 ? nullptr : unary_row<T>(UnaryOp(activation)), p0, p1, z != nullptr};
}

// As the epilogue of a product y (M, columns), which may have been solved transposed.
template <class T>
struct FinishProduct {
  Finish<T> finish;
  T* y;
  T* z;
  int64_t columns;
  bool swapped;

  static void apply(const void* self, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const auto& f = *static_cast<const FinishProduct*>(self);
    const int64_t m = f.swapped ? column : row, lines = f.swapped ? columns : rows;
    const int64_t o = f.swapped ? row : column, n = f.swapped ? rows : columns;
    const int64_t at = m * f.columns + o;
    f.finish.lines(f.y + at, f.z ? f.z + at : nullptr, f.columns, lines,
                   f.finish.b ? f.finish.b + o : nullptr, n);
  }
};

}  // namespace hl::cpu::HL_ISA
