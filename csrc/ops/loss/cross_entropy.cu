#include "cuda/kernel.h"
#include "ops/loss/rows.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan class_plan(const ClassLossShape& s, int arrays) {
  const double n = double(s.N) * double(s.C);
  return {"a block per row",     nullptr, {1, kThreads, 1}, row_loss_bytes(s.N), 0, 4 * n,
          arrays * n * sizeof(T)};
}
template <class T>
Plan cross_entropy_forward_plan(const ClassLossShape& s) {
  return class_plan<T>(s, 1);
}
template <class T>
Plan cross_entropy_backward_plan(const ClassLossShape& s) {
  return class_plan<T>(s, 2);
}
template <class T>
Plan nll_loss_forward_plan(const ClassLossShape& s) {
  return class_plan<T>(s, 0);
}
template <class T>
Plan nll_loss_backward_plan(const ClassLossShape& s) {
  return class_plan<T>(s, 1);
}

// How much row i counts in a mean.
template <class T>
__device__ double row_weight(const ClassLossShape& s, const int64_t* labels, const T* weight,
                             int64_t i) {
  if (!labels) return 1;
  if (labels[i] == s.ignore_index) return 0;
  return weight ? double(weight[labels[i]]) : 1;
}

// The factor of -logp[c] that all classes have: with soft targets all there is.
template <class T>
__device__ double soft_factor(const ClassLossShape& s, const T* soft, const T* weight, int64_t c) {
  const double even = s.smoothing / double(s.C);
  const double q = soft ? (1 - s.smoothing) * double(soft[c]) + even : even;
  return weight ? q * double(weight[c]) : q;
}

// Of a row: S factor, and S factor (x - m) if there is x.
template <class T>
__device__ Two soft_sums(const ClassLossShape& s, const T* x, T m, const T* soft, const T* weight,
                         void* room) {
  Two sum = {0, 0};
  for (int64_t c = threadIdx.x; c < s.C; c += kThreads) {
    const double f = soft_factor(s, soft, weight, c);
    sum.a += f;
    if (x) sum.b += f * double(x[c] - m);
  }
  return block_sum(sum, room);
}

template <class T>
void cross_entropy_forward(Ctx& ctx, const ClassLossShape& s, const T* x, const int64_t* labels,
                           const T* soft, const T* weight, T* loss, T* saved) {
  reduce_rows(ctx, s.N, s.reduction, loss, [=] __device__(int64_t i, void* room) {
    const T* row = x + i * s.C;
    T m = -INFINITY;
    for (int64_t c = threadIdx.x; c < s.C; c += kThreads) m = Larger()(row[c], m);
    m = block_reduce(m, static_cast<T*>(room), Larger());
    double sum = 0;
    for (int64_t c = threadIdx.x; c < s.C; c += kThreads) sum += double(exp(row[c] - m));
    sum = block_reduce(sum, static_cast<double*>(room), Plus());
    if (threadIdx.x == 0) saved[2 * i] = m, saved[2 * i + 1] = T(sum);
    if (labels && labels[i] == s.ignore_index) return Two{0, 0};
    const double low = log(sum), counts = row_weight(s, labels, weight, i);
    double all = 0;
    if (soft || s.smoothing != 0) {
      const T* target = soft ? soft + i * s.C : nullptr;
      const Two sums = soft_sums(s, row, m, target, weight, room);
      all = sums.a * low - sums.b;
    }
    if (soft) return Two{all, counts};
    const double gap = double(row[labels[i]]) - double(m);
    return Two{(1 - s.smoothing) * counts * (low - gap) + all, counts};
  });
}

// What rows weigh in a mean, summed, as one number in scratch; null where nothing divides.
template <class T>
const double* divisor_of(const Ctx& ctx, const ClassLossShape& s, const int64_t* labels,
                         const T* weight) {
  if (s.reduction != Reduction::kMean) return nullptr;
  double* to = reinterpret_cast<double*>(ctx.shared);
  sum_all(
      ctx, s.N, ctx.shared + sizeof(Two),
      [=] __device__(int64_t i) { return Two{row_weight(s, labels, weight, i), 0}; },
      [=] __device__(Two sum) { *to = sum.a; });
  return to;
}
template <class T>
__device__ double row_gradient(const ClassLossShape& s, const T* dy, const double* divisor,
                               int64_t i) {
  if (s.reduction == Reduction::kNone) return double(dy[i]);
  return divisor ? double(dy[0]) / *divisor : double(dy[0]);
}

template <class T>
void cross_entropy_backward(Ctx& ctx, const ClassLossShape& s, const T* dy, const T* x,
                            const int64_t* labels, const T* soft, const T* weight, const T* saved,
                            T* dx) {
  const double* divisor = divisor_of(ctx, s, labels, weight);
  each_row(ctx, s.N, [=] __device__(int64_t i, void* room) {
    const int64_t label = labels ? labels[i] : -1;
    const bool ignored = labels && label == s.ignore_index, shared = soft || s.smoothing != 0;
    const T *row = x + i * s.C, m = saved[2 * i], *target = soft ? soft + i * s.C : nullptr;
    const double g = row_gradient(s, dy, divisor, i);
    const double hard = soft || ignored ? 0 : (1 - s.smoothing) * row_weight(s, labels, weight, i);
    const double all = shared && !ignored ? soft_sums<T>(s, nullptr, m, target, weight, room).a : 0;
    const T scale = T(g * (all + hard) / double(saved[2 * i + 1]));
    for (int64_t c = threadIdx.x; c < s.C; c += kThreads) {
      T v = scale * exp(row[c] - m);
      if (shared) v -= T(g * soft_factor(s, target, weight, c));
      if (c == label) v -= T(g * hard);
      dx[i * s.C + c] = ignored ? T(0) : v;
    }
  });
}

template <class T>
void nll_loss_forward(Ctx& ctx, const ClassLossShape& s, const T* logp, const int64_t* labels,
                      const T* weight, T* loss) {
  const auto row = [=] __device__(int64_t i) {
    const double w = row_weight(s, labels, weight, i);
    if (labels[i] == s.ignore_index) return Two{0, 0};
    return Two{-w * double(logp[i * s.C + labels[i]]), w};
  };
  if (s.reduction == Reduction::kNone) {
    each(ctx, s.N, [=] __device__(int64_t i) { loss[i] = T(row(i).a); });
  } else {
    sum_all(ctx, s.N, ctx.shared, row,
            [=] __device__(Two sum) { put_loss(s.reduction, sum, loss); });
  }
}

template <class T>
void nll_loss_backward(Ctx& ctx, const ClassLossShape& s, const T* dy, const int64_t* labels,
                       const T* weight, T* dlogp) {
  const double* divisor = divisor_of(ctx, s, labels, weight);
  each(ctx, s.N * s.C, [=] __device__(int64_t at) {
    const int64_t i = at / s.C;
    const bool here = labels[i] != s.ignore_index && labels[i] == at % s.C;
    dlogp[at] =
        here ? T(-row_gradient(s, dy, divisor, i) * row_weight(s, labels, weight, i)) : T(0);
  });
}

HL_CUDA_KERNEL(cross_entropy_forward);
HL_CUDA_KERNEL(cross_entropy_backward);
HL_CUDA_KERNEL(nll_loss_forward);
HL_CUDA_KERNEL(nll_loss_backward);

}  // namespace
}  // namespace hl::cuda
