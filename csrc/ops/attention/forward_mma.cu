// Attention forward on tensor cores, after Dao, "FlashAttention-2" (2023).
#include "cuda/kernel.h"
#include "ops/attention/flash_call.cuh"

namespace hl::cuda {
namespace {

// A block of 4 warps owns 64 kDown queries, a warp 16 kDown; kKeys keys and their values are in work
// and as many on their way. A row of R bytes in shared memory decides: sums of 2 x 16 rows use each
// fragment of keys twice, as far as registers and 99 KiB reach.
template <class Type, int kWidth, bool kTerms>
struct ForwardTiles {
  static constexpr int kRow = 4 * FlashTile<Type, kWidth>::kWords;
  static constexpr int kDown = kRow <= 256 && !kTerms ? 2 : 1, kKeys = kRow <= 128 ? 64 : 32;
  static constexpr int kOwn = 64 * kDown, kBytes = kRow * (kOwn + 4 * kKeys);
};

template <class Type, int kWidth, bool kTerms>
__global__ void __launch_bounds__(kFlashThreads, 1)
    attend_mma_kernel(const __grid_constant__ FlashCall c, int tiles, float* y, float* lse) {
  using Tiles = ForwardTiles<Type, kWidth, kTerms>;
  using Tile = FlashTile<Type, kWidth>;
  constexpr int kDown = Tiles::kDown, kKeys = Tiles::kKeys, kOwn = Tiles::kOwn;
  constexpr int kHalf = 2 * kKeys * Tile::kWords;
  HL_SHARED(uint32_t, own);
  uint32_t* const stream = own + kOwn * Tile::kWords;
  const AttentionShape& s = c.s;
  // Under a causal mask the last queries have most to do: they begin.
  const int64_t task = blockIdx.x, head = task / tiles, n = head / s.H, h = head % s.H;
  const int i0 = int(tiles - 1 - task % tiles) * kOwn;
  const Sight sight(c, n);
  const Steps keys = sight.keys_of(i0, kOwn, int(s.Tq), kKeys);
  const int64_t kv = (n * s.Hk + h / (s.H / s.Hk)) * c.k_rows;
  const auto load = [&](int j, uint32_t* to) {
    Tile::template copy<kKeys>(to, c.k + (kv + j) * Tile::kWords);
    Tile::template copy<kKeys>(to + kKeys * Tile::kWords, c.v + (kv + j) * Tile::kWords);
  };

  float top[kDown][2], total[kDown][2], out[kDown][kWidth / 8][4] = {};
#pragma unroll
  for (int a = 0; a < kDown; ++a) {
    top[a][0] = top[a][1] = -INFINITY, total[a][0] = total[a][1] = 0;
  }
  if (keys.begin < keys.end) {
    Tile::template copy<kOwn>(own, c.q + (head * c.q_rows + i0) * Tile::kWords);
    load(keys.begin, stream);
    cp_async_commit();
  }
  int half = 0;
  for (int j0 = keys.begin; j0 < keys.end; j0 += kKeys, half ^= 1) {
    uint32_t* const tile = stream + half * kHalf;
    cp_async_wait<0>();
    __syncthreads();  // this tile is there, and nobody reads the other
    if (j0 + kKeys < keys.end) load(j0 + kKeys, stream + (half ^ 1) * kHalf);
    cp_async_commit();

    float x[kDown][kKeys / 8][4];
    flash_dots<Type, kWidth>(own, tile, x);
    flash_scores<false, kTerms>(c, sight, n, h, i0, j0, x);
#pragma unroll
    for (int a = 0; a < kDown; ++a) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float now = top[a][r], sum = 0;
#pragma unroll
        for (int b = 0; b < kKeys / 8; ++b) {
          now = fmaxf(now, fmaxf(x[a][b][2 * r], x[a][b][2 * r + 1]));
        }
        now = quad_reduce(now, [](float p, float q) { return fmaxf(p, q); });
        const float base = now == -INFINITY ? 0.0f : now;  // nothing seen so far
        const float rescale = fast_exp2(top[a][r] - base);
#pragma unroll
        for (int b = 0; b < kKeys / 8; ++b) {
#pragma unroll
          for (int e = 2 * r; e < 2 * r + 2; ++e) {
            x[a][b][e] = fast_exp2(x[a][b][e] - base);
            sum += x[a][b][e];
          }
        }
        total[a][r] = total[a][r] * rescale + sum;  // of this lane's columns
        top[a][r] = now;
#pragma unroll
        for (int d = 0; d < kWidth / 8; ++d) {
          out[a][d][2 * r] *= rescale, out[a][d][2 * r + 1] *= rescale;
        }
      }
    }
    if (kTerms && s.threshold != 0) {
      const uint64_t bits = flash_kept<false, kDown, kKeys / 8>(c, n, h, i0, j0);
#pragma unroll
      for (int m = 0; m < kDown * kKeys / 2; ++m) {
        x[m / (kKeys / 2)][m / 4 % (kKeys / 8)][m % 4] *= flash_factor(c, bits, m);
      }
    }
    flash_add<Type, kWidth>(x, tile + kKeys * Tile::kWords, out);
  }

  float factor[kDown][2];
#pragma unroll
  for (int a = 0; a < kDown; ++a) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = quad_reduce(total[a][r], Plus());
      const int64_t i = i0 + flash_row<kDown>() + 16 * a + 8 * r;
      const bool dead = sum == 0;  // nothing seen; else the largest alone is 1
      factor[a][r] = dead ? 0.0f : 1 / sum;
      if (i < s.Tq && lane() % 4 == 0) {
        lse[head * s.Tq + i] = dead ? -INFINITY : (top[a][r] + log2f(sum)) * kLn2;
      }
    }
  }
  flash_store(out, factor, s.Tq - i0, int(s.Dv), s.H * s.Dv,
              y + ((n * s.Tq + i0) * s.H + h) * s.Dv);
}

const Entry<attention_forward_t<float>>* plain() {
  return static_cast<const Entry<attention_forward_t<float>>*>(plain_entry("attention_forward", 1));
}

template <class T>
Plan attention_forward_plan(const AttentionShape& s) {
  return plain()->plan(s);
}

template <class T>
void attention_forward(Ctx& ctx, const AttentionShape& s, const T* q, const T* k, const T* v,
                       const int64_t* lengths, const int64_t* starts, const unsigned char* mask,
                       const T* bias, const T* slopes, T* y, T* lse) {
  if (!flash_takes(ctx, s)) {
    return plain()->run(ctx, s, q, k, v, lengths, starts, mask, bias, slopes, y, lse);
  }
  with_flash(ctx, s, [&](auto kind) {
    using Kind = decltype(kind);
    using Type = typename Kind::Type;
    using Tiles = ForwardTiles<Type, Kind::kWidth, Kind::kTerms>;
    const FlashInputs<Type, Kind::kWidth> x(
        ctx, s, {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}, q, k, v, nullptr);
    if (!x.there()) return;
    const FlashCall call = x.call();
    const int tiles = int(ceil_div(s.Tq, int64_t(Tiles::kOwn)));
    HL_LAUNCH((attend_mma_kernel<Type, Kind::kWidth, Kind::kTerms>), unsigned(s.N * s.H * tiles),
              kFlashThreads, Tiles::kBytes, ctx.stream, call, tiles, y, lse);
  });
}

HL_CUDA_MMA_KERNEL(attention_forward);

}  // namespace
}  // namespace hl::cuda
