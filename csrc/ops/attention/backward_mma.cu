// Attention backward on tensor cores, after Dao, "FlashAttention-2" (2023), without atomics: dq is a
// loop of its own over the keys, which makes the probabilities a second time.
#include "cuda/kernel.h"
#include "ops/attention/flash_call.cuh"

namespace hl::cuda {
namespace {

// A block of 4 warps owns 64 kDown rows of two arrays; kOther rows of two others are in work and as
// many on their way. A row of R bytes in shared memory decides, with the registers.
template <class Type, int kWidth, bool kTerms>
struct QueryTiles {  // owned: q, dy
  static constexpr int kRow = 4 * FlashTile<Type, kWidth>::kWords;
  static constexpr int kDown = kRow <= 128 && !kTerms ? 2 : 1, kOther = kRow <= 256 ? 32 : 16;
  static constexpr int kOwn = 64 * kDown, kBytes = kRow * (2 * kOwn + 4 * kOther);
};
template <class Type, int kWidth, bool kTerms>
struct KeyTiles {  // owned: k, v
  static constexpr int kRow = 4 * FlashTile<Type, kWidth>::kWords;
  static constexpr int kOther = kRow <= 128 ? 64 : kRow <= 256 - 64 * kTerms ? 32 : 16;
  static constexpr int kOwn = 64;
  static constexpr int kTermsWords = 2 * kOther;
  static constexpr int kBytes = kRow * (2 * kOwn + 4 * kOther) + 2 * 4 * kTermsWords;
};

// log2 of the sums of softmax, and delta = dy . y: a warp each, for all rows that are rounded.
void make_rows(const Ctx& ctx, const AttentionShape& s, int64_t rows, const float* dy,
               const float* y, const float* lse, int64_t count, RowTerms* to) {
  each(ctx, count * kWarp, [=] __device__(int64_t at) {
    int64_t head = at / kWarp;
    const int64_t i = split(head, rows), n = head / s.H, h = head % s.H;
    float sum = 0, log_sum = INFINITY;
    if (i < s.Tq) {
      const int64_t row = ((n * s.Tq + i) * s.H + h) * s.Dv;
      for (int64_t d = at % kWarp; d < s.Dv; d += kWarp) sum += dy[row + d] * y[row + d];
      const float saved = lse[head * s.Tq + i];
      if (saved != -INFINITY) log_sum = saved * kLog2E;
    }
    sum = warp_reduce(sum, Plus());
    if (at % kWarp == 0) to[at / kWarp] = {log_sum, sum};
  });
}

// Scores x to probabilities, or what dropout leaves of them, and dP to dS. `terms` are those of the
// query of element (a, b, e).
template <bool kTerms, int kDown, int kCount, class Terms>
__device__ __forceinline__ void flash_slopes(const FlashCall& c, uint64_t bits,
                                             float (&x)[kDown][kCount][4],
                                             float (&dp)[kDown][kCount][4], Terms terms) {
#pragma unroll
  for (int a = 0; a < kDown; ++a) {
#pragma unroll
    for (int b = 0; b < kCount; ++b) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const RowTerms row = terms(a, b, e);
        const float p = fast_exp2(x[a][b][e] - row.log_sum);
        const float z = kTerms ? flash_factor(c, bits, (a * kCount + b) * 4 + e) : 1.0f;
        dp[a][b][e] = p * (z * dp[a][b][e] - row.delta);
        x[a][b][e] = z * p;
      }
    }
  }
}

