// Matrix products: C[i, j] = sum_k A[i, k] B[k, j], for any way to read A and B and any use of C. By
// plain threads, or on tensor cores (gemm_mma.h) where the call allows float32 to be rounded.
//
// By plain threads:
// A block makes one tile of C in steps of kDepth along k. While its threads multiply one step from
// shared memory, their loads of the next are under way. Operands are asked only inside the matrices,
// so that a convolution is this loop with an `a` that looks up pixels; C goes back through shared
// memory, each sum is stored once, neighbouring threads hold neighbouring j. Sums run in the order of
// k: the bits depend neither on the tile nor on the grid.
#pragma once

#include "cuda/gemm_mma.h"

namespace hl::cuda {

constexpr int kTile = 64, kDepth = 16;

// A thread's share of an operand's steps: elements (row + e * down, col + e * right), zero outside
// the matrix, and the same again a step further. In memory that is a pointer and three distances.
template <class T, class F>
struct Share {
  F f;
  int64_t row, col, rows, cols;
  int down, right;

  template <int Loads>
  __device__ void load(T* next, int64_t by_rows, int64_t by_cols) {
#pragma unroll
    for (int e = 0; e < Loads; ++e) {
      const int64_t r = row + e * down, c = col + e * right;
      next[e] = r < rows && c < cols ? f(r, c) : T(0);
    }
    row += by_rows, col += by_cols;
  }
};
template <class T, class F>
  requires requires(F f) { f.at(0, 0); }
struct Share<T, F> {
  const T* at;
  int64_t apart, rs, cs;
  int rows, cols;  // left from here; negative outside
  int down, right;

  __device__ Share(const F& f, int64_t row, int64_t col, int64_t rows, int64_t cols, int down,
                   int right)
      : at(f.at(row, col)),
        apart(down * f.rs + right * f.cs),
        rs(f.rs),
        cs(f.cs),
        rows(left(rows - row)),
        cols(left(cols - col)),
        down(down),
        right(right) {}
  __device__ static int left(int64_t n) { return int(n < INT32_MAX ? n : INT32_MAX); }

