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
  each_element<2>(
      ctx, s, [=] __device__(const Offsets<2>& o) { y[o.at[1]] = unary(op, x[o.at[0]], p0, p1); });
}

template <class T>
void unary_backward(Ctx& ctx, const ElementShape& s, const T* dy, const T* saved, T* dx) {
  const UnaryOp op = UnaryOp(s.op);
  const T p0 = T(s.p0), p1 = T(s.p1);
  each_element<3>(ctx, s, [=] __device__(const Offsets<3>& o) {
    dx[o.at[2]] = unary_gradient(op, dy[o.at[0]], saved[o.at[1]], p0, p1);
  });
}

template <class T>
void axpy(Ctx& ctx, const ElementShape& s, const T* x, T* y) {
  const T factor = T(s.p0);
  each_element<2>(ctx, s,
                  [=] __device__(const Offsets<2>& o) { y[o.at[1]] += factor * x[o.at[0]]; });
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
