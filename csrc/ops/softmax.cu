#include "ops/softmax.h"

#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "cuda/unary.h"

namespace hl::cuda {
namespace {

template <class T>
Plan plan_of(const SoftmaxShape& s, int arrays) {
  const double n = double(s.outer) * s.length * s.inner;
  return {"a block per line", nullptr, {1, kThreads, 1}, 0, 0, 5 * n, arrays * n * sizeof(T)};
}
template <class T>
Plan softmax_forward_plan(const SoftmaxShape& s) {
  return plan_of<T>(s, 2);
}
template <class T>
Plan softmax_backward_plan(const SoftmaxShape& s) {
  return plan_of<T>(s, 3);
}

template <class T>
void softmax_forward(Ctx& ctx, const SoftmaxShape& s, const T* x, T* y) {
  each_row(ctx, s.outer * s.inner, [=] __device__(int64_t line, void* room) {
    const int64_t base = line / s.inner * s.length * s.inner + line % s.inner;
    T most = -INFINITY;
    for (int64_t i = threadIdx.x; i < s.length; i += kThreads) {
      most = Larger()(x[base + i * s.inner], most);
    }
    most = block_reduce(most, static_cast<T*>(room), Larger());
    double sum = 0;
    for (int64_t i = threadIdx.x; i < s.length; i += kThreads) {
      sum += exp(x[base + i * s.inner] - most);
    }
    sum = block_reduce(sum, static_cast<double*>(room), Plus());
    if (s.kind == SoftmaxKind::kLog) {
      const T log_sum = T(log(sum));
      for (int64_t i = threadIdx.x; i < s.length; i += kThreads) {
        y[base + i * s.inner] = (x[base + i * s.inner] - most) - log_sum;
      }
    } else {
      const T scale = T(1 / sum);
      for (int64_t i = threadIdx.x; i < s.length; i += kThreads) {
        y[base + i * s.inner] = exp(x[base + i * s.inner] - most) * scale;
      }
    }
  });
}

template <class T>
void softmax_backward(Ctx& ctx, const SoftmaxShape& s, const T* dy, const T* y, T* dx) {
  each_row(ctx, s.outer * s.inner, [=] __device__(int64_t line, void* room) {
    const int64_t base = line / s.inner * s.length * s.inner + line % s.inner;
    const bool is_log = s.kind == SoftmaxKind::kLog;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < s.length; i += kThreads) {
      const int64_t at = base + i * s.inner;
      sum += is_log ? double(dy[at]) : double(dy[at]) * y[at];
    }
    sum = block_reduce(sum, static_cast<double*>(room), Plus());
    for (int64_t i = threadIdx.x; i < s.length; i += kThreads) {
      const int64_t at = base + i * s.inner;
      dx[at] = is_log ? dy[at] - exp(y[at]) * T(sum) : y[at] * (dy[at] - T(sum));
    }
  });
}

template <class T>
Plan glu_forward_plan(const GluShape& s) {
  const double n = double(s.outer) * s.half;
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 4 * n, 3 * n * sizeof(T)};
}
template <class T>
Plan glu_backward_plan(const GluShape& s) {
  const double n = double(s.outer) * s.half;
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 8 * n, 5 * n * sizeof(T)};
}

template <class T>
void glu_forward(Ctx& ctx, const GluShape& s, const T* x, T* y) {
  each(ctx, s.outer * s.half, [=] __device__(int64_t i) {
    const int64_t at = i / s.half * 2 * s.half + i % s.half;
    y[i] = x[at] * sigmoid(x[at + s.half]);
  });
}

template <class T>
void glu_backward(Ctx& ctx, const GluShape& s, const T* dy, const T* x, T* dx) {
  each(ctx, s.outer * s.half, [=] __device__(int64_t i) {
    const int64_t at = i / s.half * 2 * s.half + i % s.half;
    const T gate = sigmoid(x[at + s.half]);
    dx[at] = dy[i] * gate;
    dx[at + s.half] = dy[i] * x[at] * gate * (1 - gate);
  });
}

HL_CUDA_KERNEL(softmax_forward);
HL_CUDA_KERNEL(softmax_backward);
HL_CUDA_KERNEL(glu_forward);
HL_CUDA_KERNEL(glu_backward);

}  // namespace
}  // namespace hl::cuda
