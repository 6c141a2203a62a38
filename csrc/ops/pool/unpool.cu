#include "ops/pool/unpool.h"

#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

using Number = unsigned long long;  // of the last p that goes to a place, from 1; 0: none

template <class T>
Plan plan_of(const UnpoolShape& s, int64_t scratch) {
  const double pooled = double(s.N) * double(s.P) * double(s.C);
  const double large = double(s.N) * double(s.Q) * double(s.C);
  return {"a thread per element",
          nullptr,
          {1, 1, 1},
          scratch,
          0,
          0,
          pooled * (8 + sizeof(T)) + large * sizeof(T)};
}
template <class T>
Plan unpool_forward_plan(const UnpoolShape& s) {
  return plan_of<T>(s, s.N * s.Q * s.C * int64_t(sizeof(Number)));
}
template <class T>
Plan unpool_backward_plan(const UnpoolShape& s) {
  return plan_of<T>(s, 0);
}

template <class T>
void unpool_forward(Ctx& ctx, const UnpoolShape& s, const T* x, const int64_t* indices, T* y) {
  Number* last = reinterpret_cast<Number*>(ctx.shared);
  const Divider by_c = divide_by(s.C), by_p = divide_by(s.P), by_q = divide_by(s.Q);
  const int64_t large = s.N * s.Q * s.C;
  each(ctx, large, [=] __device__(int64_t i) { last[i] = 0; });
  each(ctx, s.N * s.P * s.C, [=] __device__(int64_t i) {
    int64_t n = i;
    const int64_t c = last_index(n, by_c), p = last_index(n, by_p);
    atomicMax(last + (n * s.Q + indices[i]) * s.C + c, Number(p + 1));
  });
  each(ctx, large, [=] __device__(int64_t i) {
    int64_t n = i;
    const int64_t c = last_index(n, by_c);
    last_index(n, by_q);
    y[i] = last[i] ? x[(n * s.P + int64_t(last[i]) - 1) * s.C + c] : T(0);
  });
}

template <class T>
void unpool_backward(Ctx& ctx, const UnpoolShape& s, const T* dy, const int64_t* indices, T* dx) {
  const Divider by_c = divide_by(s.C), by_p = divide_by(s.P);
  each(ctx, s.N * s.P * s.C, [=] __device__(int64_t i) {
    int64_t n = i;
    const int64_t c = last_index(n, by_c);
    last_index(n, by_p);
    dx[i] = dy[(n * s.Q + indices[i]) * s.C + c];
  });
}

HL_CUDA_KERNEL(unpool_forward);
HL_CUDA_KERNEL(unpool_backward);

}  // namespace
}  // namespace hl::cuda
