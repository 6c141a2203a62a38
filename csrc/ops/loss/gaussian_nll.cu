#include "cuda/kernel.h"
#include "ops/loss/rows.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan nll_plan(const GaussianNllShape& s, int arrays) {
  const double n = double(s.size);
  return {"a thread per element", nullptr, {1, 1, 1}, sum_bytes(1, s.size, false), 0, 6 * n,
          arrays * n * sizeof(T)};
}
template <class T>
Plan gaussian_nll_forward_plan(const GaussianNllShape& s) {
  return nll_plan<T>(s, s.reduction == Reduction::kNone ? 4 : 3);
}
template <class T>
Plan gaussian_nll_backward_plan(const GaussianNllShape& s) {
  return nll_plan<T>(s, s.reduction == Reduction::kNone ? 7 : 6);
}

template <class T>
__device__ T at_least(T x, T low) {  // NaN stays
  return x < low ? low : x;
}

template <class T>
void gaussian_nll_forward(Ctx& ctx, const GaussianNllShape& s, const T* x, const T* t, const T* var,
                          T* loss) {
  const auto one = [=] __device__(int64_t i) {
    const T d = x[i] - t[i], u = at_least(var[i], T(s.eps));
    return T(0.5) * (log(u) + d * d / u) + T(s.constant);
  };
  if (s.reduction == Reduction::kNone) {
    each(ctx, s.size, [=] __device__(int64_t i) { loss[i] = one(i); });
  } else {
    sum_all(
        ctx, s.size, ctx.shared, [=] __device__(int64_t i) { return Two{double(one(i)), 1}; },
        [=] __device__(Two sum) { put_loss(s.reduction, sum, loss); });
  }
}

template <class T>
void gaussian_nll_backward(Ctx& ctx, const GaussianNllShape& s, const T* dy, const T* x, const T* t,
                           const T* var, T* dx, T* dt, T* dvar) {
  const double divisor = s.reduction == Reduction::kMean ? double(s.size) : 1;
  each(ctx, s.size, [=] __device__(int64_t i) {
    const T g = s.reduction == Reduction::kNone ? dy[i] : T(double(dy[0]) / divisor);
    const T d = x[i] - t[i], u = at_least(var[i], T(s.eps)), slope = d / u;
    if (dx) dx[i] = g * slope;
    if (dt) dt[i] = -(g * slope);
    if (dvar) dvar[i] = g * T(0.5) * (1 - d * slope) / u;
  });
}

HL_CUDA_KERNEL(gaussian_nll_forward);
HL_CUDA_KERNEL(gaussian_nll_backward);

}  // namespace
}  // namespace hl::cuda
