#include "cuda/unary.h"

#include "cuda/elements.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

template <class T>
Plan unary_forward_plan(const ElementShape& s) {
  return element_plan(s, 2, sizeof(T));
}
template <class T>
Plan unary_backward_plan(const ElementShape& s) {
  return element_plan(s, 3, sizeof(T));
}
template <class T>
Plan axpy_plan(const ElementShape& s) {
  return element_plan(s, 3, sizeof(T));
}
template <class T>
Plan all_finite_plan(const ElementShape& s) {
  Plan p = element_plan(s, 1, sizeof(T));
  p.shared_bytes = sizeof(int);
  return p;
}

template <class T>
void unary_forward(Ctx& ctx, const ElementShape& s, const T* x, T* y) {
  const UnaryOp op = UnaryOp(s.op);
  const T p0 = T(s.p0), p1 = T(s.p1);
  map_elements<2>(
      ctx, s, y, [=] __device__(const Offsets<2>& o) { return x[o.at[0]]; },
      [=] __device__(T v) { return unary(op, v, p0, p1); });
}

template <class T>
void unary_backward(Ctx& ctx, const ElementShape& s, const T* dy, const T* saved, T* dx) {
  const UnaryOp op = UnaryOp(s.op);
  const T p0 = T(s.p0), p1 = T(s.p1);
  map_elements<3>(
      ctx, s, dx,
      [=] __device__(const Offsets<3>& o) { return Both<T>{dy[o.at[0]], saved[o.at[1]]}; },
      [=] __device__(const Both<T>& v) { return unary_gradient(op, v.a, v.b, p0, p1); });
}

template <class T>
void axpy(Ctx& ctx, const ElementShape& s, const T* x, T* y) {
  const T factor = T(s.p0);
  map_elements<2>(
      ctx, s, y, [=] __device__(const Offsets<2>& o) { return Both<T>{x[o.at[0]], y[o.at[1]]}; },
      [=] __device__(const Both<T>& v) { return v.b + factor * v.a; });
}

template <class T>
void all_finite(Ctx& ctx, const ElementShape& s, const T* x, int* y) {
  const cudaStream_t stream = static_cast<cudaStream_t>(ctx.stream);
  int* bad = reinterpret_cast<int*>(ctx.shared);
  HL_CHECK(cudaMemsetAsync(bad, 0, sizeof *bad, stream));
  each_element<1>(ctx, s, [=] __device__(const Offsets<1>& o) {
    const T v = x[o.at[0]];
    if (v - v != 0) *bad = 1;  // all that write, write the same
  });
  int found = 0;
  HL_CHECK(cudaMemcpyAsync(&found, bad, sizeof found, cudaMemcpyDefault, stream));
  HL_CHECK(cudaStreamSynchronize(stream));
  *y = !found;
}

HL_CUDA_KERNEL(unary_forward);
HL_CUDA_KERNEL(unary_backward);
HL_CUDA_KERNEL(axpy);
HL_CUDA_KERNEL(all_finite);

}  // namespace
}  // namespace hl::cuda
