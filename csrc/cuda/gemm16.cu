// The product of 16-bit matrices on tensor cores, with the next tiles on their way by cp.async.
//
// Three pairs of tiles lie in shared memory: one is multiplied, two are in flight. A step waits for
// its own pair, meets the other threads, starts the copies of the pair after next into the room of
// the last one (which nobody reads any more: all are past the barrier) and multiplies.
#include "cuda/gemm16.h"

#include "cuda/gemm16_epilogue.h"
#include "cuda/kernel.h"
#include "cuda/operands.h"
#include "cuda/runtime.h"

namespace hl::cuda {
namespace {

constexpr int kRows = 128, kStages = 3;
constexpr int kChunk = 8;  // 16-bit numbers

struct Stage {
  uint32_t a[kRows * kRowWords], b[kRows * kRowWords];
};

// Numbers k0 ... k0 + 31 of up to kRows rows into a tile; zero outside the matrix. cp.async wants
// addresses that are multiples of 16: kAligned says that all rows begin at such.
template <bool kAligned, class Type>
__device__ void copy_tile(uint32_t* tile, const Type* from, int64_t rows, int64_t K, int64_t k0) {
#pragma unroll
  for (int c = int(threadIdx.x); c < kRows * 4; c += kThreads) {
    const int row = c / 4, chunk = c % 4;
    const int64_t k = k0 + chunk * kChunk, left = row < rows && k < K ? K - k : 0;
    const int n = int(left < kChunk ? left : kChunk);
    const Type* start = n > 0 ? from + row * K + k : from;
    uint32_t* to = tile + swizzled(row, chunk);
    if constexpr (kAligned) {
      cp_async16(to, start, n * int(sizeof(Type)));
    } else {
      Chunk made;
#pragma unroll
      for (int e = 0; e < kChunkWords; ++e) {
        const uint32_t low = 2 * e < n ? start[2 * e].bits : 0;
        const uint32_t high = 2 * e + 1 < n ? start[2 * e + 1].bits : 0;
        made.word[e] = low | high << 16;
      }
      *reinterpret_cast<Chunk*>(to) = made;
    }
  }
}

template <class Type, class Out, bool kAligned>
__global__ void __launch_bounds__(kThreads, 2)
    gemm16_kernel(const GemmGrid g, const Type* a, const Type* b, Epilogue<Type, Out> epilogue) {
  HL_SHARED(Stage, stage);
  constexpr int kDepth = kTileDepth<Type>;
  const int64_t M = g.M, N = g.N, K = g.K;
  const GemmTile at = gemm_tile(g);
  const int64_t i0 = int64_t(at.i) * kRows, j0 = int64_t(at.j) * kRows;
  const auto copy = [&](int64_t step) {
    if (step * kDepth < K) {
      Stage& to = stage[step % kStages];
      copy_tile<kAligned>(to.a, a + i0 * K, M - i0, K, step * kDepth);
      copy_tile<kAligned>(to.b, b + j0 * K, N - j0, K, step * kDepth);
    }
    cp_async_commit();  // a group for every step, if an empty one: the wait below counts them
  };

  TileSums<Type, kRows> tile;
  for (int step = 0; step < kStages - 1; ++step) copy(step);
  for (int64_t step = 0; step * kDepth < K; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    copy(step + kStages - 1);
    const Stage& now = stage[step % kStages];
    tile.add(now.a, now.b);
  }
  tile.each(reinterpret_cast<float*>(stage), [&](int i, int j, float sum) {
    if (i0 + i < M && j0 + j < N) epilogue(i0 + i, j0 + j, sum);
  });
}

template <class Type, class Out>
void run(void* stream, const Gemm16& c) {
  const Type* a = static_cast<const Type*>(c.a);
  const Type* b = static_cast<const Type*>(c.b);
  const auto epilogue = epilogue_of<Type, Out>(c);
  GemmGrid g = {};
  g.M = c.M, g.N = c.N, g.K = c.K;
  g.rows = unsigned(ceil_div(c.M, int64_t(kRows)));
  g.cols = unsigned(ceil_div(c.N, int64_t(kRows)));
  const bool aligned = c.K % kChunk == 0 && (uintptr_t(c.a) | uintptr_t(c.b)) % 16 == 0;
  constexpr int kBytes = kStages * int(sizeof(Stage));
  if (aligned) {
    HL_LAUNCH((gemm16_kernel<Type, Out, true>), g.rows * g.cols, kThreads, kBytes, stream, g, a, b,
              epilogue);
  } else {
    HL_LAUNCH((gemm16_kernel<Type, Out, false>), g.rows * g.cols, kThreads, kBytes, stream, g, a, b,
              epilogue);
  }
}

}  // namespace

int gemm16(int device, void* stream, const Gemm16* g) {
  HL_CHECK(cudaSetDevice(device));
  if (status() != 0 || g->M <= 0 || g->N <= 0) return status();
  const Card c = card();
  if (c.major == 9 && c.minor == 0) {
    const auto* fast = static_cast<const Gemm16Entry*>(sm90a_entry("gemm16", 4u));
    if (fast && fast->run(stream, *g)) return status();
  }
  with_gemm16_types(*g,
                    [&](auto type, auto out) { run<decltype(type), decltype(out)>(stream, *g); });
  return status();
}

}  // namespace hl::cuda
