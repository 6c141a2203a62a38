#include "ops/matmul/linear.cuh"

#include "cuda/gemm.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

template <class T>
Plan linear_forward_plan(const LinearShape& s) {
  const double m = double(s.M), i = double(s.I), o = double(s.O);
  return {"tiles by plain threads",           nullptr, {kTile, kTile, kDepth}, 0, 0, 2 * m * i * o,
          (m * i + i * o + m * o) * sizeof(T)};
}

template <class T>
struct Product {
  const Ctx& ctx;

  template <class A, class B, class Store>
  void operator()(int64_t M, int64_t N, int64_t K, A a, B b, Store store) const {
    gemm<T>(ctx, 1, M, N, K, a, b, store);
  }
};

template <class T>
void linear_forward(Ctx& ctx, const LinearShape& s, const T* x, const T* w, const T*, const T* b,
                    T* y, T* z) {
  linear_forward_by(s, x, w, b, y, z, Product<T>{ctx});
}

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
  linear_backward_by(ctx, s, dy, x, w, saved, dx, dw, db, Product<T>{ctx});
}

HL_CUDA_KERNEL(linear_forward);
HL_CUDA_KERNEL(linear_backward);

}  // namespace
}  // namespace hl::cuda
