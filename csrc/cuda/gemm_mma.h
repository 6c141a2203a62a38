// gemm() of gemm.h on tensor cores: the operands are float32 in memory, rounded to bfloat16, float16
// or TF32 on their way into shared memory, and summed in float32.
//
// A block makes a tile of C of kRows x kRows. While tensor cores multiply one pair of tiles of A and B,
// the next pair is on its way from memory into registers; then it is rounded and stored where nobody
// reads. So a step has one barrier, and memory has the time of a whole step to answer.
#pragma once

#include "cuda/mma_tile.h"
#include "cuda/operands.h"

namespace hl::cuda {

// One thread's part of a tile on its way through registers. `along`: neighbouring threads read
// neighbours along k; otherwise across it. Either gives the same numbers, memory decides.
template <class Type, int kRows, bool along>
struct Staged {
  static constexpr int kEach = Words<Type>::kEach;
  static constexpr int kWords = kRows * kRowWords / kThreads;
  float value[kWords][kEach];

  // Row and column, in words, of this thread's word number w. Along k, half a warp has a row and each
  // thread words of rows 16 apart; across, a thread has whole chunks of one row.
  static __device__ int row(int w) {
    const int tid = int(threadIdx.x);
    return along ? tid / kRowWords + kThreads / kRowWords * w : tid % kRows;
  }
  static __device__ int column(int w) {
    const int tid = int(threadIdx.x);
    return along ? tid % kRowWords
                 : (tid / kRows + kThreads / kRows * (w / kChunkWords)) * kChunkWords +
                       w % kChunkWords;
  }

  // read(row, k) is asked for row < rows and k < depth, the rest is zero.
  template <class Read>
  __device__ void load(int64_t rows, int64_t depth, Read read) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
#pragma unroll
      for (int e = 0; e < kEach; ++e) {
        const int r = row(w), k = column(w) * kEach + e;
        value[w][e] = r < rows && k < depth ? read(r, k) : 0.0f;
      }
    }
  }

  __device__ void store(uint32_t* tile) const {
    if constexpr (along) {
#pragma unroll
      for (int w = 0; w < kWords; ++w) {
        tile[swizzled(row(w), column(w) / kChunkWords) + column(w) % kChunkWords] =
            Words<Type>::make(value[w]);
      }
    } else {
#pragma unroll
      for (int w = 0; w < kWords; w += kChunkWords) {
        Chunk chunk;
#pragma unroll
        for (int e = 0; e < kChunkWords; ++e) chunk.word[e] = Words<Type>::make(value[w + e]);
        *reinterpret_cast<Chunk*>(tile + swizzled(row(w), column(w) / kChunkWords)) = chunk;
      }
    }
  }
};

template <int kRows>
struct MmaRoom {
  uint32_t a[2][kRows * kRowWords], b[2][kRows * kRowWords];
};

template <class Type, int kRows, bool kAColumns, bool kBColumns, class A, class B, class Store>
__global__ void __launch_bounds__(kThreads)
    gemm_mma_kernel(const GemmGrid g, const __grid_constant__ A a_all,
                    const __grid_constant__ B b_all, const __grid_constant__ Store store_all) {
  HL_SHARED(MmaRoom<kRows>, room);
  constexpr int kDepth = kTileDepth<Type>;
  const GemmTile at = gemm_tile(g);
  const int64_t i0 = int64_t(at.i) * kRows, j0 = int64_t(at.j) * kRows;
  const auto a = of_batch(a_all, at.batch);
  const auto b = of_batch(b_all, at.batch);
  Staged<Type, kRows, kAColumns> next_a;
  Staged<Type, kRows, !kBColumns> next_b;
  const auto load = [&](int64_t k0) {
    next_a.load(g.M - i0, g.K - k0, [&](int i, int k) { return a(i0 + i, k0 + k); });
    next_b.load(g.N - j0, g.K - k0, [&](int j, int k) { return b(k0 + k, j0 + j); });
  };
  const auto keep = [&](int buffer) {
    next_a.store(room->a[buffer]);
    next_b.store(room->b[buffer]);
  };

  TileSums<Type, kRows> tile;
  load(0);
  keep(0);
  __syncthreads();
  int buffer = 0;
  for (int64_t k0 = 0; k0 < g.K; k0 += kDepth, buffer ^= 1) {
    const bool more = k0 + kDepth < g.K;
    if (more) load(k0 + kDepth);
    tile.add(room->a[buffer], room->b[buffer]);
    if (more) keep(buffer ^ 1);
    __syncthreads();
  }
  const auto store = of_batch(store_all, at.batch);
  tile.each(reinterpret_cast<float*>(room), [&](int i, int j, float sum) {
    if (i0 + i < g.M && j0 + j < g.N) store(i0 + i, j0 + j, sum);
  });
}

template <class Type, int kRows, class A, class B, class Store>
void launch_mma(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b,
                Store store) {
  const GemmGrid g = gemm_grid(M, N, K, kRows, kTileDepth<Type>, a, b);
  const unsigned blocks = unsigned(batches) * g.rows * g.cols;
  with_columns(a, [&](auto a_columns) {
    with_columns(b, [&](auto b_columns) {
      HL_LAUNCH((gemm_mma_kernel<Type, kRows, a_columns, b_columns, A, B, Store>), blocks, kThreads,
                sizeof(MmaRoom<kRows>), ctx.stream, g, a, b, store);
    });
  });
}

// Large tiles need fewer reads, but every multiprocessor should have one. Each sum runs in the order
// of k with both: the bits do not depend on the choice, hence not on the card.
template <class Type, class A, class B, class Store>
void gemm_mma(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b,
              Store store) {
  const int64_t large = ceil_div(M, int64_t(128)) * ceil_div(N, int64_t(128)) * batches;
  if (large >= card().multiprocessors) {
    launch_mma<Type, 128>(ctx, batches, M, N, K, a, b, store);
  } else {
    launch_mma<Type, 64>(ctx, batches, M, N, K, a, b, store);
  }
}

// By the type that the call allows.
template <class A, class B, class Store>
void gemm_rounded(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b,
                  Store store) {
  switch (ctx.precision) {
    case Precision::kTf32:
      return gemm_mma<Tf32>(ctx, batches, M, N, K, a, b, store);
    case Precision::kBf16:
      return gemm_mma<Bf16>(ctx, batches, M, N, K, a, b, store);
    default:
      return gemm_mma<F16>(ctx, batches, M, N, K, a, b, store);
  }
}

}  // namespace hl::cuda