template <class Type, int kWidth, bool kTerms>
__global__ void __launch_bounds__(kFlashThreads, 1)
    query_slopes_mma_kernel(const __grid_constant__ FlashCall c, int tiles, float* dq) {
  using Tiles = QueryTiles<Type, kWidth, kTerms>;
  using Tile = FlashTile<Type, kWidth>;
  constexpr int kDown = Tiles::kDown, kOther = Tiles::kOther, kOwn = Tiles::kOwn;
  constexpr int kSide = kOther * Tile::kWords;
  HL_SHARED(uint32_t, own);
  uint32_t *const own_dy = own + kOwn * Tile::kWords, *const stream = own_dy + kOwn * Tile::kWords;
  const AttentionShape& s = c.s;
  const int64_t task = blockIdx.x, head = task / tiles, n = head / s.H, h = head % s.H;
  const int i0 = int(tiles - 1 - task % tiles) * kOwn;
  const Sight sight(c, n);
  const Steps keys = sight.keys_of(i0, kOwn, int(s.Tq), kOther);
  const int64_t kv = (n * s.Hk + h / (s.H / s.Hk)) * c.k_rows;
  const auto load = [&](int j, uint32_t* to) {
    Tile::template copy<kOther>(to, c.k + (kv + j) * Tile::kWords);
    Tile::template copy<kOther>(to + kSide, c.v + (kv + j) * Tile::kWords);
  };

  float sum[kDown][kWidth / 8][4] = {}, factor[kDown][2];
  RowTerms row[kDown][2];
#pragma unroll
  for (int a = 0; a < kDown; ++a) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      row[a][r] = c.row[head * c.q_rows + i0 + flash_row<kDown>() + 16 * a + 8 * r];
      factor[a][r] = float(s.scale);
    }
  }
  if (keys.begin < keys.end) {
    Tile::template copy<kOwn>(own, c.q + (head * c.q_rows + i0) * Tile::kWords);
    Tile::template copy<kOwn>(own_dy, c.dy + (head * c.q_rows + i0) * Tile::kWords);
    load(keys.begin, stream);
    cp_async_commit();
  }
  int half = 0;
  for (int j0 = keys.begin; j0 < keys.end; j0 += kOther, half ^= 1) {
    uint32_t* const tile = stream + half * 2 * kSide;
    cp_async_wait<0>();
    __syncthreads();  // this tile is there, and nobody reads the other
    if (j0 + kOther < keys.end) load(j0 + kOther, stream + (half ^ 1) * 2 * kSide);
    cp_async_commit();

    float x[kDown][kOther / 8][4], dp[kDown][kOther / 8][4];
    flash_dots<Type, kWidth>(own, tile, x);
    flash_scores<false, kTerms>(c, sight, n, h, i0, j0, x);
    flash_dots<Type, kWidth>(own_dy, tile + kSide, dp);
    const uint64_t bits = kTerms ? flash_kept<false, kDown, kOther / 8>(c, n, h, i0, j0) : 0;
    flash_slopes<kTerms>(c, bits, x, dp, [&](int a, int, int e) { return row[a][e / 2]; });
    flash_add<Type, kWidth>(dp, tile, sum);
  }
  flash_store(sum, factor, s.Tq - i0, int(s.D), s.dq[1],
              dq + n * s.dq[0] + i0 * s.dq[1] + h * s.dq[2]);
}

