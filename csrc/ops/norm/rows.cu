#include "cuda/kernel.h"
#include "cuda/row_groups.h"
#include "cuda/sums.h"
#include "ops/norm/norm.h"

namespace hl::cuda {
namespace {

template <class T>
Plan row_plan(const RowNormShape& s, int arrays, int64_t scratch) {
  const double n = double(s.rows) * double(s.n);
  return {"a row in registers", nullptr, {1, 1, 1}, scratch, 0, 6 * n, arrays * n * sizeof(T)};
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
  each_grouped_row<T>(ctx, s.rows, s.n, [=] __device__(const auto& g, int64_t i) {
    const auto row = g.row(x + i * s.n);
    const auto weight = g.source(w, 1, T(1)), bias = g.source(b);
    const double share = 1 / double(s.n);
    const bool layer = s.kind == RowNormKind::kLayer;
    const double centre = layer ? g.sum([](int64_t, T v) { return double(v); }, row) * share : 0.0;
    const double squares = g.sum(
        [&](int64_t, T v) {
          const double d = double(v) - centre;
          return d * d;
        },
        row);
    const double scale = 1 / sqrt(squares * share + s.eps);
    const T m = T(centre), r = T(scale), low = T((double(m) - centre) * scale);
    g.write(
        y + i * s.n, 1,
        [&](int64_t, T v, T a, T c) {
          const T xhat = (v - m) * r + low;
          return xhat * a + c;
        },
        row, weight, bias);
    if (g.first()) {
      if (mean) mean[i] = m;
      if (rstd) rstd[i] = r;
    }
  });
}

template <class T>
void row_norm_backward(Ctx& ctx, const RowNormShape& s, const T* dy, const T* x, const T* w,
                       const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  each_grouped_row<T>(ctx, dx ? s.rows : 0, s.n, [=] __device__(const auto& g, int64_t i) {
    const auto slope = g.row(dy + i * s.n), row = g.row(x + i * s.n);
    const auto weight = g.source(w, 1, T(1));
    const bool layer = s.kind == RowNormKind::kLayer;
    const T m = layer ? mean[i] : T(0);
    double sum = 0, product = 0;
    g.each(
        [&](int64_t, T d, T v, T a) {
          const double gradient = double(d) * double(a);
          sum += gradient, product += gradient * double(v - m);
        },
        slope, row, weight);
    sum = g.reduce(sum, Plus()), product = g.reduce(product, Plus());
    const double r = double(rstd[i]), share = 1 / double(s.n);
    const T a = T(r), b = T(-r * r * r * product * share), c = T(layer ? -r * sum * share : 0);
    g.write(
        dx + i * s.n, 1, [&](int64_t, T d, T v, T k) { return d * k * a + ((v - m) * b + c); },
        slope, row, weight);
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
