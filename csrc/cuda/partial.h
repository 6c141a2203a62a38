// Long sums over few results: parts side by side in scratch, then their sum in a fixed order.
#pragma once

#include "cuda/divide.h"
#include "cuda/loop.h"

namespace hl::cuda {

// Into how many parts `length` terms are cut so that `results` times parts threads have work; of at
// least kLeastPart terms.
constexpr int64_t kWantedThreads = 1 << 17, kLeastPart = 64;
inline int64_t parts_of(int64_t results, int64_t length) {
  const int64_t wanted = ceil_div(kWantedThreads, results < 1 ? 1 : results);
  const int64_t most = ceil_div(length, kLeastPart);
  return wanted < most ? wanted : most < 1 ? 1 : most;
}

// y[i] = sum over p of parts[p, i].
template <class T, class P>
void add_parts(const Ctx& ctx, int64_t parts, int64_t n, const P* part, T* y) {
  each(ctx, n, [=] __device__(int64_t i) {
    double sum = 0;
    for (int64_t p = 0; p < parts; ++p) sum += part[p * n + i];
    y[i] = T(sum);
  });
}

// y[j] = sum over i of x[i, j], x (rows, columns). Scratch: column_sums_bytes at `scratch`.
inline int64_t column_sums_bytes(int64_t rows, int64_t columns) {
  return parts_of(columns, rows) * columns * int64_t(sizeof(double));
}
template <class T>
void column_sums(const Ctx& ctx, int64_t rows, int64_t columns, const T* x, unsigned char* scratch,
                 T* y) {
  const int64_t parts = parts_of(columns, rows), length = ceil_div(rows, parts);
  double* part = reinterpret_cast<double*>(scratch);
  const Divider by_columns = divide_by(columns);
  each(ctx, parts * columns, [=] __device__(int64_t i) {
    int64_t p = i;
    const int64_t j = last_index(p, by_columns);
    const int64_t last = (p + 1) * length < rows ? (p + 1) * length : rows;
    double sum = 0;
    for (int64_t row = p * length; row < last; ++row) sum += x[row * columns + j];
    part[i] = sum;
  });
  add_parts(ctx, parts, columns, part, y);
}

}  // namespace hl::cuda