template <class Type, int kWidth, bool kTerms>
__global__ void __launch_bounds__(kFlashThreads, 1)
    key_slopes_mma_kernel(const __grid_constant__ FlashCall c, int tiles, float* dk, float* dv) {
  using Tiles = KeyTiles<Type, kWidth, kTerms>;
  using Tile = FlashTile<Type, kWidth>;
  constexpr int kOther = Tiles::kOther, kOwn = Tiles::kOwn, kSide = kOther * Tile::kWords;
  constexpr int kHalf = 2 * kSide + Tiles::kTermsWords;
  HL_SHARED(uint32_t, own);
  uint32_t *const own_v = own + kOwn * Tile::kWords, *const stream = own_v + kOwn * Tile::kWords;
  const AttentionShape& s = c.s;
  const int64_t task = blockIdx.x, head = task / tiles, n = head / s.Hk, hk = head % s.Hk;
  const int j0 = int(task % tiles) * kOwn;
  const Sight sight(c, n);
  // Steps: the tiles of queries that see any of these keys, for one query head after the other.
  const Steps queries = sight.queries_of(j0, kOwn, int(s.Tq), kOther);
  const int share = int(s.H / s.Hk), each = (queries.end - queries.begin + kOther - 1) / kOther;
  const auto load = [&](int64_t h, int i, uint32_t* to) {
    const int64_t at = (n * s.H + h) * c.q_rows + i;
    Tile::template copy<kOther>(to, c.q + at * Tile::kWords);
    Tile::template copy<kOther>(to + kSide, c.dy + at * Tile::kWords);
    if (int(threadIdx.x) < kOther / 2) {
      const int e = 2 * int(threadIdx.x);
      cp_async16(to + 2 * kSide + 2 * e, c.row + at + e);
    }
  };

  float to_k[1][kWidth / 8][4] = {}, to_v[1][kWidth / 8][4] = {};
  if (each > 0) {
    Tile::template copy<kOwn>(own, c.k + (head * c.k_rows + j0) * Tile::kWords);
    Tile::template copy<kOwn>(own_v, c.v + (head * c.k_rows + j0) * Tile::kWords);
    load(hk * share, queries.begin, stream);
    cp_async_commit();
  }
  int half = 0;
  for (int member = 0; member < share; ++member) {
    const int64_t h = hk * share + member;
    for (int i0 = queries.begin; i0 < queries.end; i0 += kOther, half ^= 1) {
      uint32_t* const tile = stream + half * kHalf;
      cp_async_wait<0>();
      __syncthreads();  // this tile is there, and nobody reads the other
      const bool next_head = i0 + kOther >= queries.end;
      if (!next_head || member + 1 < share) {
        load(h + next_head, next_head ? queries.begin : i0 + kOther, stream + (half ^ 1) * kHalf);
      }
      cp_async_commit();

      float x[1][kOther / 8][4], dp[1][kOther / 8][4];
      flash_dots<Type, kWidth>(own, tile, x);
      flash_scores<true, kTerms>(c, sight, n, h, i0, j0, x);
      flash_dots<Type, kWidth>(own_v, tile + kSide, dp);
      const uint64_t bits = kTerms ? flash_kept<true, 1, kOther / 8>(c, n, h, i0, j0) : 0;
      const RowTerms* row = reinterpret_cast<const RowTerms*>(tile + 2 * kSide) + lane() % 4 * 2;
      flash_slopes<kTerms>(c, bits, x, dp, [&](int, int b, int e) { return row[8 * b + e % 2]; });
      flash_add<Type, kWidth>(x, tile + kSide, to_v);
      flash_add<Type, kWidth>(dp, tile, to_k);
    }
  }
  const float scale[1][2] = {{float(s.scale), float(s.scale)}}, one[1][2] = {{1, 1}};
  flash_store(to_k, scale, s.Tk - j0, int(s.D), s.dk[1],
              dk + n * s.dk[0] + j0 * s.dk[1] + hk * s.dk[2]);
  flash_store(to_v, one, s.Tk - j0, int(s.Dv), s.dv[1],
              dv + n * s.dv[0] + j0 * s.dv[1] + hk * s.dv[2]);
}

const Entry<attention_backward_t<float>>* plain() {
  return static_cast<const Entry<attention_backward_t<float>>*>(
      plain_entry("attention_backward", 1));
}

template <class T>
Plan attention_backward_plan(const AttentionShape& s) {
  return plain()->plan(s);
}

template <class T>
void attention_backward(Ctx& ctx, const AttentionShape& s, const T* dy, const T* q, const T* k,
                        const T* v, const T* y, const T* lse, const int64_t* lengths,
                        const int64_t* starts, const unsigned char* mask, const T* bias,
                        const T* slopes, T* dq, T* dk, T* dv) {
  if (!flash_takes(ctx, s)) {
    return plain()->run(ctx, s, dy, q, k, v, y, lse, lengths, starts, mask, bias, slopes, dq, dk,
                        dv);
  }
  with_flash(ctx, s, [&](auto kind) {
    using Kind = decltype(kind);
    using Type = typename Kind::Type;
    const FlashInputs<Type, Kind::kWidth> x(
        ctx, s, {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}, q, k, v, dy);
    if (!x.there()) return;
    const FlashCall call = x.call();
    make_rows(ctx, s, call.q_rows, dy, y, lse, x.query_rows(), x.rows());
    if (dq) {
      using Tiles = QueryTiles<Type, Kind::kWidth, Kind::kTerms>;
      const int tiles = int(ceil_div(s.Tq, int64_t(Tiles::kOwn)));
      HL_LAUNCH((query_slopes_mma_kernel<Type, Kind::kWidth, Kind::kTerms>),
                unsigned(s.N * s.H * tiles), kFlashThreads, Tiles::kBytes, ctx.stream, call, tiles,
                dq);
    }
    if (dk) {
      using Tiles = KeyTiles<Type, Kind::kWidth, Kind::kTerms>;
      const int tiles = int(ceil_div(s.Tk, int64_t(Tiles::kOwn)));
      HL_LAUNCH((key_slopes_mma_kernel<Type, Kind::kWidth, Kind::kTerms>),
                unsigned(s.N * s.Hk * tiles), kFlashThreads, Tiles::kBytes, ctx.stream, call, tiles,
                dk, dv);
    }
  });
}

HL_CUDA_MMA_KERNEL(attention_backward);

}  // namespace
}  // namespace hl::cuda
