#include "kernel.h"
#include "ops/loss/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T>
Plan pair_plan(const RowLossShape& s, int arrays) {
  return row_loss_plan("rows", s.N, s.M, arrays * double(s.N) * double(s.M) * sizeof(T));
}

// What row i's gradient is multiplied by.
template <class T>
HL_INLINE double row_gradient(const RowLossShape& s, const T* dy, int64_t i) {
  if (s.reduction == Reduction::kNone) return double(dy[i]);
  return s.reduction == Reduction::kMean ? double(dy[0]) / double(s.N) : double(dy[0]);
}

struct Overlap {
  double both, sum;
};

template <class T>
HL_INLINE Overlap overlap(const T* p, const T* t, int64_t n) {
  const double both = sum_over<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    return load_some(p + i, lanes) * load_some(t + i, lanes);
  });
  const double sum = sum_over<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    return load_some(p + i, lanes) + load_some(t + i, lanes);
  });
  return {both, sum};
}

}  // namespace

template <class T>
Plan gaussian_kl_forward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 2);
}
template <class T>
void gaussian_kl_forward(Ctx& ctx, const RowLossShape& s, const T* mu, const T* logvar, T* loss) {
  reduce_losses<T>(ctx, s.N, s.M, s.reduction, loss, [&](int64_t row, int) {
    const T *m = mu + row * s.M, *v = logvar + row * s.M;
    const double sum =
        sum_over<T>(s.M, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
          const Vec<T> a = load_some(m + i, lanes), b = load_some(v + i, lanes);
          return fma(a, a, expm1(b) - b);  // 0 beyond the row
        });
    return RowSum{sum / 2, 1};
  });
}

template <class T>
Plan gaussian_kl_backward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 4);
}
template <class T>
void gaussian_kl_backward(Ctx& ctx, const RowLossShape& s, const T* dy, const T* mu,
                          const T* logvar, T* dmu, T* dlogvar) {
  parallel_for(ctx, s.N, row_grain(s.M), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const double g = row_gradient(s, dy, row);
      const Vec<T> whole = set1(T(g)), half = set1(T(g / 2));
      const int64_t start = row * s.M;
      for_vectors<T>(s.M, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
        const int64_t at = start + i;
        if (dmu) store_some(dmu + at, whole * load_some(mu + at, lanes), lanes);
        if (dlogvar) store_some(dlogvar + at, half * expm1(load_some(logvar + at, lanes)), lanes);
      });
    }
  });
}

template <class T>
Plan dice_loss_forward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 2);
}
template <class T>
void dice_loss_forward(Ctx& ctx, const RowLossShape& s, const T* p, const T* t, T* loss) {
  reduce_losses<T>(ctx, s.N, s.M, s.reduction, loss, [&](int64_t row, int) {
    const Overlap o = overlap(p + row * s.M, t + row * s.M, s.M);
    return RowSum{1 - (2 * o.both + s.smooth) / (o.sum + s.smooth), 1};
  });
}

template <class T>
Plan dice_loss_backward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 4);
}
template <class T>
void dice_loss_backward(Ctx& ctx, const RowLossShape& s, const T* dy, const T* p, const T* t, T* dp,
                        T* dt) {
  parallel_for(ctx, s.N, row_grain(s.M), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const T *a = p + row * s.M, *b = t + row * s.M;
      const Overlap o = overlap(a, b, s.M);
      const double below = o.sum + s.smooth, above = 2 * o.both + s.smooth;
      const double g = row_gradient(s, dy, row);
      const Vec<T> slope = set1(T(-2 * g / below)), shift = set1(T(g * above / (below * below)));
      for_vectors<T>(s.M, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
        if (dp) store_some(dp + row * s.M + i, fma(slope, load_some(b + i, lanes), shift), lanes);
        if (dt) store_some(dt + row * s.M + i, fma(slope, load_some(a + i, lanes), shift), lanes);
      });
    }
  });
}

HL_DEFINE_KERNEL(gaussian_kl_forward);
HL_DEFINE_KERNEL(gaussian_kl_backward);
HL_DEFINE_KERNEL(dice_loss_forward);
HL_DEFINE_KERNEL(dice_loss_backward);

}  // namespace hl::cpu::HL_ISA
