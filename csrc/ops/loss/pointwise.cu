#include "cuda/kernel.h"
#include "cuda/unary.h"
#include "ops/loss/rows.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan pointwise_plan(const PointwiseLossShape& s, int arrays) {
  const double n = double(s.size);
  return {"a thread per element",
          nullptr,
          {1, 1, 1},
          int64_t(sizeof(Two)) + sum_bytes(1, s.size, false),
          0,
          4 * n,
          arrays * n * sizeof(T)};
}
template <class T>
Plan pointwise_loss_forward_plan(const PointwiseLossShape& s) {
  return pointwise_plan<T>(s, s.reduction == Reduction::kNone ? 3 : 2);
}
template <class T>
Plan pointwise_loss_backward_plan(const PointwiseLossShape& s) {
  return pointwise_plan<T>(s, s.reduction == Reduction::kNone ? 4 : 3);
}

template <class T>
__device__ T at_least(T x, T low) {  // NaN stays
  return x < low ? low : x;
}
template <class T>
__device__ T sign_of(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

template <class T>
struct FocalParts {
  T p, miss, ce, power, alpha;  // sigmoid(x), 1 - p_t, cross-entropy, miss^g, a_t
};
template <class T>
__device__ T raise_to(T base, T power) {
  return power == 2 ? base * base : power == 0 ? T(1) : exp(power * log(base));
}
template <class T>
__device__ FocalParts<T> focal_parts(T x, T t, T p0, T p1) {
  const T p = sigmoid(x), miss = p * (1 - t) + sigmoid(-x) * t;
  return {p, miss, softplus(-x) + (1 - t) * x, raise_to(miss, p1),
          p0 < 0 ? T(1) : p0 * t + (1 - p0) * (1 - t)};
}

// PyTorch's bounds in bce: a log no lower than -100, a divisor no smaller than 1e-12.
template <class T>
__device__ T loss_of(PointwiseLoss op, T x, T t, T pos, T p0, T p1) {
  const T d = fabs(x - t);
  switch (op) {
    case PointwiseLoss::kMse:
      return (x - t) * (x - t);
    case PointwiseLoss::kL1:
      return d;
    case PointwiseLoss::kSmoothL1:
      return d < p0 ? T(0.5) * d * d / p0 : d - T(0.5) * p0;
    case PointwiseLoss::kHuber:
      return d <= p0 ? T(0.5) * d * d : p0 * (d - T(0.5) * p0);
    case PointwiseLoss::kBce:
      return (t - 1) * at_least(log1p(-x), T(-100)) - t * at_least(log(x), T(-100));
    case PointwiseLoss::kBceWithLogits:
      return ((pos - 1) * t + 1) * softplus(-x) + (1 - t) * x;
    case PointwiseLoss::kKlDiv:
      return t == 0 ? T(0) : t * (log(t) - x);
    case PointwiseLoss::kKlDivLog:
      return exp(t) * (t - x);
    case PointwiseLoss::kHingeEmbedding:
      return (t != 1 ? at_least(p0 - x, T(0)) : T(0)) + (t != -1 ? x : T(0));
    case PointwiseLoss::kHinge:
      return at_least(p0 - t * x, T(0));
    case PointwiseLoss::kFocal: {
      const FocalParts<T> r = focal_parts(x, t, p0, p1);
      return r.alpha * r.power * r.ce;
    }
  }
  return 0;
}

template <class T>
struct Slope {
  T x, t;
};

template <class T>
__device__ Slope<T> slope_of(PointwiseLoss op, T x, T t, T pos, T p0, T p1) {
  const T d = x - t;
  switch (op) {
    case PointwiseLoss::kMse:
      return {2 * d, -2 * d};
    case PointwiseLoss::kL1:
      return {sign_of(d), -sign_of(d)};
    case PointwiseLoss::kSmoothL1: {
      const T g = fabs(d) < p0 ? d / p0 : sign_of(d);
      return {g, -g};
    }
    case PointwiseLoss::kHuber: {
      const T g = fabs(d) <= p0 ? d : p0 * sign_of(d);
      return {g, -g};
    }
    case PointwiseLoss::kBce:
      return {d / at_least((1 - x) * x, T(1e-12)),
              at_least(log1p(-x), T(-100)) - at_least(log(x), T(-100))};
    case PointwiseLoss::kBceWithLogits: {
      const T more = pos == 1 ? T(0) : (pos - 1) * softplus(-x);  // 0 inf is no number
      return {(1 - t) - ((pos - 1) * t + 1) * sigmoid(-x), more - x};
    }
    case PointwiseLoss::kKlDiv:
      return {-t, log(t) + 1 - x};
    case PointwiseLoss::kKlDivLog:
      return {-exp(t), exp(t) * (t - x + 1)};
    case PointwiseLoss::kHingeEmbedding:
      return {(t != 1 && p0 - x >= 0 ? T(-1) : T(0)) + (t != -1 ? T(1) : T(0)), T(0)};
    case PointwiseLoss::kHinge:
      return p0 - t * x >= 0 ? Slope<T>{-t, -x} : Slope<T>{T(0), T(0)};
    case PointwiseLoss::kFocal: {
      const FocalParts<T> r = focal_parts(x, t, p0, p1);
      // g miss^(g-1) ce, and 0 where g is
      const T bend = p1 == 0 ? T(0) : p1 * raise_to(r.miss, p1 - 1) * r.ce;
      const T dx = r.power * (r.p - t) + bend * r.p * sigmoid(-x) * (1 - 2 * t);
      const T dt = bend * (1 - 2 * r.p) - r.power * x;
      const T dalpha = p0 < 0 ? T(0) : 2 * p0 - 1;
      return {r.alpha * dx, r.alpha * dt + dalpha * r.power * r.ce};
    }
  }
  return {0, 0};
}

template <class T>
__device__ T weight_at(const T* w, const WeightAxes& axes, int64_t i) {
  return w ? w[i / axes.inner % axes.size] : T(1);
}

// Whether a mean divides by the sum of the weights.
bool divides_by_weights(const PointwiseLossShape& s) {
  return s.op == PointwiseLoss::kMse || s.op == PointwiseLoss::kL1;
}

template <class T>
void pointwise_loss_forward(Ctx& ctx, const PointwiseLossShape& s, const T* x, const T* t,
                            const T* weight, const T* pos_weight, T* loss) {
  const bool by_weight = divides_by_weights(s);
  const auto one = [=] __device__(int64_t i) {
    const T w = weight_at(weight, s.weight, i);
    const T l = loss_of(s.op, x[i], t[i], weight_at(pos_weight, s.pos_weight, i), T(s.p0), T(s.p1));
    return Two{double(weight ? l * w : l), by_weight ? double(w) : 1};
  };
  if (s.reduction == Reduction::kNone) {
    each(ctx, s.size, [=] __device__(int64_t i) { loss[i] = T(one(i).a); });
  } else {
    sum_all(ctx, s.size, ctx.shared, one,
            [=] __device__(Two sum) { put_loss(s.reduction, sum, loss); });
  }
}

template <class T>
void pointwise_loss_backward(Ctx& ctx, const PointwiseLossShape& s, const T* dy, const T* x,
                             const T* t, const T* weight, const T* pos_weight, T* dx, T* dt) {
  const bool mean = s.reduction == Reduction::kMean;
  const bool by_weight = mean && weight && divides_by_weights(s);
  double* weights = reinterpret_cast<double*>(ctx.shared);
  if (by_weight) {
    const double repeats = double(s.size) / double(s.weight.size);
    sum_all(
        ctx, s.weight.size, ctx.shared + sizeof(Two),
        [=] __device__(int64_t i) { return Two{double(weight[i]), 0}; },
        [=] __device__(Two sum) { *weights = sum.a * repeats; });
  }
  each(ctx, s.size, [=] __device__(int64_t i) {
    const double divisor = by_weight ? *weights : mean ? double(s.size) : 1;
    T g = s.reduction == Reduction::kNone ? dy[i] : T(double(dy[0]) / divisor);
    if (weight) g *= weight_at(weight, s.weight, i);
    const Slope<T> slope =
        slope_of(s.op, x[i], t[i], weight_at(pos_weight, s.pos_weight, i), T(s.p0), T(s.p1));
    if (dx) dx[i] = g * slope.x;
    if (dt) dt[i] = g * slope.t;
  });
}

HL_CUDA_KERNEL(pointwise_loss_forward);
HL_CUDA_KERNEL(pointwise_loss_backward);

}  // namespace
}  // namespace hl::cuda
