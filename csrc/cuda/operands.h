// What products by plain threads and on tensor cores share: how operands are given, which tile of C a
// block makes.
#pragma once

#include <type_traits>

#include "context.h"
#include "cuda/gpu.h"

namespace hl::cuda {

// gemm() takes functions of (batch, i, k), (batch, k, j) and (batch, i, j, sum), or objects whose
// of(batch) gives a function without the batch: what belongs to a batch is then computed once a block.
// Matrices that lie in memory are such objects, and large products of them have larger tiles.

struct Alone {  // the one matrix of its kind: the starts of a product without batches
  __device__ int64_t operator()(int64_t) const { return 0; }
};

template <class T, class Starts = Alone>
struct Strided {
  T* data;
  int64_t rs, cs;  // from a row to the next, from a column to the next
  Starts starts = {};

  struct Matrix {
    T* data;
    int64_t rs, cs;
    __device__ T operator()(int64_t i, int64_t j) const { return data[i * rs + j * cs]; }
    __device__ T* at(int64_t i, int64_t j) const { return data + i * rs + j * cs; }
  };
  __device__ Matrix of(int64_t batch) const { return {data + starts(batch), rs, cs}; }
};

template <class F>
struct OfBatch {
  const F& f;
  int64_t batch;
  template <class... Args>
  __device__ auto operator()(Args... args) const {
    return f(batch, args...);
  }
};

template <class F>
__device__ auto of_batch(const F& f, int64_t batch) {
  if constexpr (requires { f.of(batch); }) {
    return f.of(batch);
  } else {
    return OfBatch<F>{f, batch};
  }
}

// Whether neighbouring threads should read neighbouring columns of an operand, or rows.
template <class F>
bool reads_columns(const F& f) {
  if constexpr (requires { f.cs; }) return f.cs == 1 || f.rs != 1;
  return true;
}

// The same as a constant: use(std::true_type()) or use(std::false_type()). Only what lies in memory has
// the choice.
template <class F, class Use>
void with_columns(const F& f, Use use) {
  if constexpr (requires { f.cs; }) {
    if (!reads_columns(f)) return use(std::false_type());
  }
  use(std::true_type());
}

// Two neighbours, at once where they lie so.
template <class T>
__device__ inline void put_two(T* to, T first, T second) {
  struct alignas(2 * sizeof(T)) Two {
    T first, second;
  };
  if (uintptr_t(to) % sizeof(Two) == 0) {
    *reinterpret_cast<Two*>(to) = {first, second};
  } else {
    to[0] = first, to[1] = second;
  }
}

// ---- tiles of C ------------------------------------------------------------------------------------
struct GemmGrid {
  int64_t M, N, K;
  unsigned rows, cols;  // tiles of C
  int steps;            // along k
  bool a_columns, b_columns;
};

struct GemmTile {
  unsigned i, j, batch;
};

// Blocks that run at the same time share rows of a and columns of b: eight tiles down, then right.
__device__ inline GemmTile gemm_tile(const GemmGrid& g, unsigned number) {
  constexpr unsigned kGroup = 8;
  const unsigned tile = number % (g.rows * g.cols), batch = number / (g.rows * g.cols);
  const unsigned first = tile / (kGroup * g.cols) * kGroup, in_group = tile % (kGroup * g.cols);
  const unsigned high = g.rows - first < kGroup ? g.rows - first : kGroup;
  return {first + in_group % high, in_group / high, batch};
}
__device__ inline GemmTile gemm_tile(const GemmGrid& g) { return gemm_tile(g, blockIdx.x); }

template <class A, class B>
GemmGrid gemm_grid(int64_t M, int64_t N, int64_t K, int64_t side, int64_t depth, const A& a,
                   const B& b) {
  GemmGrid g = {};
  g.M = M, g.N = N, g.K = K;
  g.rows = unsigned(ceil_div(M, side));
  g.cols = unsigned(ceil_div(N, side));
  g.steps = int(ceil_div(K, depth));
  g.a_columns = reads_columns(a);
  g.b_columns = reads_columns(b);
  return g;
}

}  // namespace hl::cuda
