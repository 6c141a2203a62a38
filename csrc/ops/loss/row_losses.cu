#include "cuda/kernel.h"
#include "ops/loss/rows.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan pair_plan(const RowLossShape& s, int arrays) {
  const double n = double(s.N) * double(s.M);
  return {"a block per row",     nullptr, {1, kThreads, 1}, row_loss_bytes(s.N), 0, 4 * n,
          arrays * n * sizeof(T)};
}
template <class T>
Plan gaussian_kl_forward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 2);
}
template <class T>
Plan gaussian_kl_backward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 4);
}
template <class T>
Plan dice_loss_forward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 2);
}
template <class T>
Plan dice_loss_backward_plan(const RowLossShape& s) {
  return pair_plan<T>(s, 4);
}

// What row i's gradient is multiplied by.
template <class T>
__device__ double row_gradient(const RowLossShape& s, const T* dy, int64_t i) {
  if (s.reduction == Reduction::kNone) return double(dy[i]);
  return s.reduction == Reduction::kMean ? double(dy[0]) / double(s.N) : double(dy[0]);
}

template <class T>
void gaussian_kl_forward(Ctx& ctx, const RowLossShape& s, const T* mu, const T* logvar, T* loss) {
  reduce_rows(ctx, s.N, s.reduction, loss, [=] __device__(int64_t row, void* room) {
    double sum = 0;
    for (int64_t i = row * s.M + threadIdx.x; i < (row + 1) * s.M; i += kThreads) {
      sum += double(mu[i] * mu[i] + (expm1(logvar[i]) - logvar[i]));
    }
    return Two{block_reduce(sum, static_cast<double*>(room), Plus()) / 2, 1};
  });
}

template <class T>
void gaussian_kl_backward(Ctx& ctx, const RowLossShape& s, const T* dy, const T* mu,
                          const T* logvar, T* dmu, T* dlogvar) {
  each(ctx, s.N * s.M, [=] __device__(int64_t i) {
    const double g = row_gradient(s, dy, i / s.M);
    if (dmu) dmu[i] = T(g) * mu[i];
    if (dlogvar) dlogvar[i] = T(g / 2) * expm1(logvar[i]);
  });
}

// Of a row: S p t and S (p + t).
template <class T>
__device__ Two overlap(const RowLossShape& s, const T* p, const T* t, int64_t row, void* room) {
  Two sum = {0, 0};
  for (int64_t i = row * s.M + threadIdx.x; i < (row + 1) * s.M; i += kThreads) {
    sum.a += double(p[i]) * double(t[i]), sum.b += double(p[i]) + double(t[i]);
  }
  return block_sum(sum, room);
}

template <class T>
void dice_loss_forward(Ctx& ctx, const RowLossShape& s, const T* p, const T* t, T* loss) {
  reduce_rows(ctx, s.N, s.reduction, loss, [=] __device__(int64_t row, void* room) {
    const Two o = overlap(s, p, t, row, room);
    return Two{1 - (2 * o.a + s.smooth) / (o.b + s.smooth), 1};
  });
}

template <class T>
void dice_loss_backward(Ctx& ctx, const RowLossShape& s, const T* dy, const T* p, const T* t, T* dp,
                        T* dt) {
  each_row(ctx, s.N, [=] __device__(int64_t row, void* room) {
    const Two o = overlap(s, p, t, row, room);
    const double below = o.b + s.smooth, above = 2 * o.a + s.smooth, g = row_gradient(s, dy, row);
    const T slope = T(-2 * g / below), shift = T(g * above / (below * below));
    for (int64_t i = row * s.M + threadIdx.x; i < (row + 1) * s.M; i += kThreads) {
      if (dp) dp[i] = slope * t[i] + shift;
      if (dt) dt[i] = slope * p[i] + shift;
    }
  });
}

HL_CUDA_KERNEL(gaussian_kl_forward);
HL_CUDA_KERNEL(gaussian_kl_backward);
HL_CUDA_KERNEL(dice_loss_forward);
HL_CUDA_KERNEL(dice_loss_backward);

}  // namespace
}  // namespace hl::cuda