  template <int Loads>
  __device__ void load(T* next, int by_rows, int by_cols) {
    const T* from = at;
#pragma unroll
    for (int e = 0; e < Loads; ++e, from += apart) {
      next[e] = e * down < rows && e * right < cols ? *from : T(0);
    }
    at += by_rows * rs + by_cols * cs;
    rows -= by_rows, cols -= by_cols;
  }
};

// ---- the kernel ------------------------------------------------------------------------------------
template <class T, int Side, int Depth>
struct GemmRoom {
  static constexpr int kLine = Side + 4;  // stays aligned for loads of 16 bytes
  static constexpr int kRows = sizeof(T) * Side * Side <= 32768 ? Side : 32;  // of C at a time
  union {
    struct {
      T a[2][Depth][kLine], b[2][Depth][kLine];
    };
    T c[kRows][Side];
  };
};

// 16 x 16 threads, a warp is 4 x 8 of them. Each has Each x Each sums, in groups of 4 x 4 that lie 64
// apart: what a warp reads of shared memory is then one piece without bank conflicts.
template <class T, int Each, int Depth, class A, class B, class Store>
__global__ void __launch_bounds__(kThreads, 2)
    gemm_kernel(const GemmGrid g, const __grid_constant__ A a_all, const __grid_constant__ B b_all,
                const __grid_constant__ Store store_all) {
  constexpr int kSide = 16 * Each, kLoads = kSide * Depth / kThreads;
  using Room = GemmRoom<T, kSide, Depth>;
  HL_SHARED(Room, room);
  const int tid = int(threadIdx.x), warp = tid / kWarp, lane = tid % kWarp;
  const int row = (warp / 2 * 4 + lane / 8) * 4, col = (warp % 2 * 8 + lane % 8) * 4;

  const GemmTile tile = gemm_tile(g);

  // Where this thread's first element goes, and how far apart the others are.
  const int ai = g.a_columns ? tid / Depth : tid % kSide,
            ak = g.a_columns ? tid % Depth : tid / kSide;
  const int bk = g.b_columns ? tid / kSide : tid % Depth,
            bj = g.b_columns ? tid % kSide : tid / Depth;
  const int a_down = g.a_columns ? kThreads / Depth : 0,
            a_right = g.a_columns ? 0 : kThreads / kSide;
  const int b_down = g.b_columns ? kThreads / kSide : 0,
            b_right = g.b_columns ? 0 : kThreads / Depth;
  const int a_apart = a_down + a_right * Room::kLine, b_apart = b_right + b_down * Room::kLine;
  const auto a_matrix = of_batch(a_all, tile.batch);
  const auto b_matrix = of_batch(b_all, tile.batch);
  Share<T, decltype(of_batch(a_all, tile.batch))> a(a_matrix, int64_t(tile.i) * kSide + ai, ak, g.M,
                                                    g.K, a_down, a_right);
  Share<T, decltype(of_batch(b_all, tile.batch))> b(b_matrix, bk, int64_t(tile.j) * kSide + bj, g.K,
                                                    g.N, b_down, b_right);

  T next_a[kLoads], next_b[kLoads];
  T sum[Each][Each] = {};
  a.template load<kLoads>(next_a, 0, Depth);
  b.template load<kLoads>(next_b, Depth, 0);
  for (int left = g.steps; left > 0; --left) {
    const int half = left & 1;
    T *const to_a = &room->a[half][ak][ai], *const to_b = &room->b[half][bk][bj];
#pragma unroll
    for (int e = 0; e < kLoads; ++e) {
      to_a[e * a_apart] = next_a[e];
      to_b[e * b_apart] = next_b[e];
    }
    __syncthreads();  // the other half is free: all have multiplied it before they came here
    if (left > 1) {
      a.template load<kLoads>(next_a, 0, Depth);
      b.template load<kLoads>(next_b, Depth, 0);
    }
#pragma unroll
    for (int k = 0; k < Depth; ++k) {
      T x[Each], y[Each];
#pragma unroll
      for (int e = 0; e < Each; ++e) {
        x[e] = room->a[half][k][e / 4 * 64 + row + e % 4];
        y[e] = room->b[half][k][e / 4 * 64 + col + e % 4];
      }
#pragma unroll
      for (int i = 0; i < Each; ++i) {
#pragma unroll
        for (int j = 0; j < Each; ++j) sum[i][j] += x[i] * y[j];
      }
    }
  }
  const auto store = of_batch(store_all, tile.batch);
  // The tile in parts of kRows rows: a loop that is not unrolled, `store` may be large.
  constexpr int kRows = Room::kRows;
#pragma unroll 1
  for (int r0 = 0; r0 < kSide; r0 += kRows) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Each; ++i) {
      const int r = i / 4 * 64 + row + i % 4 - r0;
      if (r < 0 || r >= kRows) continue;
#pragma unroll
      for (int j = 0; j < Each; ++j) room->c[r][j / 4 * 64 + col + j % 4] = sum[i][j];
    }
    __syncthreads();
#pragma unroll 1
    for (int at = tid; at < kRows * kSide; at += kThreads) {
      const int64_t i = int64_t(tile.i) * kSide + r0 + at / kSide;
      const int64_t j = int64_t(tile.j) * kSide + at % kSide;
      if (i < g.M && j < g.N) store(i, j, room->c[at / kSide][at % kSide]);
    }
  }
}

template <class T, int Each, int Depth, class A, class B, class Store>
void launch_gemm(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b,
                 Store store) {
  constexpr int64_t kSide = 16 * Each;
  const GemmGrid g = gemm_grid(M, N, K, kSide, Depth, a, b);
  HL_LAUNCH((gemm_kernel<T, Each, Depth, A, B, Store>), unsigned(batches) * g.rows * g.cols,
            kThreads, sizeof(GemmRoom<T, 16 * Each, Depth>), ctx.stream, g, a, b, store);
}

// `batches` products side by side, in T.
template <class T, class A, class B, class Store>
void gemm_plain(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b,
                Store store) {
  if (batches <= 0 || M <= 0 || N <= 0) return;
  if constexpr (sizeof(T) == 4 && requires { a.of(0), b.of(0); }) {
    // 128 x 128 read half as much for each product, where there are tiles for all multiprocessors.
    constexpr int64_t kSide = 128, kEnough = 96;
    if (batches * ceil_div(M, kSide) * ceil_div(N, kSide) >= kEnough && M > kTile && N > kTile) {
      return launch_gemm<T, 8, 8>(ctx, batches, M, N, K, a, b, store);
    }
  }
  // Doubles in shorter steps: what is under way and the sums are all the registers there are.
  launch_gemm<T, kTile / 16, sizeof(T) == 4 ? kDepth : kDepth / 2>(ctx, batches, M, N, K, a, b,
                                                                   store);
}

// ... or on tensor cores, if the call allows it.
template <class T, class A, class B, class Store>
void gemm(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b, Store store) {
  if constexpr (sizeof(T) == 4) {
    if (ctx.precision != Precision::kFull && card().major >= 8) {
      if (batches <= 0 || M <= 0 || N <= 0) return;
      return gemm_rounded(ctx, batches, M, N, K, a, b, store);
    }
  }
  gemm_plain<T>(ctx, batches, M, N, K, a, b, store);
}

}  // namespace hl::cuda
