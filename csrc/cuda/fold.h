// Many numbers to one, for many results at a time: sums over any axes, largest elements, counts.
//
// A fold F is a struct of device functions:
//
//   Part                            what a thread keeps; up to 32 bytes, no constructor
//   Part empty() const              merging it changes nothing
//   auto start(o) const             what is known of result o before its elements are read
//   void take(Part&, start, j) const    adds element j of result o
//   void merge(Part&, const Part&) const
//   void finish(o, const Part&) const   writes result o
//
// A block's threads are `lanes` to a result and `width` results beside each other; their parts meet
// in shared memory as a tree. Where results are too few to fill a card, each is cut into pieces,
// whose parts a second launch merges. All of it follows from the shape: so do the bits.
#pragma once

#include "cuda/loop.h"

namespace hl::cuda {

struct FoldCut {
  int64_t outputs, count;
  bool columns;  // neighbouring threads have neighbouring results, else neighbouring elements
  int lanes, width;
  int64_t pieces, piece;  // of a result, and the elements of each
};

// `columns`: the results lie closer together in memory than the elements of one.
inline FoldCut fold_cut(int64_t outputs, int64_t count, bool columns) {
  constexpr int64_t kEnough = 512;   // blocks
  constexpr int64_t kLaneTerms = 4;  // before another lane is worth its merge
  FoldCut c = {outputs, count, columns, 1, kThreads, 1, count};
  const int64_t least = columns ? 32 : 1;
  while (c.width > 1 && (c.lanes * kLaneTerms < count || c.width > outputs) &&
         (c.width > least || c.width > outputs)) {
    c.lanes *= 2, c.width /= 2;
  }
  const int64_t blocks = ceil_div(outputs, int64_t(c.width)), most = count / (c.lanes * 16);
  if (blocks < kEnough && most > 1) {
    const int64_t wanted = blocks > 0 ? kEnough / blocks : 1;
    c.pieces = wanted < most ? wanted : most;
    if (c.pieces < 1) c.pieces = 1;
    c.piece = ceil_div(count, c.pieces);
    c.pieces = ceil_div(count, c.piece);
  }
  return c;
}

// The merging of pieces, as a fold.
template <class F>
struct FoldPieces {
  using Part = typename F::Part;
  F f;
  const Part* parts;
  int64_t pieces;
  __device__ Part empty() const { return f.empty(); }
  __device__ int64_t start(int64_t o) const { return o * pieces; }
  __device__ void take(Part& p, int64_t at, int64_t j) const { f.merge(p, parts[at + j]); }
  __device__ void merge(Part& p, const Part& q) const { f.merge(p, q); }
  __device__ void finish(int64_t o, const Part& p) const { f.finish(o, p); }
};

// With `parts`, each piece's part goes there instead of to finish().
template <class F>
__global__ void __launch_bounds__(kThreads) fold_kernel(FoldCut c, F f, typename F::Part* parts) {
  using Part = typename F::Part;
  HL_SHARED(Part, room);
  const int tid = int(threadIdx.x);
  const int lane = c.columns ? tid / c.width : tid % c.lanes;
  const int mine = c.columns ? tid % c.width : tid / c.lanes;
  const int step = c.columns ? c.width : 1;  // from one lane of a result to its next
  const int64_t tasks = ceil_div(c.outputs, int64_t(c.width)) * c.pieces;
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    const int64_t piece = task % c.pieces, o = task / c.pieces * c.width + mine;
    Part part = f.empty();
    if (o < c.outputs) {
      const auto at = f.start(o);
      const int64_t stop = (piece + 1) * c.piece, end = stop < c.count ? stop : c.count;
      for (int64_t j = piece * c.piece + lane; j < end; j += c.lanes) f.take(part, at, j);
    }
    room[tid] = part;
    for (int half = c.lanes / 2; half > 0; half /= 2) {
      __syncthreads();
      if (lane < half) f.merge(room[tid], room[tid + half * step]);
    }
    if (lane == 0 && o < c.outputs) {
      if (parts) {
        parts[o * c.pieces + piece] = room[tid];
      } else {
        f.finish(o, room[tid]);
      }
    }
    __syncthreads();  // room may still be read
  }
}

template <class F>
void fold_once(const Ctx& ctx, const FoldCut& c, const F& f, typename F::Part* parts) {
  HL_LAUNCH((fold_kernel<F>), grid_of(ceil_div(c.outputs, int64_t(c.width)) * c.pieces), kThreads,
            kThreads * sizeof(typename F::Part), ctx.stream, c, f, parts);
}

// What fold() wants of scratch.
template <class F>
int64_t fold_bytes(const FoldCut& c) {
  return c.pieces > 1 ? c.outputs * c.pieces * int64_t(sizeof(typename F::Part)) : 0;
}

template <class F>
void fold(const Ctx& ctx, const FoldCut& c, const F& f, unsigned char* scratch) {
  if (c.outputs <= 0) return;
  if (c.pieces == 1) {
    fold_once(ctx, c, f, nullptr);
  } else {
    auto* parts = reinterpret_cast<typename F::Part*>(scratch);
    fold_once(ctx, c, f, parts);
    FoldCut last = fold_cut(c.outputs, c.pieces, false);
    last.pieces = 1, last.piece = c.pieces;
    fold_once(ctx, last, FoldPieces<F>{f, parts, c.pieces}, nullptr);
  }
}

// ---- sums ----------------------------------------------------------------------------------------
// Of float32 in double; of float64 as a pair high + low (Knuth's two-sum).
template <class T>
struct Total {
  double sum;
  __device__ void add(double x) { sum += x; }
  __device__ void add(const Total& t) { sum += t.sum; }
  __device__ double value() const { return sum; }
};
template <>
struct Total<double> {
  double high, low;
  __device__ void add(double x) {
    const double sum = high + x, back = sum - high;
    low += (high - (sum - back)) + (x - back);
    high = sum;
  }
  __device__ void add(const Total& t) {
    add(t.high);
    low += t.low;
  }
  // An infinite sum has NaN for its rounding error.
  __device__ double value() const { return fabs(high) < INFINITY ? high + low : high; }
};

// What folds that are sums share.
template <class T>
struct Sums {
  using Part = Total<T>;
  __device__ Part empty() const { return {}; }
  __device__ void merge(Part& p, const Part& q) const { p.add(q); }
};

// y (columns) = the sum of the rows of x (rows, columns).
template <class T>
struct RowSums : Sums<T> {
  const T* x;
  int64_t columns;
  T* y;
  __device__ int64_t start(int64_t o) const { return o; }
  __device__ void take(Total<T>& p, int64_t o, int64_t row) const { p.add(x[row * columns + o]); }
  __device__ void finish(int64_t o, const Total<T>& p) const { y[o] = T(p.value()); }
};
template <class T>
int64_t sum_rows_bytes(int64_t rows, int64_t columns) {
  return fold_bytes<RowSums<T>>(fold_cut(columns, rows, true));
}
template <class T>
void sum_rows(const Ctx& ctx, int64_t rows, int64_t columns, const T* x, T* y,
              unsigned char* scratch) {
  fold(ctx, fold_cut(columns, rows, true), RowSums<T>{{}, x, columns, y}, scratch);
}

}  // namespace hl::cuda
