#include "ops/matmul/linear.h"

#include "cuda/gemm.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "cuda/unary.h"

namespace hl::cuda {
namespace {

template <class T>
Plan linear_forward_plan(const LinearShape& s) {
  const double m = double(s.M), i = double(s.I), o = double(s.O);
  return {"tiles by plain threads",           nullptr, {kTile, kTile, kDepth}, 0, 0, 2 * m * i * o,
          (m * i + i * o + m * o) * sizeof(T)};
}

template <class T>
void linear_forward(Ctx& ctx, const LinearShape& s, const T* x, const T* w, const T*, const T* b,
                    T* y, T* z) {
  gemm<T, Order::kAlongK, Order::kAlongK>(
      ctx, 1, s.M, s.O, s.I,
      [=] __device__(int64_t, int64_t i, int64_t k) { return x[i * s.I + k]; },
      [=] __device__(int64_t, int64_t k, int64_t j) { return w[j * s.I + k]; },
      [=] __device__(int64_t, int64_t i, int64_t j, T sum) {
        const T total = b ? sum + b[j] : sum;
        if (z) z[i * s.O + j] = total;
        y[i * s.O + j] = activate(s.activation, total, s.p0, s.p1);
      });
}

// dz, where it is not dy itself, lies in scratch.
template <class T>
Plan linear_backward_plan(const LinearShape& s) {
  const double m = double(s.M), i = double(s.I), o = double(s.O);
  const int products = int(s.need_dx) + int(s.need_dw);
  const int64_t scratch = s.activation == kNoActivation ? 0 : s.M * s.O * int64_t(sizeof(T));
  return {"tiles by plain threads",
          nullptr,
          {kTile, kTile, kDepth},
          scratch,
          0,
          2 * products * m * i * o,
          products * (m * i + i * o + m * o) * sizeof(T)};
}

template <class T>
void linear_backward(Ctx& ctx, const LinearShape& s, const T* dy, const T* x, const T* w,
                     const T* saved, T* dx, T* dw, T* db) {
  const T* dz = dy;
  if (s.activation != kNoActivation) {
    T* made = reinterpret_cast<T*>(ctx.shared);
    each(ctx, s.M * s.O, [=] __device__(int64_t i) {
      made[i] = activate_gradient(s.activation, dy[i], saved[i], s.p0, s.p1);
    });
    dz = made;
  }
  if (dx) {
    gemm<T>(
        ctx, 1, s.M, s.I, s.O,
        [=] __device__(int64_t, int64_t i, int64_t k) { return dz[i * s.O + k]; },
        [=] __device__(int64_t, int64_t k, int64_t j) { return w[k * s.I + j]; },
        [=] __device__(int64_t, int64_t i, int64_t j, T sum) { dx[i * s.I + j] = sum; });
  }
  if (dw) {
    gemm<T, Order::kAcrossK, Order::kAcrossK>(
        ctx, 1, s.O, s.I, s.M,
        [=] __device__(int64_t, int64_t i, int64_t k) { return dz[k * s.O + i]; },
        [=] __device__(int64_t, int64_t k, int64_t j) { return x[k * s.I + j]; },
        [=] __device__(int64_t, int64_t i, int64_t j, T sum) { dw[i * s.I + j] = sum; });
  }
  if (db) {
    each_row(ctx, s.O, [=] __device__(int64_t o, void* room) {
      double sum = 0;
      for (int64_t m = threadIdx.x; m < s.M; m += kThreads) sum += dz[m * s.O + o];
      sum = block_reduce(sum, static_cast<double*>(room), Plus());
      if (threadIdx.x == 0) db[o] = T(sum);
    });
  }
}

HL_CUDA_KERNEL(linear_forward);
HL_CUDA_KERNEL(linear_backward);

}  // namespace
}  // namespace hl::cuda
