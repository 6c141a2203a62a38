// gemm() of gemm.h by TMA and wgmma, for float32 operands that lie in memory.
//
// TMA copies bytes: it cannot round what it copies, as gemm_mma.h does on the way into shared memory. So a
// first launch rounds both operands, once, into matrices of 16-bit numbers whose rows run along k, in
// scratch; it reads 4 bytes of each number and writes 2, whichever way the operand lies.
//
// Where that pays. In both layers tiles come from memory, or mostly from the cache, once for each tile of
// C. In gemm_mma.h a tile of 128 x 128 takes 128 + 128 rows of 4 bytes: M N K / 16 bytes in all. Here one
// of 128 x 256 takes 384 rows of 2 bytes: M N K / 43. Rounding moves 6 K (M + N) bytes more. That is less
// from M N / (M + N) = 154 on; 256 leaves a margin, since what it moves is memory and the rest mostly
// cache. (A product of 512 x 512 has just that.) The launch of its own must be small beside the product,
// too: 2^26 operations for each multiprocessor.
#pragma once

#include "cuda/gemm_sm90a.h"
#include "cuda/mma_tile.h"
#include "cuda/scratch.h"

namespace hl::cuda {

// Whether a product of float32 operands is one for this layer.
inline bool sm90a_takes(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K) {
  if (ctx.precision != Precision::kBf16 && ctx.precision != Precision::kF16) return false;
  const Card c = card();
  if (!is_sm90(c)) return false;
  const double m = double(M), n = double(N), count = double(batches);
  constexpr double kReuse = 256, kEach = 1 << 26;
  return m * n >= kReuse * (m + n) && 2 * count * m * n * double(K) >= kEach * c.multiprocessors &&
         count * (m > n ? m : n) < INT32_MAX && K < INT32_MAX - 8;
}

// One operand: element (row, k) of batch n to row n * rows + row of the matrix at `to`.
template <class Starts>
struct RoundedOperand {
  Strided<const float, Starts> from;  // rows by k
  int64_t batches, rows, depth;
  int64_t words;  // a row of `to`: two numbers each, a multiple of 4
  uint32_t* to;

  __host__ __device__ int64_t down() const { return ceil_div(rows, int64_t(kTmaColumns)); }
  __host__ __device__ int64_t right() const { return ceil_div(2 * words, int64_t(kTmaColumns)); }
  __host__ __device__ int64_t blocks() const { return batches * down() * right(); }
  TmaMatrix matrix() const { return {to, batches * rows, depth, 2 * words}; }
};

// A block rounds 64 rows by 64 numbers. It reads along whichever axis is the nearer in memory, and
// writes along k: what was read across k turns around in shared memory.
template <class Type, class A, class B>
__global__ void __launch_bounds__(kThreads)
    round_operands(const __grid_constant__ RoundedOperand<A> a,
                   const __grid_constant__ RoundedOperand<B> b) {
  constexpr int kSide = kTmaColumns, kEach = kThreads / kSide;
  HL_SHARED(float, room);
  const int tid = int(threadIdx.x), fast = tid % kSide, slow = tid / kSide;
  const auto round = [&](const auto& x, int64_t block) {
    const int64_t k0 = block % x.right() * kSide, down = block / x.right();
    const int64_t i0 = down % x.down() * kSide, n = down / x.down();
    const auto from = x.from.of(n);
    const bool along = x.from.cs == 1 || x.from.rs != 1;
#pragma unroll 4
    for (int e = slow; e < kSide; e += kEach) {
      const int i = along ? e : fast, k = along ? fast : e;
      const bool there = i0 + i < x.rows && k0 + k < x.depth;
      room[i * (kSide + 1) + k] = there ? from(i0 + i, k0 + k) : 0.0f;
    }
    __syncthreads();
    uint32_t* const to = x.to + n * x.rows * x.words;
#pragma unroll 4
    for (int e = tid; e < kSide * kSide / 2; e += kThreads) {
      const int i = e / (kSide / 2), word = e % (kSide / 2);
      if (i0 + i < x.rows && k0 / 2 + word < x.words) {
        const float v[2] = {room[i * (kSide + 1) + 2 * word], room[i * (kSide + 1) + 2 * word + 1]};
        to[(i0 + i) * x.words + k0 / 2 + word] = Words<Type>::make(v);
      }
    }
  };
  const int64_t block = blockIdx.x;
  if (block < a.blocks()) {
    round(a, block);
  } else {
    round(b, block - a.blocks());
  }
}

// C[n] = A[n] B[n] for a call that sm90a_takes(); a and b are Strided. An operand that all batches share
// is rounded once.
template <class A, class B, class Store>
void gemm_rounded_sm90a(const Ctx& ctx, int64_t batches, int64_t M, int64_t N, int64_t K, A a,
                        bool a_shared, B b, bool b_shared, Store store) {
  const int64_t words = ceil_div(K, int64_t(8)) * 4;
  const int64_t a_batches = a_shared ? 1 : batches, b_batches = b_shared ? 1 : batches;
  const int64_t a_words = a_batches * M * words, b_words = b_batches * N * words;
  Scratch scratch(ctx, aligned(4 * a_words) + aligned(4 * b_words));
  const RoundedOperand<decltype(a.starts)> left = {a, a_batches, M,
                                                   K, words,     scratch.take<uint32_t>(a_words)};
  b = {b.data, b.cs, b.rs, b.starts};  // its rows are the columns of B
  const RoundedOperand<decltype(b.starts)> right = {b, b_batches, N,
                                                    K, words,     scratch.take<uint32_t>(b_words)};
  if (!left.to) return;  // which has been noted
  const auto run = [&](auto type) {
    using Type = decltype(type);
    constexpr int kBytes = kTmaColumns * (kTmaColumns + 1) * int(sizeof(float));
    HL_LAUNCH((round_operands<Type, decltype(a.starts), decltype(b.starts)>),
              unsigned(left.blocks() + right.blocks()), kThreads, kBytes, ctx.stream, left, right);
    gemm_sm90a<Type>(ctx.stream, batches, M, N, K, left.matrix(), a_shared ? 0 : M, right.matrix(),
                     b_shared ? 0 : N, store);
  };
  ctx.precision == Precision::kBf16 ? run(Bf16()) : run(F16());
}

}  // namespace hl::cuda
