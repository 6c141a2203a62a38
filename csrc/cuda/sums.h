// Sums of two numbers at a time, in double: of all terms, or down the columns of (outer, rows, C).
#pragma once

#include "cuda/fold.h"

namespace hl::cuda {

struct Two {
  double a, b;
};

__device__ inline Two block_sum(Two v, void* room) {
  double* r = static_cast<double*>(room);
  const double a = block_reduce(v.a, r, Plus());
  return {a, block_reduce(v.b, r, Plus())};
}

// start(o) as f wants it, f(that, j) the terms of result o, finish(o, sum) its use.
template <class Start, class F, class Finish>
struct SumOfTwo {
  using Part = Two;
  Start begin;
  F f;
  Finish use;
  __device__ Two empty() const { return {0, 0}; }
  __device__ auto start(int64_t o) const { return begin(o); }
  template <class At>
  __device__ void take(Two& p, const At& at, int64_t j) const {
    merge(p, f(at, j));
  }
  __device__ void merge(Two& p, const Two& q) const { p.a += q.a, p.b += q.b; }
  __device__ void finish(int64_t o, const Two& p) const { use(o, p); }
};

// finish(S f(i) over [0, n)), by one thread; scratch of sum_bytes(1, n, false).
inline int64_t sum_bytes(int64_t outputs, int64_t count, bool columns) {
  return fold_cut(outputs, count, columns).pieces * outputs * int64_t(sizeof(Two));
}
template <class F, class Finish>
void sum_all(const Ctx& ctx, int64_t n, unsigned char* scratch, F f, Finish finish) {
  const auto begin = [=] __device__(int64_t) { return 0; };
  const auto term = [=] __device__(int, int64_t i) { return f(i); };
  const auto use = [=] __device__(int64_t, const Two& sum) { finish(sum); };
  using Sum = SumOfTwo<decltype(begin), decltype(term), decltype(use)>;
  fold(ctx, fold_cut(1, n, false), Sum{begin, term, use}, scratch);
}

// S_r f(o, r, c) for every o and c, (outer, C), at `sums`; scratch of sum_bytes(outer C, rows, true).
struct ColumnAt {
  int64_t o, c;
};
template <class F>
void sum_columns(const Ctx& ctx, int64_t outer, int64_t rows, int64_t C, unsigned char* scratch,
                 Two* sums, F f) {
  const auto begin = [=] __device__(int64_t i) { return ColumnAt{i / C, i % C}; };
  const auto term = [=] __device__(const ColumnAt& at, int64_t r) { return f(at.o, r, at.c); };
  const auto use = [=] __device__(int64_t i, const Two& sum) { sums[i] = sum; };
  using Sum = SumOfTwo<decltype(begin), decltype(term), decltype(use)>;
  fold(ctx, fold_cut(outer * C, rows, true), Sum{begin, term, use}, scratch);
}

}  // namespace hl::cuda
