#include "kernel.h"
#include "ops/loss/pointwise_rules.h"
#include "ops/loss/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kPiece = 512;  // elements between two looks at the weights

template <class F>
HL_INLINE void with_rule(PointwiseLoss op, F f) {
  switch (op) {
    case PointwiseLoss::kMse:
      return f(MseRule{});
    case PointwiseLoss::kL1:
      return f(L1Rule{});
    case PointwiseLoss::kSmoothL1:
      return f(SmoothL1Rule{});
    case PointwiseLoss::kHuber:
      return f(HuberRule{});
    case PointwiseLoss::kBce:
      return f(BceRule{});
    case PointwiseLoss::kBceWithLogits:
      return f(BceWithLogitsRule{});
    case PointwiseLoss::kKlDiv:
      return f(KlDivRule{});
    case PointwiseLoss::kKlDivLog:
      return f(KlDivLogRule{});
    case PointwiseLoss::kHingeEmbedding:
      return f(HingeEmbeddingRule{});
    case PointwiseLoss::kHinge:
      return f(HingeRule{});
    case PointwiseLoss::kFocal:
      return f(FocalRule{});
  }
}

// The weights of elements [i, i + n): in place where they lie so, else repeated into `copy`.
template <class T>
HL_INLINE const T* weights_at(const T* w, const WeightAxes& axes, int64_t total, int64_t i,
                              int64_t n, T* copy) {
  if (!w) return nullptr;
  if (axes.size == total) return w + i;
  int64_t inside = i % axes.inner, at = i / axes.inner % axes.size;
  for (int64_t j = 0; j < n; ++j) {
    copy[j] = w[at];
    if (++inside == axes.inner) {
      inside = 0;
      if (++at == axes.size) at = 0;
    }
  }
  return copy;
}

// What a mean divides by.
template <class T>
double mean_divisor(const PointwiseLossShape& s, const T* weight) {
  const bool weighs = weight && (s.op == PointwiseLoss::kMse || s.op == PointwiseLoss::kL1);
  if (!weighs) return double(s.size);
  const double sum =
      sum_over<T>(s.weight.size, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
        return load_some(weight + i, lanes);
      });
  return sum * (double(s.size) / double(s.weight.size));
}

template <class T>
Plan pointwise_plan(const PointwiseLossShape& s, int arrays) {
  Plan p = {};
  p.algorithm = "pieces";
  p.shared_bytes = ceil_div(s.size, kLossGrain) * int64_t(sizeof(double));
  p.flops = 4.0 * double(s.size);
  p.bytes = arrays * double(s.size) * sizeof(T);
  return p;
}

}  // namespace

template <class T>
Plan pointwise_loss_forward_plan(const PointwiseLossShape& s) {
  return pointwise_plan<T>(s, s.reduction == Reduction::kNone ? 3 : 2);
}
template <class T>
void pointwise_loss_forward(Ctx& ctx, const PointwiseLossShape& s, const T* x, const T* t,
                            const T* weight, const T* pos_weight, T* loss) {
  auto* sums = reinterpret_cast<double*>(ctx.shared);
  const bool each = s.reduction == Reduction::kNone;
  const LossOptions<Vec<T>> options = {set1(T(s.p0)), set1(T(s.p1))};
  with_rule(s.op, [&](auto rule) __attribute__((always_inline)) {
    parallel_for(ctx, s.size, kLossGrain, [&](int64_t begin, int64_t end, int) {
      T copy[2][kPiece];
      double total = 0;
      for (int64_t i = begin; i < end; i += kPiece) {
        const int64_t n = least(kPiece, end - i);
        const T* w = weights_at(weight, s.weight, s.size, i, n, copy[0]);
        const T* pos = weights_at(pos_weight, s.pos_weight, s.size, i, n, copy[1]);
        Vec<T> sum = {};
        for_vectors<T>(n, [&](int64_t j, int64_t lanes) __attribute__((always_inline)) {
          const LossAt<Vec<T>> e = {load_some(x + i + j, lanes), load_some(t + i + j, lanes),
                                    pos ? load_some(pos + j, lanes) : set1(T(1))};
          Vec<T> l = rule.loss(e, options);
          if (w) l *= load_some(w + j, lanes);
          if (each) {
            store_some(loss + i + j, l, lanes);
          } else {
            sum += lanes == kLanes<T> ? l : first_of<T>(l, lanes, Vec<T>{});
          }
        });
        total += double(hsum(sum));
      }
      if (!each) sums[begin / kLossGrain] = total;
    });
  });
  if (each) return;
  double total = 0;
  for (int64_t i = 0; i < ceil_div(s.size, kLossGrain); ++i) total += sums[i];
  *loss = T(s.reduction == Reduction::kMean ? total / mean_divisor(s, weight) : total);
}

template <class T>
Plan pointwise_loss_backward_plan(const PointwiseLossShape& s) {
  Plan p = pointwise_plan<T>(s, s.reduction == Reduction::kNone ? 4 : 3);
  p.shared_bytes = 0;
  return p;
}
template <class T>
void pointwise_loss_backward(Ctx& ctx, const PointwiseLossShape& s, const T* dy, const T* x,
                             const T* t, const T* weight, const T* pos_weight, T* dx, T* dt) {
  const bool each = s.reduction == Reduction::kNone;
  const double divisor = s.reduction == Reduction::kMean ? mean_divisor(s, weight) : 1;
  const Vec<T> scale = each ? set1(T(1)) : set1(T(double(dy[0]) / divisor));
  const LossOptions<Vec<T>> options = {set1(T(s.p0)), set1(T(s.p1))};
  with_rule(s.op, [&](auto rule) __attribute__((always_inline)) {
    parallel_for(ctx, s.size, kLossGrain, [&](int64_t begin, int64_t end, int) {
      T copy[2][kPiece];
      for (int64_t i = begin; i < end; i += kPiece) {
        const int64_t n = least(kPiece, end - i);
        const T* w = weights_at(weight, s.weight, s.size, i, n, copy[0]);
        const T* pos = weights_at(pos_weight, s.pos_weight, s.size, i, n, copy[1]);
        for_vectors<T>(n, [&](int64_t j, int64_t lanes) __attribute__((always_inline)) {
          const LossAt<Vec<T>> e = {load_some(x + i + j, lanes), load_some(t + i + j, lanes),
                                    pos ? load_some(pos + j, lanes) : set1(T(1))};
          Vec<T> g = each ? load_some(dy + i + j, lanes) : scale;
          if (w) g *= load_some(w + j, lanes);
          const LossSlope<Vec<T>> slope = rule.slope(e, options);
          if (dx) store_some(dx + i + j, g * slope.x, lanes);
          if (dt) store_some(dt + i + j, g * slope.t, lanes);
        });
      }
    });
  });
}

HL_DEFINE_KERNEL(pointwise_loss_forward);
HL_DEFINE_KERNEL(pointwise_loss_backward);

}  // namespace hl::cpu::HL_ISA
