#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/norm/norm.h"

namespace hl::cuda {
namespace {

template <class T>
Plan plan_of(const MinibatchStdShape& s, int arrays) {
  const double n = double(s.G * s.M * s.P) * double(s.C);
  return {"a block per group and part",
          nullptr,
          {1, kThreads, 1},
          s.M * s.F * int64_t(sizeof(double)),
          0,
          5 * n,
          arrays * n * sizeof(T)};
}
template <class T>
Plan minibatch_std_forward_plan(const MinibatchStdShape& s) {
  return plan_of<T>(s, 2);
}
template <class T>
Plan minibatch_std_backward_plan(const MinibatchStdShape& s) {
  return plan_of<T>(s, 3);
}

template <class T>
struct Spread {
  T mean, sd;
};

// Over the images of a group, at one pixel and channel.
template <class T>
__device__ Spread<T> over_group(const MinibatchStdShape& s, const T* x) {
  const int64_t image = s.M * s.P * s.C;
  T m = 0, q = 0;
  for (int64_t g = 0; g < s.G; ++g) m += x[g * image];
  m /= T(s.G);
  for (int64_t g = 0; g < s.G; ++g) q += (x[g * image] - m) * (x[g * image] - m);
  return {m, sqrt(q / T(s.G) + T(s.eps))};
}

template <class T>
void minibatch_std_forward(Ctx& ctx, const MinibatchStdShape& s, const T* x, T* y) {
  const int64_t width = s.C / s.F, out = s.C + s.F;
  double* spread = reinterpret_cast<double*>(ctx.shared);
  each_row(ctx, s.M * s.F, [=] __device__(int64_t part, void* room) {
    const T* from = x + part / s.F * s.P * s.C + part % s.F * width;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < s.P * width; i += kThreads) {
      sum += double(over_group(s, from + i / width * s.C + i % width).sd);
    }
    sum = block_reduce(sum, static_cast<double*>(room), Plus());
    if (threadIdx.x == 0) spread[part] = sum / double(s.P * width);
  });
  each(ctx, s.G * s.M * s.P * out, [=] __device__(int64_t i) {
    const int64_t pixel = i / out, c = i % out;
    y[i] = c < s.C ? x[pixel * s.C + c] : T(spread[pixel / s.P % s.M * s.F + c - s.C]);
  });
}

template <class T>
void minibatch_std_backward(Ctx& ctx, const MinibatchStdShape& s, const T* dy, const T* x, T* dx) {
  const int64_t width = s.C / s.F, out = s.C + s.F;
  double* slope = reinterpret_cast<double*>(ctx.shared);
  each_row(ctx, s.M * s.F, [=] __device__(int64_t part, void* room) {
    const int64_t m = part / s.F, f = part % s.F;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < s.G * s.P; i += kThreads) {
      sum += double(dy[((i / s.P * s.M + m) * s.P + i % s.P) * out + s.C + f]);
    }
    sum = block_reduce(sum, static_cast<double*>(room), Plus());
    if (threadIdx.x == 0) slope[part] = sum / (double(s.G) * double(s.P * width));
  });
  each(ctx, s.M * s.P * s.C, [=] __device__(int64_t i) {
    const int64_t pixel = i / s.C, c = i % s.C, pixels = s.M * s.P;
    const Spread<T> v = over_group(s, x + i);
    const T k = T(slope[pixel / s.P * s.F + c / width]) / v.sd;
    for (int64_t g = 0; g < s.G; ++g) {
      const int64_t at = g * pixels * s.C + i;
      dx[at] = (x[at] - v.mean) * k + dy[(g * pixels + pixel) * out + c];
    }
  });
}

HL_CUDA_KERNEL(minibatch_std_forward);
HL_CUDA_KERNEL(minibatch_std_backward);

}  // namespace
}  // namespace hl::cuda
