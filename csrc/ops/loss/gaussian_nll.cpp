#include "kernel.h"
#include "ops/loss/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T>
Plan nll_plan(const GaussianNllShape& s, int arrays) {
  Plan p = {};
  p.algorithm = "elements";
  p.shared_bytes = ceil_div(s.size, kLossGrain) * int64_t(sizeof(double));
  p.flops = 6.0 * double(s.size);
  p.bytes = arrays * double(s.size) * sizeof(T);
  return p;
}

// max that keeps NaN
template <class V>
HL_INLINE V at_least(V x, V low) {
  return select(x < low, low, x);
}

}  // namespace

template <class T>
Plan gaussian_nll_forward_plan(const GaussianNllShape& s) {
  return nll_plan<T>(s, s.reduction == Reduction::kNone ? 4 : 3);
}
template <class T>
void gaussian_nll_forward(Ctx& ctx, const GaussianNllShape& s, const T* x, const T* t, const T* var,
                          T* loss) {
  auto* sums = reinterpret_cast<double*>(ctx.shared);
  const bool each = s.reduction == Reduction::kNone;
  const Vec<T> eps = set1(T(s.eps)), half = set1(T(0.5)), constant = set1(T(s.constant));
  const auto at = [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> d = load_some(x + i, lanes) - load_some(t + i, lanes);
    const Vec<T> u = at_least(load_some(var + i, lanes), eps);
    return fma(half, log(u) + d * d / u, constant);
  };
  parallel_for(ctx, s.size, kLossGrain, [&](int64_t begin, int64_t end, int) {
    if (each) {
      for_vectors<T>(end - begin, [&](int64_t j, int64_t lanes) __attribute__((always_inline)) {
        store_some(loss + begin + j, at(begin + j, lanes), lanes);
      });
      return;
    }
    sums[begin / kLossGrain] =
        sum_over<T>(end - begin, [&](int64_t j, int64_t lanes) __attribute__((always_inline)) {
          const Vec<T> l = at(begin + j, lanes);
          return lanes == kLanes<T> ? l : first_of<T>(l, lanes, Vec<T>{});
        });
  });
  if (each) return;
  double total = 0;
  for (int64_t i = 0; i < ceil_div(s.size, kLossGrain); ++i) total += sums[i];
  *loss = T(s.reduction == Reduction::kMean ? total / double(s.size) : total);
}

template <class T>
Plan gaussian_nll_backward_plan(const GaussianNllShape& s) {
  return nll_plan<T>(s, s.reduction == Reduction::kNone ? 7 : 6);
}
template <class T>
void gaussian_nll_backward(Ctx& ctx, const GaussianNllShape& s, const T* dy, const T* x, const T* t,
                           const T* var, T* dx, T* dt, T* dvar) {
  const bool each = s.reduction == Reduction::kNone;
  const double divisor = s.reduction == Reduction::kMean ? double(s.size) : 1;
  const Vec<T> scale = each ? set1(T(1)) : set1(T(double(dy[0]) / divisor));
  const Vec<T> eps = set1(T(s.eps)), half = set1(T(0.5)), one = set1(T(1));
  parallel_for(ctx, s.size, kLossGrain, [&](int64_t begin, int64_t end, int) {
    for_vectors<T>(end - begin, [&](int64_t j, int64_t lanes) __attribute__((always_inline)) {
      const int64_t i = begin + j;
      const Vec<T> d = load_some(x + i, lanes) - load_some(t + i, lanes);
      const Vec<T> u = at_least(load_some(var + i, lanes), eps);
      const Vec<T> g = each ? load_some(dy + i, lanes) : scale;
      const Vec<T> slope = d / u;
      if (dx) store_some(dx + i, g * slope, lanes);
      if (dt) store_some(dt + i, -(g * slope), lanes);
      if (dvar) store_some(dvar + i, g * half * (one - d * slope) / u, lanes);
    });
  });
}

HL_DEFINE_KERNEL(gaussian_nll_forward);
HL_DEFINE_KERNEL(gaussian_nll_backward);

}  // namespace hl::cpu::HL_ISA
