#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/attention/tile.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan attention_forward_plan(const AttentionShape& s) {
  return attention_plan(s, 2, sizeof(T), 0);
}
template <class T>
Plan attention_weights_plan(const AttentionShape& s) {
  return attention_plan(s, 1, sizeof(T), 0);
}

// Over the 16 lanes that have a row.
template <class T, class Op>
__device__ T row_reduce(T v, Op op) {
  for (int mask = kApart / 2; mask > 0; mask /= 2) v = op(v, shuffle_xor(v, mask));
  return v;
}

// A block makes a tile of queries by 64 columns of y per slab, of which it has `kSlabs`: what softmax
// needs streams by once for each block.
template <class T, int kSlabs>
__global__ void __launch_bounds__(256)
    attend(AttentionShape s, Operands<T> x, int64_t tiles, T* y, T* lse) {
  HL_SHARED(TileRoom<T>, room);
  const int row = int(threadIdx.x) / kApart, col = int(threadIdx.x) % kApart;
  const int64_t task = blockIdx.x, n = task / tiles / s.H, h = task / tiles % s.H;
  const int64_t i0 = task % tiles * kSide, column = int64_t(blockIdx.y) * kSlabs * kSide;
  const T* v = x.v + n * s.v[0] + h / (s.H / s.Hk) * s.v[2];
  T most[kMine], sum[kMine], out[kSlabs][kMine][kMine] = {}, p[kMine][kMine];
  for (int e = 0; e < kMine; ++e) most[e] = -INFINITY, sum[e] = 0;
  const Span seen = tile_span(s, x.terms, n, i0);
  for (int64_t j0 = seen.begin / kSide * kSide; j0 < seen.end; j0 += kSide) {
    score_dots(s, x, room, n, h, i0, j0, seen.end, p);
#pragma unroll
    for (int e = 0; e < kMine; ++e) {
      const int64_t i = i0 + row + kApart * e;
      T top = -INFINITY, total = 0;
#pragma unroll
      for (int f = 0; f < kMine; ++f) {
        p[e][f] = score(s, x.terms, n, h, i, j0 + col + kApart * f, p[e][f]);
        top = Larger()(p[e][f], top);
      }
      top = Larger()(row_reduce(top, Larger()), most[e]);
      const bool dead = top == -INFINITY;  // nothing seen so far
      const T rescale = dead ? T(1) : exp(most[e] - top);
#pragma unroll
      for (int f = 0; f < kMine; ++f) {
        const T weight = dead ? T(0) : exp(p[e][f] - top);
        total += weight;
        p[e][f] = s.threshold == 0
                      ? weight
                      : weight * kept<T>(s, x.terms.draw, n, h, i, j0 + col + kApart * f);
      }
      sum[e] = sum[e] * rescale + row_reduce(total, Plus());
      most[e] = top;
#pragma unroll
      for (int w = 0; w < kSlabs; ++w) {
#pragma unroll
        for (int f = 0; f < kMine; ++f) out[w][e][f] *= rescale;
      }
    }
    put_tile(room, p);
#pragma unroll
    for (int w = 0; w < kSlabs; ++w) {
      add_tile(
          room, column + w * kSide, [&](int i, int j) { return room->p[i][j]; },
          [&](int j, int64_t d) {
            return j0 + j < seen.end && d < s.Dv ? v[(j0 + j) * s.v[1] + d] : T(0);
          },
          out[w]);
    }
  }
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
    const int64_t i = i0 + row + kApart * e;
    if (i >= s.Tq) continue;
    const bool dead = most[e] == -INFINITY;
    if (column == 0 && col == 0) {
      lse[(n * s.H + h) * s.Tq + i] = dead ? T(-INFINITY) : most[e] + log(sum[e]);
    }
#pragma unroll
    for (int w = 0; w < kSlabs; ++w) {
#pragma unroll
      for (int f = 0; f < kMine; ++f) {
        const int64_t d = column + w * kSide + col + kApart * f;
        if (d < s.Dv) {
          y[((n * s.Tq + i) * s.H + h) * s.Dv + d] = dead ? T(0) : out[w][e][f] / sum[e];
        }
      }
    }
  }
}

template <class T>
void attention_forward(Ctx& ctx, const AttentionShape& s, const T* q, const T* k, const T* v,
                       const int64_t* lengths, const int64_t* starts, const unsigned char* mask,
                       const T* bias, const T* slopes, T* y, T* lse) {
  const int64_t tiles = tiles_of(s.Tq), blocks = s.N * s.H * tiles, slabs = tiles_of(s.Dv);
  if (blocks == 0) return;
  const Operands<T> x = {q,
                         k,
                         v,
                         nullptr,
                         nullptr,
                         nullptr,
                         {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}};
  if (slabs <= 1) {
    HL_LAUNCH((attend<T, 1>), dim3(unsigned(blocks)), 256, sizeof(TileRoom<T>), ctx.stream, s, x,
              tiles, y, lse);
  } else {
    HL_LAUNCH((attend<T, 2>), dim3(unsigned(blocks), unsigned(ceil_div(slabs, int64_t(2)))), 256,
              sizeof(TileRoom<T>), ctx.stream, s, x, tiles, y, lse);
  }
}

template <class T>
__global__ void __launch_bounds__(256)
    weigh(AttentionShape s, Operands<T> x, int64_t tiles, int64_t key_tiles, T* to) {
  HL_SHARED(TileRoom<T>, room);
  const int row = int(threadIdx.x) / kApart, col = int(threadIdx.x) % kApart;
  const int64_t j0 = int64_t(blockIdx.x) % key_tiles * kSide,
                task = int64_t(blockIdx.x) / key_tiles;
  const int64_t n = task / tiles / s.H, h = task / tiles % s.H, i0 = task % tiles * kSide;
  const Span seen = tile_span(s, x.terms, n, i0);
  T p[kMine][kMine] = {};
  if (j0 < seen.end) score_dots(s, x, room, n, h, i0, j0, seen.end, p);
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
#pragma unroll
    for (int f = 0; f < kMine; ++f) {
      const int64_t i = i0 + row + kApart * e, j = j0 + col + kApart * f;
      if (i >= s.Tq || j >= s.Tk) continue;
      const int64_t at = (n * s.H + h) * s.Tq + i;
      const T v = score(s, x.terms, n, h, i, j, p[e][f]);
      const bool live = v != -INFINITY && x.lse[at] != -INFINITY;
      to[at * s.Tk + j] = live ? exp(v - x.lse[at]) * kept<T>(s, x.terms.draw, n, h, i, j) : T(0);
    }
  }
}

template <class T>
void attention_weights(Ctx& ctx, const AttentionShape& s, const T* q, const T* k, const T* lse,
                       const int64_t* lengths, const int64_t* starts, const unsigned char* mask,
                       const T* bias, const T* slopes, T* w) {
  const int64_t tiles = tiles_of(s.Tq), key_tiles = tiles_of(s.Tk);
  const int64_t blocks = s.N * s.H * tiles * key_tiles;
  if (blocks == 0) return;
  const Operands<T> x = {q,
                         k,
                         nullptr,
                         nullptr,
                         lse,
                         nullptr,
                         {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}};
  HL_LAUNCH((weigh<T>), dim3(unsigned(blocks)), 256, sizeof(TileRoom<T>), ctx.stream, s, x, tiles,
            key_tiles, w);
}

HL_CUDA_KERNEL(attention_forward);
HL_CUDA_KERNEL(attention_weights);

}  // namespace
}  // namespace hl::cuda
