#include "kernel.h"
#include "ops/loss/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

// How much row i counts in a mean.
template <class T>
HL_INLINE double row_weight(const ClassLossShape& s, const int64_t* labels, const T* weight,
                            int64_t i) {
  if (!labels) return 1;
  if (labels[i] == s.ignore_index) return 0;
  return weight ? double(weight[labels[i]]) : 1;
}

template <class T>
double mean_divisor(const ClassLossShape& s, const int64_t* labels, const T* weight) {
  if (!labels) return double(s.N);
  if (!weight) {
    int64_t counted = 0;
    for (int64_t i = 0; i < s.N; ++i) counted += labels[i] != s.ignore_index;
    return double(counted);
  }
  double sum = 0;
  for (int64_t i = 0; i < s.N; ++i) sum += row_weight(s, labels, weight, i);
  return sum;
}

template <class T>
double total_weight(const ClassLossShape& s, const T* weight) {
  if (!weight) return double(s.C);
  double sum = 0;
  for (int64_t c = 0; c < s.C; ++c) sum += double(weight[c]);
  return sum;
}

// w[c] q[c], the factor of -logp[c] with soft targets; 0 in lanes beyond the row.
template <class T>
struct SoftFactor {
  const T *soft, *weight;
  Vec<T> keep, even;  // 1 - e, e / C

  HL_INLINE SoftFactor(const ClassLossShape& s, const T* soft, const T* weight)
      : soft(soft),
        weight(weight),
        keep(set1(T(1 - s.smoothing))),
        even(set1(T(s.smoothing / double(s.C)))) {}

  HL_INLINE Vec<T> at(int64_t i, int64_t lanes) const {
    Vec<T> q = fma(keep, load_some(soft + i, lanes), even);
    if (weight) q *= load_some(weight + i, lanes);
    return lanes == kLanes<T> ? q : first_of<T>(q, lanes, Vec<T>{});
  }
};

// S factor (x - m) over a row, where a lane beyond it is 0.
template <class T, class F>
HL_INLINE double weighted_gap(const T* x, int64_t n, T m, F factor) {
  const Vec<T> shift = set1(m);
  return sum_over<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> v = factor(i, lanes) * (load_some(x + i, lanes) - shift);
    return lanes == kLanes<T> ? v : first_of<T>(v, lanes, Vec<T>{});
  });
}

// Of every row: its largest number, the sum of exp(x - that), and the sum's logarithm.
template <class T>
struct Peaks {
  T m[kLanes<T>], sum[kLanes<T>];
  double low[kLanes<T>];
};

// Of up to L rows. Rows shorter than a vector are turned, so that lanes are rows.
template <class T>
HL_INLINE void find_peaks(const T* x, int64_t rows, int64_t C, Peaks<T>& p) {
  constexpr int L = kLanes<T>;
  if (C > L || C == 0) {
    for (int64_t i = 0; i < rows; ++i) {
      p.m[i] = fold_run<T, Same, Larger>(x + i * C, C);
      const double sum = sum_exp(x + i * C, C, p.m[i]);
      p.sum[i] = T(sum), p.low[i] = log_of<double>(sum);
    }
    return;
  }
  Vec<T> block[L];
  for (int i = 0; i < L; ++i) block[i] = i < rows ? load_some(x + i * C, C) : zero<T>();
  transpose<T>(block);
  Vec<T> m = block[0], sum = {};
  for (int64_t c = 1; c < C; ++c) m = max(m, block[c]);
  for (int64_t c = 0; c < C; ++c) sum += exp(block[c] - m);
  const Vec<T> low = log(sum);
  store(p.m, m), store(p.sum, sum);
  for (int i = 0; i < L; ++i) p.low[i] = double(low[i]);
}

template <class T>
HL_INLINE double row_loss(const ClassLossShape& s, const T* x, const int64_t* label, const T* soft,
                          const T* weight, double all_weights, T m, double low) {
  if (soft) {
    const SoftFactor<T> f(s, soft, weight);
    const double total =
        sum_over<T>(s.C, [&](int64_t i, int64_t lanes)
                             __attribute__((always_inline)) { return f.at(i, lanes); });
    return total * low -
           weighted_gap<T>(x, s.C, m, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
             return f.at(i, lanes);
           });
  }
  const double w = weight ? double(weight[*label]) : 1;
  const double hard = w * (low - (double(x[*label]) - double(m)));
  if (s.smoothing == 0) return hard;
  const double gap =
      weighted_gap<T>(x, s.C, m, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
        return weight ? load_some(weight + i, lanes) : set1(T(1));
      });
  return (1 - s.smoothing) * hard + s.smoothing / double(s.C) * (all_weights * low - gap);
}

