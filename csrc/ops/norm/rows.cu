#include "cuda/kernel.h"
#include "cuda/sums.h"
#include "ops/norm/norm.h"

namespace hl::cuda {
namespace {

template <class T>
Plan row_plan(const RowNormShape& s, int arrays, int64_t scratch) {
  const double n = double(s.rows) * double(s.n);
  return {"a block per row", nullptr, {1, kThreads, 1}, scratch, 0, 6 * n, arrays * n * sizeof(T)};
}
template <class T>
Plan row_norm_forward_plan(const RowNormShape& s) {
  return row_plan<T>(s, 2, 0);
}
template <class T>
Plan row_norm_backward_plan(const RowNormShape& s) {
  return row_plan<T>(s, 3, s.n * int64_t(sizeof(Two)) + sum_bytes(s.n, s.rows, true));
}

template <class T>
void row_norm_forward(Ctx& ctx, const RowNormShape& s, const T* x, const T* w, const T* b, T* y,
                      T* mean, T* rstd) {
  each_row(ctx, s.rows, [=] __device__(int64_t row, void* room) {
    double* sums = static_cast<double*>(room);
    const T* from = x + row * s.n;
    double centre = 0, squares = 0;
    if (s.kind == RowNormKind::kLayer) {
      for (int64_t i = threadIdx.x; i < s.n; i += kThreads) centre += double(from[i]);
      centre = block_reduce(centre, sums, Plus()) / double(s.n);
    }
    for (int64_t i = threadIdx.x; i < s.n; i += kThreads) {
      const double d = double(from[i]) - centre;
      squares += d * d;
    }
    squares = block_reduce(squares, sums, Plus());
    const double scale = 1 / sqrt(squares / double(s.n) + s.eps);
    const T m = T(centre), r = T(scale), low = T((double(m) - centre) * scale);
    for (int64_t i = threadIdx.x; i < s.n; i += kThreads) {
      const T xhat = (from[i] - m) * r + low;
      y[row * s.n + i] = (w ? xhat * w[i] : xhat) + (b ? b[i] : T(0));
    }
    if (threadIdx.x == 0) {
      if (mean) mean[row] = m;
      if (rstd) rstd[row] = r;
    }
  });
}

template <class T>
void row_norm_backward(Ctx& ctx, const RowNormShape& s, const T* dy, const T* x, const T* w,
                       const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  each_row(ctx, dx ? s.rows : 0, [=] __device__(int64_t row, void* room) {
    double* sums = static_cast<double*>(room);
    const T *slope = dy + row * s.n, *from = x + row * s.n;
    const bool layer = s.kind == RowNormKind::kLayer;
    const T m = layer ? mean[row] : T(0);
    double sum = 0, product = 0;
    for (int64_t i = threadIdx.x; i < s.n; i += kThreads) {
      const double g = w ? double(slope[i]) * double(w[i]) : double(slope[i]);
      sum += g, product += g * double(from[i] - m);
    }
    sum = block_reduce(sum, sums, Plus()), product = block_reduce(product, sums, Plus());
    const double r = double(rstd[row]), share = 1 / double(s.n);
    const T a = T(r), b = T(-r * r * r * product * share), c = T(layer ? -r * sum * share : 0);
    for (int64_t i = threadIdx.x; i < s.n; i += kThreads) {
      const T g = w ? slope[i] * w[i] : slope[i];
      dx[row * s.n + i] = g * a + ((from[i] - m) * b + c);
    }
  });
  if (!dw && !db) return;
  Two* sums = reinterpret_cast<Two*>(ctx.shared);
  sum_columns(ctx, 1, s.rows, s.n, reinterpret_cast<unsigned char*>(sums + s.n), sums,
              [=] __device__(int64_t, int64_t r, int64_t c) {
                const T m = s.kind == RowNormKind::kLayer ? mean[r] : T(0);
                const double g = double(dy[r * s.n + c]);
                return Two{g, g * double(x[r * s.n + c] - m) * double(rstd[r])};
              });
  each(ctx, s.n, [=] __device__(int64_t i) {
    if (db) db[i] = T(sums[i].a);
    if (dw) dw[i] = T(sums[i].b);
  });
}

HL_CUDA_KERNEL(row_norm_forward);
HL_CUDA_KERNEL(row_norm_backward);

}  // namespace
}  // namespace hl::cuda
