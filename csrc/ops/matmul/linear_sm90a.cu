// Large fully connected layers with rounded factors on compute capability 9.0.
#include "cuda/gemm_rounded_sm90a.h"
#include "cuda/kernel.h"
#include "ops/matmul/linear.cuh"

namespace hl::cuda {
namespace {

template <class F>
const Entry<F>* below(const char* name) {
  return static_cast<const Entry<F>*>(entry_below_sm90a(name, 1u));
}

struct Product {
  const Ctx& ctx;

  template <class A, class B, class Store>
  void operator()(int64_t M, int64_t N, int64_t K, A a, B b, Store store) const {
    gemm_rounded_sm90a(ctx, 1, M, N, K, a, true, b, true, store);
  }
};

template <class T>
Plan linear_forward_plan(const LinearShape& s) {
  return below<linear_forward_t<T>>("linear_forward")->plan(s);
}
template <class T>
Plan linear_backward_plan(const LinearShape& s) {
  return below<linear_backward_t<T>>("linear_backward")->plan(s);
}

template <class T>
void linear_forward(Ctx& ctx, const LinearShape& s, const T* x, const T* w, const T* panels,
                    const T* b, T* y, T* z) {
  if (!sm90a_takes(ctx, 1, s.M, s.O, s.I)) {
    return below<linear_forward_t<T>>("linear_forward")->run(ctx, s, x, w, panels, b, y, z);
  }
  linear_forward_by(s, x, w, b, y, z, Product{ctx});
}

template <class T>
void linear_backward(Ctx& ctx, const LinearShape& s, const T* dy, const T* x, const T* w,
                     const T* saved, T* dx, T* dw, T* db) {
  const bool all = (!dx || sm90a_takes(ctx, 1, s.M, s.I, s.O)) &&
                   (!dw || sm90a_takes(ctx, 1, s.O, s.I, s.M)) && (dx || dw);
  if (!all) {
    return below<linear_backward_t<T>>("linear_backward")->run(ctx, s, dy, x, w, saved, dx, dw, db);
  }
  linear_backward_by(ctx, s, dy, x, w, saved, dx, dw, db, Product{ctx});
}

HL_CUDA_SM90A_KERNEL(linear_forward);
HL_CUDA_SM90A_KERNEL(linear_backward);

}  // namespace
}  // namespace hl::cuda