// The gradient of rows [begin, end) of less than a vector, as the classes of a pixel are: their numbers
// stand in a row, each beside what its row shifts and scales it by. share(i) is a row's part of the loss.
template <class T, class F>
HL_INLINE void short_rows_gradient(const ClassLossShape& s, int64_t begin, int64_t end, const T* x,
                                   const int64_t* labels, const T* weight, const T* saved, T* dx,
                                   const F& share) {
  constexpr int64_t L = kLanes<T>, kRows = 64;
  T m[kRows * L], scale[kRows * L], hit[kRows];
  for (int64_t i0 = begin; i0 < end; i0 += kRows) {
    const int64_t rows = least(kRows, end - i0), n = rows * s.C;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = i0 + r;
      const bool counts = labels[i] != s.ignore_index;
      const double g = share(i) * row_weight(s, labels, weight, i);
      const T factor = counts ? T(g * (1 / double(saved[2 * i + 1]))) : T(0);
      for (int64_t c = 0; c < s.C; ++c) m[r * s.C + c] = saved[2 * i], scale[r * s.C + c] = factor;
      hit[r] = T(g);
    }
    const T* from = x + i0 * s.C;
    T* to = dx + i0 * s.C;
    for_vectors<T>(n, [&](int64_t k, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> e = exp(load_some(from + k, lanes) - load_some(m + k, lanes));
      store_some(to + k, load_some(scale + k, lanes) * e, lanes);
    });
    for (int64_t r = 0; r < rows; ++r, to += s.C) {
      if (labels[i0 + r] != s.ignore_index) {
        to[labels[i0 + r]] -= hit[r];
      } else {
        for (int64_t c = 0; c < s.C; ++c) to[c] = 0;
      }
    }
  }
}

}  // namespace

template <class T>
Plan cross_entropy_forward_plan(const ClassLossShape& s) {
  return row_loss_plan("rows", s.N, s.C, double(s.N) * double(s.C) * sizeof(T));
}
template <class T>
void cross_entropy_forward(Ctx& ctx, const ClassLossShape& s, const T* x, const int64_t* labels,
                           const T* soft, const T* weight, T* loss, T* saved) {
  const double all_weights = s.smoothing != 0 && !soft ? total_weight(s, weight) : 0;
  const auto rows = [&](int64_t begin, int64_t end, int, auto take) {
    Peaks<T> peaks;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t k = (i - begin) % kLanes<T>;
      if (k == 0) find_peaks(x + i * s.C, least(kLanes<T>, end - i), s.C, peaks);
      saved[2 * i] = peaks.m[k], saved[2 * i + 1] = peaks.sum[k];
      const int64_t* label = labels ? labels + i : nullptr;
      if (label && *label == s.ignore_index) {
        take(i, RowSum{0, 0});
        continue;
      }
      const T* target = soft ? soft + i * s.C : nullptr;
      take(i, RowSum{row_loss(s, x + i * s.C, label, target, weight, all_weights, peaks.m[k],
                              peaks.low[k]),
                     row_weight(s, labels, weight, i)});
    }
  };
  reduce_rows<T>(ctx, s.N, s.C, s.reduction, loss, rows);
}

