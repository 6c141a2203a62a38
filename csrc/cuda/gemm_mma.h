// gemm() of gemm.h on tensor cores: the operands are float32 in memory, rounded to bfloat16, float16
// or TF32 on their way into shared memory, and summed in float32.
//
// A block makes a tile of C of kRows x kRows. While tensor cores multiply one pair of tiles of A and B,
// the next pair is on its way from memory into registers; then it is rounded and stored where nobody
// reads. So a step has one barrier, and memory has the time of a whole step to answer.
#pragma once

#include "context.h"
#include "cuda/mma_tile.h"

namespace hl::cuda {

// Which neighbours in a matrix are neighbours in memory: those along k, or those across it (along i
// of a, along j of b). Neighbouring threads read these; any answer gives the same numbers.
enum class Order { kAlongK, kAcrossK };

// One thread's part of a tile on its way through registers.
template <class Type, int kRows, Order kOrder>
struct Staged {
  static constexpr int kEach = Words<Type>::kEach;
  static constexpr int kWords = kRows * kRowWords / kThreads;
  float value[kWords][kEach];

  // Row and column, in words, of this thread's word number w. Along k, half a warp has a row and each
  // thread words of rows 16 apart; across, a thread has whole chunks of one row.
  static __device__ int row(int w) {
    const int tid = int(threadIdx.x);
    return kOrder == Order::kAlongK ? tid / kRowWords + kThreads / kRowWords * w : tid % kRows;
  }
  static __device__ int column(int w) {
    const int tid = int(threadIdx.x);
    return kOrder == Order::kAlongK
               ? tid % kRowWords
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
    if constexpr (kOrder == Order::kAlongK) {
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

template <class Type, int kRows, Order kA, Order kB, class A, class B, class Store>
__global__ void __launch_bounds__(kThreads)
    gemm_mma_kernel(int64_t M, int64_t N, int64_t K, A a, B b, Store store) {
  HL_SHARED(MmaRoom<kRows>, room);
  constexpr int kDepth = kTileDepth<Type>;
  const int64_t i0 = int64_t(blockIdx.y) * kRows, j0 = int64_t(blockIdx.x) * kRows;
  const int batch = int(blockIdx.z);
  Staged<Type, kRows, kA> next_a;
  Staged<Type, kRows, kB> next_b;
  const auto load = [&](int64_t k0) {
    next_a.load(M - i0, K - k0, [&](int i, int k) { return a(batch, i0 + i, k0 + k); });
    next_b.load(N - j0, K - k0, [&](int j, int k) { return b(batch, k0 + k, j0 + j); });
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
  for (int64_t k0 = 0; k0 < K; k0 += kDepth, buffer ^= 1) {
    const bool more = k0 + kDepth < K;
    if (more) load(k0 + kDepth);
    tile.add(room->a[buffer], room->b[buffer]);
    if (more) keep(buffer ^ 1);
    __syncthreads();
  }
  tile.each(reinterpret_cast<float*>(room), [&](int i, int j, float sum) {
    if (i0 + i < M && j0 + j < N) store(batch, i0 + i, j0 + j, sum);
  });
}

template <class Type, int kRows, Order kA, Order kB, class A, class B, class Store>
void launch_mma(const Ctx& ctx, unsigned batches, int64_t M, int64_t N, int64_t K, A a, B b,
                Store store) {
  const dim3 grid(unsigned(ceil_div(N, int64_t(kRows))), unsigned(ceil_div(M, int64_t(kRows))),
                  batches);
  HL_LAUNCH((gemm_mma_kernel<Type, kRows, kA, kB, A, B, Store>), grid, kThreads,
            sizeof(MmaRoom<kRows>), ctx.stream, M, N, K, a, b, store);
}

// Large tiles need fewer reads, but every multiprocessor should have one. Each sum runs in the order
// of k with both: the bits do not depend on the choice, hence not on the card.
template <class Type, Order kA, Order kB, class A, class B, class Store>
void gemm_mma(const Ctx& ctx, unsigned batches, int64_t M, int64_t N, int64_t K, A a, B b,
              Store store) {
  const int64_t large = ceil_div(M, int64_t(128)) * ceil_div(N, int64_t(128)) * batches;
  if (large >= card().multiprocessors) {
    launch_mma<Type, 128, kA, kB>(ctx, batches, M, N, K, a, b, store);
  } else {
    launch_mma<Type, 64, kA, kB>(ctx, batches, M, N, K, a, b, store);
  }
}

}  // namespace hl::cuda
