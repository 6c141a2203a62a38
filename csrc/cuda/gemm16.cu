// The product of 16-bit matrices on tensor cores, with the next tiles on their way by cp.async.
//
// Three pairs of tiles lie in shared memory: one is multiplied, two are in flight. A step waits for
// its own pair, meets the other threads, starts the copies of the pair after next into the room of
// the last one (which nobody reads any more: all are past the barrier) and multiplies.
#include "cuda/gemm16.h"

#include "cuda/mma_tile.h"
#include "cuda/runtime.h"
#include "cuda/unary.h"

namespace hl::cuda {
namespace {

constexpr int kRows = 128, kStages = 3;
constexpr int kChunk = 8;  // 16-bit numbers

struct Stage {
  uint32_t a[kRows * kRowWords], b[kRows * kRowWords];
};

__device__ Bf16 to_type(float v, Bf16) { return to_bf16(v); }
__device__ F16 to_type(float v, F16) { return to_f16(v); }
__device__ float to_type(float v, float) { return v; }

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

struct Tile {
  int64_t i, j;
};
// Blocks that run side by side share rows of A and columns of B in the cache if they stand in bands of
// 8 tiles down, rather than in one long row.
__device__ Tile tile_of(int64_t number, int64_t down, int64_t across) {
  constexpr int64_t kBand = 8;
  const int64_t band = number / (kBand * across), in_band = number % (kBand * across);
  const int64_t height = down - band * kBand < kBand ? down - band * kBand : kBand;
  return {band * kBand + in_band % height, in_band / height};
}

template <class Type, class Out>
struct Epilogue {
  const float* bias;
  const Type* residual;
  Out* c;
  int64_t M, N;
  Gemm16::Activation activation;

  __device__ void store(int64_t i, int64_t j, float sum) const {
    if (bias) sum += bias[j];
    if (activation == Gemm16::kRelu) sum = sum < 0 ? 0.0f : sum;
    if (activation == Gemm16::kGelu) sum *= normal_cdf(sum);
    if (residual) sum += to_float(residual[i * N + j]);
    c[i * N + j] = to_type(sum, Out());
  }
};

template <class Type, class Out, bool kAligned>
__global__ void __launch_bounds__(kThreads, 2)
    gemm16_kernel(int64_t K, const Type* a, const Type* b, Epilogue<Type, Out> epilogue) {
  HL_SHARED(Stage, stage);
  constexpr int kDepth = kTileDepth<Type>;
  const int64_t M = epilogue.M, N = epilogue.N;
  const Tile at = tile_of(blockIdx.x, ceil_div(M, kRows), ceil_div(N, kRows));
  const int64_t i0 = at.i * kRows, j0 = at.j * kRows;
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
    if (i0 + i < M && j0 + j < N) epilogue.store(i0 + i, j0 + j, sum);
  });
}

template <class Type, class Out>
void run(void* stream, const Gemm16& g) {
  const Type* a = static_cast<const Type*>(g.a);
  const Type* b = static_cast<const Type*>(g.b);
  const Epilogue<Type, Out> epilogue = {
      g.bias, static_cast<const Type*>(g.residual), static_cast<Out*>(g.c), g.M, g.N, g.activation};
  const unsigned grid = unsigned(ceil_div(g.M, kRows) * ceil_div(g.N, kRows));
  const bool aligned = g.K % kChunk == 0 && (uintptr_t(g.a) | uintptr_t(g.b)) % 16 == 0;
  constexpr int kBytes = kStages * int(sizeof(Stage));
  if (aligned) {
    HL_LAUNCH((gemm16_kernel<Type, Out, true>), grid, kThreads, kBytes, stream, g.K, a, b,
              epilogue);
  } else {
    HL_LAUNCH((gemm16_kernel<Type, Out, false>), grid, kThreads, kBytes, stream, g.K, a, b,
              epilogue);
  }
}

}  // namespace

int gemm16(int device, void* stream, const Gemm16* g) {
  HL_CHECK(cudaSetDevice(device));
  if (status() != 0 || g->M <= 0 || g->N <= 0) return status();
  const bool wide = g->c_type == Gemm16::kFloat32;
  if (g->type == Gemm16::kBf16) {
    wide ? run<Bf16, float>(stream, *g) : run<Bf16, Bf16>(stream, *g);
  } else {
    wide ? run<F16, float>(stream, *g) : run<F16, F16>(stream, *g);
  }
  return status();
}

}  // namespace hl::cuda
