#include "cuda/kernel.h"
#include "ops/loss/rows.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan class_plan(const ClassLossShape& s, int arrays) {
  const double n = double(s.N) * double(s.C);
  return {"a row in registers",  nullptr, {1, 1, 1}, row_loss_bytes(s.N), 0, 4 * n,
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

template <class T>
void cross_entropy_forward(Ctx& ctx, const ClassLossShape& s, const T* x, const int64_t* labels,
                           const T* soft, const T* weight, T* loss, T* saved) {
  reduce_grouped_rows<T>(
      ctx, s.N, s.C, s.reduction, loss, [=] __device__(const auto& g, int64_t i) {
        const T *from = x + i * s.C, *target = soft ? soft + i * s.C : nullptr;
        const auto row = g.row(from);
        T m = -INFINITY;
        g.each([&](int64_t, T v) { m = Larger()(v, m); }, row);
        m = g.reduce(m, Larger());
        const double sum = g.sum([&](int64_t, T v) { return exp(v - m); }, row);
        if (g.first()) saved[2 * i] = m, saved[2 * i + 1] = T(sum);
        const double low = log(sum);
        double all = 0;
        if (soft || s.smoothing != 0) {
          all =
              g.sum([&](int64_t c,
                        T v) { return soft_factor(s, target, weight, c) * (low - double(v - m)); },
                    row);
        }
        if (labels && labels[i] == s.ignore_index) return Two{0, 0};
        const double counts = row_weight(s, labels, weight, i);
        if (soft) return Two{all, counts};
        const double gap = double(from[labels[i]]) - double(m);
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
  each_grouped_row<T>(ctx, s.N, s.C, [=] __device__(const auto& g, int64_t i) {
    const int64_t label = labels ? labels[i] : -1;
    const bool ignored = labels && label == s.ignore_index, shared = soft || s.smoothing != 0;
    const T m = saved[2 * i], *target = soft ? soft + i * s.C : nullptr;
    const double slope = row_gradient(s, dy, divisor, i);
    const double hard = soft || ignored ? 0 : (1 - s.smoothing) * row_weight(s, labels, weight, i);
    const auto row = g.source(x + i * s.C);
    double all = 0;
    if (shared) {
      all = g.sum([&](int64_t c, T) { return soft_factor(s, target, weight, c); }, row);
    }
    const T scale = T(slope * (all + hard) / double(saved[2 * i + 1]));
    g.write(
        dx + i * s.C, 1,
        [&](int64_t c, T v) {
          T d = scale * exp(v - m);
          if (shared) d -= T(slope * soft_factor(s, target, weight, c));
          if (c == label) d -= T(slope * hard);
          return ignored ? T(0) : d;
        },
        row);
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
