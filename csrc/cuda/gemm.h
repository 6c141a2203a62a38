// Matrix products: C[i, j] = sum_k A[i, k] B[k, j], for any way to read A and B and any use of C. By
// plain threads, or on tensor cores (gemm_mma.h) where the call allows float32 to be rounded.
//
// By plain threads, one block makes a tile of kTile x kTile, in steps of kDepth along k: both operands go to shared
// memory, each thread multiplies 4 x 4. `a(i, k)`, `b(k, j)` are asked only inside the matrices, so
// that a convolution is this loop with an `a` that looks up pixels; `store(i, j, c)` gets each sum
// once. Sums run in the order of k, in Acc: the bits do not depend on the grid.
#pragma once

#include <type_traits>

#include "cuda/gemm_mma.h"

namespace hl::cuda {

constexpr int kTile = 64, kDepth = 16, kEach = 4;

template <class T>
struct GemmRoom {
  T a[kDepth][kTile + 1], b[kDepth][kTile + 1];
};

template <class T, Order kA, Order kB, class A, class B, class Store>
__global__ void __launch_bounds__(kThreads)
    gemm_kernel(int64_t M, int64_t N, int64_t K, A a, B b, Store store) {
  HL_SHARED(GemmRoom<T>, room);
  const int tid = int(threadIdx.x), row = tid / 16, col = tid % 16;
  const int64_t i0 = int64_t(blockIdx.y) * kTile, j0 = int64_t(blockIdx.x) * kTile;
  const int batch = int(blockIdx.z);
  T acc[kEach][kEach] = {};
  for (int64_t k0 = 0; k0 < K; k0 += kDepth) {
    for (int e = tid; e < kTile * kDepth; e += kThreads) {
      constexpr bool a_along = kA == Order::kAlongK, b_along = kB == Order::kAlongK;
      const int ai = a_along ? e / kDepth : e % kTile, ak = a_along ? e % kDepth : e / kTile;
      const int bj = b_along ? e / kDepth : e % kTile, bk = b_along ? e % kDepth : e / kTile;
      room->a[ak][ai] = i0 + ai < M && k0 + ak < K ? a(batch, i0 + ai, k0 + ak) : T(0);
      room->b[bk][bj] = k0 + bk < K && j0 + bj < N ? b(batch, k0 + bk, j0 + bj) : T(0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      T x[kEach], y[kEach];
#pragma unroll
      for (int e = 0; e < kEach; ++e) {
        x[e] = room->a[k][row + 16 * e];
        y[e] = room->b[k][col + 16 * e];
      }
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kEach; ++j) acc[i][j] += x[i] * y[j];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int64_t r = i0 + row + 16 * i, c = j0 + col + 16 * j;
      if (r < M && c < N) store(batch, r, c, acc[i][j]);
    }
  }
}

template <class T, Order kA, Order kB, class A, class B, class Store>
void launch_gemm(const Ctx& ctx, unsigned batches, int64_t M, int64_t N, int64_t K, A a, B b,
                 Store store) {
  if constexpr (std::is_same_v<T, float>) {
    const bool tensor_cores = ctx.precision != Precision::kFull && card().major >= 8;
    switch (tensor_cores ? ctx.precision : Precision::kFull) {
      case Precision::kTf32:
        return gemm_mma<Tf32, kA, kB>(ctx, batches, M, N, K, a, b, store);
      case Precision::kBf16:
        return gemm_mma<Bf16, kA, kB>(ctx, batches, M, N, K, a, b, store);
      case Precision::kF16:
        return gemm_mma<F16, kA, kB>(ctx, batches, M, N, K, a, b, store);
      case Precision::kFull:
        break;
    }
  }
  const dim3 grid(unsigned(ceil_div(N, int64_t(kTile))), unsigned(ceil_div(M, int64_t(kTile))),
                  batches);
  HL_LAUNCH((gemm_kernel<T, kA, kB, A, B, Store>), grid, kThreads, sizeof(GemmRoom<T>), ctx.stream,
            M, N, K, a, b, store);
}

// `batches` products side by side; the functions get the batch's number first. kA and kB say how the
// operands lie in memory, where that is known.
template <class T, Order kA = Order::kAlongK, Order kB = Order::kAcrossK, class A, class B,
          class Store>
void gemm(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a, B b, Store store) {
  if (M <= 0 || N <= 0) return;
  constexpr int64_t kMost = 65535;  // blocks along y and z
  for (int64_t z = 0; z < batches; z += kMost) {
    const auto a_z = [=] __device__(int n, int64_t i, int64_t k) { return a(z + n, i, k); };
    const auto b_z = [=] __device__(int n, int64_t k, int64_t j) { return b(z + n, k, j); };
    for (int64_t y = 0; y < M; y += kMost * kTile) {
      const auto a_y = [=] __device__(int n, int64_t i, int64_t k) { return a_z(n, y + i, k); };
      const auto store_y = [=] __device__(int n, int64_t i, int64_t j, T c) {
        store(z + n, y + i, j, c);
      };
      const int64_t rows = M - y < kMost * kTile ? M - y : kMost * kTile;
      const int64_t here = batches - z < kMost ? batches - z : kMost;
      launch_gemm<T, kA, kB>(ctx, unsigned(here), rows, N, K, a_y, b_z, store_y);
    }
  }
}

}  // namespace hl::cuda