template <class T>
Plan cross_entropy_backward_plan(const ClassLossShape& s) {
  Plan p = row_loss_plan("rows", s.N, s.C, 2 * double(s.N) * double(s.C) * sizeof(T));
  p.shared_bytes = 0;
  return p;
}
template <class T>
void cross_entropy_backward(Ctx& ctx, const ClassLossShape& s, const T* dy, const T* x,
                            const int64_t* labels, const T* soft, const T* weight, const T* saved,
                            T* dx) {
  const double divisor = s.reduction == Reduction::kMean ? mean_divisor(s, labels, weight) : 1;
  const double even = s.smoothing / double(s.C);
  const double all_weights = s.smoothing != 0 && !soft ? total_weight(s, weight) : 0;
  const auto share = [&](int64_t i) {
    return double(s.reduction == Reduction::kNone ? dy[i] : dy[0]) / divisor;
  };
  const bool short_rows = labels && s.smoothing == 0 && s.C < kLanes<T>;
  parallel_for(ctx, s.N, row_grain(s.C), [&](int64_t begin, int64_t end, int) {
    if (short_rows) {
      return short_rows_gradient(s, begin, end, x, labels, weight, saved, dx, share);
    }
    for (int64_t i = begin; i < end; ++i) {
      const T* row = x + i * s.C;
      T* to = dx + i * s.C;
      if (labels && labels[i] == s.ignore_index) {
        for (int64_t c = 0; c < s.C; ++c) to[c] = 0;
        continue;
      }
      const double g = share(i);
      const Vec<T> m = set1(saved[2 * i]), d = set1(T(g));
      const double inverse = 1 / double(saved[2 * i + 1]);
      auto softmax = [=](int64_t c, int64_t lanes) __attribute__((always_inline)) {
        return exp(load_some(row + c, lanes) - m);
      };
      if (soft) {
        const SoftFactor<T> f(s, soft + i * s.C, weight);
        const double total =
            sum_over<T>(s.C, [&](int64_t c, int64_t lanes)
                                 __attribute__((always_inline)) { return f.at(c, lanes); });
        const Vec<T> a = set1(T(total * inverse));
        for_vectors<T>(s.C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
          store_some(to + c, d * (a * softmax(c, lanes) - f.at(c, lanes)), lanes);
        });
        continue;
      }
      const double w = weight ? double(weight[labels[i]]) : 1;
      const double hard = (1 - s.smoothing) * w;
      const Vec<T> a = set1(T(g * (hard + even * all_weights) * inverse)), b = set1(T(g * even));
      for_vectors<T>(s.C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
        Vec<T> v = a * softmax(c, lanes);
        if (s.smoothing != 0) v -= weight ? b * load_some(weight + c, lanes) : b;
        store_some(to + c, v, lanes);
      });
      to[labels[i]] -= T(g * hard);
    }
  });
}

template <class T>
Plan nll_loss_forward_plan(const ClassLossShape& s) {
  return row_loss_plan("rows", s.N, 1, double(s.N) * 2 * sizeof(T));
}
template <class T>
void nll_loss_forward(Ctx& ctx, const ClassLossShape& s, const T* logp, const int64_t* labels,
                      const T* weight, T* loss) {
  reduce_losses<T>(ctx, s.N, 1, s.reduction, loss, [&](int64_t i, int) {
    const double w = row_weight(s, labels, weight, i);
    if (labels[i] == s.ignore_index) return RowSum{0, 0};
    return RowSum{-w * double(logp[i * s.C + labels[i]]), w};
  });
}

template <class T>
Plan nll_loss_backward_plan(const ClassLossShape& s) {
  Plan p = row_loss_plan("rows", s.N, s.C, double(s.N) * double(s.C) * sizeof(T));
  p.shared_bytes = 0;
  return p;
}
template <class T>
void nll_loss_backward(Ctx& ctx, const ClassLossShape& s, const T* dy, const int64_t* labels,
                       const T* weight, T* dlogp) {
  const double divisor = s.reduction == Reduction::kMean ? mean_divisor(s, labels, weight) : 1;
  parallel_for(ctx, s.N, row_grain(s.C), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T* to = dlogp + i * s.C;
      for (int64_t c = 0; c < s.C; ++c) to[c] = 0;
      if (labels[i] == s.ignore_index) continue;
      const double g = double(s.reduction == Reduction::kNone ? dy[i] : dy[0]) / divisor;
      to[labels[i]] = T(-g * row_weight(s, labels, weight, i));
    }
  });
}

HL_DEFINE_KERNEL(cross_entropy_forward);
HL_DEFINE_KERNEL(cross_entropy_backward);
HL_DEFINE_KERNEL(nll_loss_forward);
HL_DEFINE_KERNEL(nll_loss_backward);

}  // namespace hl::cpu::HL_ISA
