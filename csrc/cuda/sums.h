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

// What the sums below want of scratch.
inline int64_t sum_bytes(int64_t outputs, int64_t count, bool columns, int pack = 1) {
  const FoldCut cut = fold_cut(outputs / pack, count, columns);
  return cut.pieces * outputs * int64_t(sizeof(Two));
}

// finish(S f(i) over [0, n)), by one thread; scratch of sum_bytes(1, n, false).
template <class F, class Finish>
void sum_all(const Ctx& ctx, int64_t n, unsigned char* scratch, F f, Finish finish) {
  const auto begin = [=] __device__(int64_t) { return 0; };
  const auto term = [=] __device__(int, int64_t i) { return f(i); };
  const auto use = [=] __device__(int64_t, const Two& sum) { finish(sum); };
  using Sum = SumOfTwo<decltype(begin), decltype(term), decltype(use)>;
  fold(ctx, fold_cut(1, n, false), Sum{begin, term, use}, scratch);
}

// ---- down columns ----------------------------------------------------------------------------------
// A thread takes kPack columns beside each other: start(o, first column) makes what f knows of them,
// f(that, r, add) calls add(e, two numbers) for column e of the pack in row r. The sums, (outer, C), go
// to `sums`; scratch of sum_bytes(outer C, rows, true, kPack).
template <int kPack, class Start, class F>
struct PackSums {
  struct Part {
    Two v[kPack];
  };
  int64_t packs;  // of a row
  Start begin;
  F f;
  Two* sums;
  __device__ Part empty() const { return {}; }
  __device__ auto start(int64_t i) const { return begin(i / packs, i % packs * kPack); }
  template <class At>
  __device__ void take(Part& p, const At& at, int64_t r) const {
    f(at, r, [&](int e, const Two& term) { p.v[e].a += term.a, p.v[e].b += term.b; });
  }
  __device__ void merge(Part& p, const Part& q) const {
#pragma unroll
    for (int e = 0; e < kPack; ++e) p.v[e].a += q.v[e].a, p.v[e].b += q.v[e].b;
  }
  __device__ void finish(int64_t i, const Part& p) const {
#pragma unroll
    for (int e = 0; e < kPack; ++e) sums[i * kPack + e] = p.v[e];
  }
};
template <int kPack, class Start, class F>
void sum_packs(const Ctx& ctx, int64_t outer, int64_t rows, int64_t C, unsigned char* scratch,
               Two* sums, Start start, F f) {
  fold(ctx, fold_cut(outer * C / kPack, rows, true),
       PackSums<kPack, Start, F>{C / kPack, start, f, sums}, scratch);
}

// S_r f(o, r, c), a column a thread.
struct ColumnAt {
  int64_t o, c;
};
template <class F>
void sum_columns(const Ctx& ctx, int64_t outer, int64_t rows, int64_t C, unsigned char* scratch,
                 Two* sums, F f) {
  sum_packs<1>(
      ctx, outer, rows, C, scratch, sums,
      [=] __device__(int64_t o, int64_t c) { return ColumnAt{o, c}; },
      [=] __device__(const ColumnAt& at, int64_t r, auto add) { add(0, f(at.o, r, at.c)); });
}

}  // namespace hl::cuda
