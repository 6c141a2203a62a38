#include "ops/softmax.h"

#include "cuda/kernel.h"
#include "cuda/row_groups.h"
#include "cuda/unary.h"

namespace hl::cuda {
namespace {

template <class T>
Plan plan_of(const SoftmaxShape& s, int arrays) {
  const double n = double(s.outer) * s.length * s.inner;
  return {"a line in registers", nullptr, {1, 1, 1}, 0, 0, 5 * n, arrays * n * sizeof(T)};
}
template <class T>
Plan softmax_forward_plan(const SoftmaxShape& s) {
  return plan_of<T>(s, 2);
}
template <class T>
Plan softmax_backward_plan(const SoftmaxShape& s) {
  return plan_of<T>(s, 3);
}

// Where line number `line` begins.
__device__ int64_t line_at(const SoftmaxShape& s, int64_t line) {
  return s.inner == 1 ? line * s.length : line / s.inner * s.length * s.inner + line % s.inner;
}

template <class T>
void softmax_forward(Ctx& ctx, const SoftmaxShape& s, const T* x, T* y) {
  each_grouped_row<T>(
      ctx, s.outer * s.inner, s.length, [=] __device__(const auto& g, int64_t line) {
        const int64_t base = line_at(s, line);
        const auto row = g.row(x + base, s.inner);
        T most = -INFINITY;
        g.each([&](int64_t, T v) { most = Larger()(v, most); }, row);
        most = g.reduce(most, Larger());
        const double sum = g.sum([&](int64_t, T v) { return exp(v - most); }, row);
        if (s.kind == SoftmaxKind::kLog) {
          const T low = T(log(sum));
          g.write(y + base, s.inner, [&](int64_t, T v) { return (v - most) - low; }, row);
        } else {
          const T scale = T(1 / sum);
          g.write(y + base, s.inner, [&](int64_t, T v) { return exp(v - most) * scale; }, row);
        }
      });
}

template <class T>
void softmax_backward(Ctx& ctx, const SoftmaxShape& s, const T* dy, const T* y, T* dx) {
  each_grouped_row<T>(
      ctx, s.outer * s.inner, s.length, [=] __device__(const auto& g, int64_t line) {
        const int64_t base = line_at(s, line);
        const bool is_log = s.kind == SoftmaxKind::kLog;
        const auto slope = g.row(dy + base, s.inner), row = g.row(y + base, s.inner);
        const T sum =
            T(g.sum([&](int64_t, T d, T v) { return is_log ? double(d) : double(d) * double(v); },
                    slope, row));
        g.write(
            dx + base, s.inner,
            [&](int64_t, T d, T v) { return is_log ? d - exp(v) * sum : v * (d - sum); }, slope,
            row);
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
