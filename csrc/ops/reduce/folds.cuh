// The folds behind ops/reduce/reduce.h. Each walks the axes of a ReduceShape.
#pragma once

#include "cuda/fold.h"
#include "ops/reduce/reduce.h"

namespace hl::cuda {

// How slow it is to step along an axis.
inline int64_t pace(int64_t size, int64_t stride) {
  if (size == 1 || stride == 0) return int64_t(1) << 62;
  return stride < 0 ? -stride : stride;
}

inline FoldCut cut_of(const ReduceShape& s) {
  const int k = s.kept_dims - 1, r = s.reduced_dims - 1;
  return fold_cut(s.outputs, s.count,
                  pace(s.kept[k], s.kept_stride[k]) < pace(s.reduced[r], s.reduced_stride[r]));
}

// Where the elements are; `Out` is a result's type.
template <class T, class Out>
struct Reduction {
  ReduceShape s;
  const T* x;
  Out* y;
  __device__ int64_t start(int64_t o) const {
    return offset_of(s.kept_dims, s.kept, s.kept_stride, o);
  }
  __device__ T element(int64_t at, int64_t j) const {
    return x[at + offset_of(s.reduced_dims, s.reduced, s.reduced_stride, j)];
  }
  __device__ void put(int64_t o, Out v) const {
    y[offset_of(s.kept_dims, s.kept, s.y_stride, o)] = v;
  }
};

template <class T>
__device__ T magnitude_where(bool wanted, T x) {
  return wanted ? fabs(x) : x;
}

// Sums: of x, |x|, x^2, or of how many are (not) 0.
template <class T>
struct SumFold : Reduction<T, T>, Sums<T> {
  using Part = Total<T>;
  explicit SumFold(const Reduction<T, T>& r) : Reduction<T, T>(r) {}
  __device__ void take(Part& p, int64_t at, int64_t j) const {
    const T v = this->element(at, j);
    switch (this->s.op) {
      case ReduceOp::kNorm0:
        return p.add(v != 0 ? 1.0 : 0.0);
      case ReduceOp::kZeros:
        return p.add(v == 0 ? 1.0 : 0.0);
      case ReduceOp::kNorm1:
        return p.add(fabs(double(v)));
      case ReduceOp::kNorm2:
        return p.add(double(v) * double(v));
      default:
        return p.add(double(v));
    }
  }
  __device__ void finish(int64_t o, const Part& p) const {
    const double total = p.value();
    const ReduceOp op = this->s.op;
    this->put(o, T(op == ReduceOp::kMean    ? total / double(this->s.count)
                   : op == ReduceOp::kNorm2 ? sqrt(total)
                                            : total));
  }
};

template <class T>
struct ProductFold : Reduction<T, T> {
  using Part = double;
  explicit ProductFold(const Reduction<T, T>& r) : Reduction<T, T>(r) {}
  __device__ double empty() const { return 1; }
  __device__ void take(double& p, int64_t at, int64_t j) const {
    const T v = this->element(at, j);
    if (v != 0 || this->s.op == ReduceOp::kProd) p *= double(v);
  }
  __device__ void merge(double& p, const double& q) const { p *= q; }
  __device__ void finish(int64_t o, const double& p) const { this->put(o, T(p)); }
};

// The largest or smallest of x or |x|, NaN before all, and how often it occurs.
template <class T>
struct ExtremeFold : Reduction<T, T> {
  struct Part {
    T best;
    int64_t times;
  };
  bool largest, magnitude, ties;
  ExtremeFold(const Reduction<T, T>& r, bool largest, bool magnitude, bool ties)
      : Reduction<T, T>(r), largest(largest), magnitude(magnitude), ties(ties) {}
  __device__ Part empty() const { return {largest ? T(-INFINITY) : T(INFINITY), 0}; }
  __device__ void take(Part& p, int64_t at, int64_t j) const {
    const T v = this->element(at, j);
    merge(p, {magnitude ? fabs(v) : v, 1});
  }
  __device__ void merge(Part& p, const Part& q) const {
    if (q.best == p.best) {
      p.times += q.times;
    } else if (p.best == p.best && (q.best != q.best || (q.best > p.best) == largest)) {
      p = q;
    }
  }
  // No tie at all is a NaN among the inputs.
  __device__ void finish(int64_t o, const Part& p) const {
    this->put(o, !ties ? p.best : p.best == p.best ? T(p.times) : T(0));
  }
};

// Squared distances from a mean that is known, corrected for its rounding (Chan, Golub, LeVeque).
template <class T>
struct VarianceFold : Reduction<T, T> {
  struct Part {
    Total<T> squares;
    double rest;
  };
  const double* mean;
  VarianceFold(const Reduction<T, T>& r, const double* mean) : Reduction<T, T>(r), mean(mean) {}
  struct Start {
    int64_t at;
    double mean;
  };
  __device__ Part empty() const { return {}; }
  __device__ Start start(int64_t o) const { return {Reduction<T, T>::start(o), mean[o]}; }
  __device__ void take(Part& p, const Start& from, int64_t j) const {
    const double d = double(this->element(from.at, j)) - from.mean;
    p.squares.add(d * d);
    p.rest += d;
  }
  __device__ void merge(Part& p, const Part& q) const {
    p.squares.add(q.squares);
    p.rest += q.rest;
  }
  __device__ void finish(int64_t o, const Part& p) const {
    const double n = double(this->s.count), left = n - this->s.correction;
    const double squares = p.squares.value() - p.rest * (p.rest / n);
    const double var = (squares < 0 ? 0 : squares) / (left > 0 ? left : 0);
    this->put(o, T(this->s.op == ReduceOp::kStd ? sqrt(var) : var));
  }
};

// The mean of each result's elements, in double, to a list.
template <class T>
struct MeanFold : Reduction<T, T>, Sums<T> {
  using Part = Total<T>;
  double* mean;
  MeanFold(const Reduction<T, T>& r, double* mean) : Reduction<T, T>(r), mean(mean) {}
  __device__ void take(Part& p, int64_t at, int64_t j) const {
    p.add(double(this->element(at, j)));
  }
  __device__ void finish(int64_t o, const Part& p) const {
    mean[o] = p.value() / double(this->s.count);
  }
};

// The largest element so far and the sum of exp(x - it). An infinite or NaN largest is the result.
template <class T>
struct LogSumExpFold : Reduction<T, T> {
  struct Part {
    T most;
    double sum;
  };
  explicit LogSumExpFold(const Reduction<T, T>& r) : Reduction<T, T>(r) {}
  __device__ Part empty() const { return {T(-INFINITY), 0}; }
  __device__ void take(Part& p, int64_t at, int64_t j) const {
    merge(p, {this->element(at, j), 1});
  }
  __device__ void merge(Part& p, const Part& q) const {
    if (q.most > p.most || q.most != q.most) {
      p = {q.most, q.sum + p.sum * exp(p.most - q.most)};
    } else if (q.most > T(-INFINITY)) {
      p.sum += q.sum * exp(q.most - p.most);
    }
  }
  __device__ void finish(int64_t o, const Part& p) const {
    this->put(o, fabs(p.most) < T(INFINITY) ? T(p.most + log(p.sum)) : p.most);
  }
};

// The first of the largest or smallest, or the first NaN.
template <class T>
struct FirstFold : Reduction<T, int64_t> {
  struct Part {
    T best;
    int64_t index;  // -1: none yet
  };
  explicit FirstFold(const Reduction<T, int64_t>& r) : Reduction<T, int64_t>(r) {}
  __device__ Part empty() const { return {T(0), -1}; }
  __device__ void take(Part& p, int64_t at, int64_t j) const {
    const ReduceShape& s = this->s;
    merge(p, {this->element(at, j), offset_of(s.reduced_dims, s.reduced, s.reduced_index, j)});
  }
  __device__ void merge(Part& p, const Part& q) const {
    if (q.index < 0) return;
    const bool p_nan = p.best != p.best, q_nan = q.best != q.best;
    const bool same = q.best == p.best || (p_nan && q_nan);
    const bool better = this->s.op == ReduceOp::kArgMax ? q.best > p.best : q.best < p.best;
    if (p.index < 0 || (same ? q.index < p.index : !p_nan && (q_nan || better))) p = q;
  }
  __device__ void finish(int64_t o, const Part& p) const { this->put(o, p.index); }
};

// Calls f with the fold of an op that needs one pass.
template <class T, class F>
auto with_fold(const Reduction<T, T>& r, F f) {
  switch (r.s.op) {
    case ReduceOp::kProd:
    case ReduceOp::kProdNonZero:
      return f(ProductFold<T>(r));
    case ReduceOp::kMax:
    case ReduceOp::kTiesMax:
      return f(ExtremeFold<T>(r, true, false, r.s.op == ReduceOp::kTiesMax));
    case ReduceOp::kMin:
    case ReduceOp::kTiesMin:
      return f(ExtremeFold<T>(r, false, false, r.s.op == ReduceOp::kTiesMin));
    case ReduceOp::kNormInf:
    case ReduceOp::kTiesNormInf:
      return f(ExtremeFold<T>(r, true, true, r.s.op == ReduceOp::kTiesNormInf));
    case ReduceOp::kNormNegInf:
    case ReduceOp::kTiesNormNegInf:
      return f(ExtremeFold<T>(r, false, true, r.s.op == ReduceOp::kTiesNormNegInf));
    case ReduceOp::kLogSumExp:
      return f(LogSumExpFold<T>(r));
    default:
      return f(SumFold<T>(r));
  }
}

template <class T>
bool is_variance(const ReduceShape& s) {
  return s.op == ReduceOp::kVar || s.op == ReduceOp::kStd;
}

// Scratch of a reduction: parts of pieces, and the means that a variance needs first.
template <class T>
int64_t reduction_bytes(const ReduceShape& s) {
  const FoldCut c = cut_of(s);
  const int64_t most = sizeof(typename VarianceFold<T>::Part);
  return (c.pieces > 1 ? c.outputs * c.pieces * most : 0) +
         (is_variance<T>(s) ? s.outputs * int64_t(sizeof(double)) : 0);
}

// y = the reduction of x. With count = 0 it is what reducing nothing gives.
template <class T>
void reduce(const Ctx& ctx, const ReduceShape& s, const T* x, T* y, unsigned char* scratch) {
  const Reduction<T, T> r = {s, x, y};
  const FoldCut c = cut_of(s);
  if (is_variance<T>(s)) {
    double* mean = reinterpret_cast<double*>(scratch);
    scratch += s.outputs * int64_t(sizeof(double));
    fold(ctx, c, MeanFold<T>(r, mean), scratch);
    fold(ctx, c, VarianceFold<T>(r, mean), scratch);
  } else {
    with_fold(r, [&](const auto& f) { fold(ctx, c, f, scratch); });
  }
}

}  // namespace hl::cuda
