#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/attention/tile.cuh"

namespace hl::cuda {
namespace {

template <class T>
int64_t delta_bytes(const AttentionShape& s) {
  return s.N * s.H * s.Tq * int64_t(sizeof(T));
}
template <class T>
Plan attention_backward_plan(const AttentionShape& s) {
  return attention_plan(s, 7, sizeof(T), delta_bytes<T>(s));
}
template <class T>
Plan attention_bias_backward_plan(const AttentionShape& s) {
  return attention_plan(s, 2, sizeof(T), delta_bytes<T>(s));
}

// delta[n, h, i] = dy . y, a warp each.
template <class T>
void make_delta(const Ctx& ctx, const AttentionShape& s, const T* dy, const T* y, T* delta) {
  each(ctx, s.N * s.H * s.Tq * kWarp, [=] __device__(int64_t at) {
    const int64_t i = at / kWarp, n = i / s.Tq / s.H, h = i / s.Tq % s.H;
    const int64_t row = ((n * s.Tq + i % s.Tq) * s.H + h) * s.Dv;
    T sum = 0;
    for (int64_t d = at % kWarp; d < s.Dv; d += kWarp) sum += dy[row + d] * y[row + d];
    sum = warp_reduce(sum, Plus());
    if (at % kWarp == 0) delta[i] = sum;
  });
}

// Rows of a tile of a result, 64 columns from `column` on.
template <class T>
__device__ void store_tile(const T (&sum)[kMine][kMine], T scale, int64_t rows, int64_t columns,
                           int64_t column, int64_t stride, T* to) {
  const int row = int(threadIdx.x) / kApart, col = int(threadIdx.x) % kApart;
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
#pragma unroll
    for (int f = 0; f < kMine; ++f) {
      const int64_t r = row + kApart * e, c = column + col + kApart * f;
      if (r < rows && c < columns) to[r * stride + c] = scale * sum[e][f];
    }
  }
}

// dq of a tile of queries, 64 columns a block: dS k over the keys that they see.
template <class T>
__global__ void __launch_bounds__(256)
    query_slopes(AttentionShape s, Operands<T> x, int64_t tiles, T* dq) {
  HL_SHARED(TileRoom<T>, room);
  const int64_t task = blockIdx.x, n = task / tiles / s.H, h = task / tiles % s.H;
  const int64_t i0 = task % tiles * kSide, column = int64_t(blockIdx.y) * kSide;
  const T* k = x.k + n * s.k[0] + h / (s.H / s.Hk) * s.k[2];
  const Span seen = tile_span(s, x.terms, n, i0);
  T sum[kMine][kMine] = {}, p[kMine][kMine], ds[kMine][kMine];
  for (int64_t j0 = seen.begin / kSide * kSide; j0 < seen.end; j0 += kSide) {
    slopes_of(s, x, room, n, h, i0, j0, seen.end, p, ds);
    put_tile(room, ds);
    add_tile(
        room, column, [&](int i, int j) { return room->p[i][j]; },
        [&](int j, int64_t d) {
          return j0 + j < seen.end && d < s.D ? k[(j0 + j) * s.k[1] + d] : T(0);
        },
        sum);
  }
  store_tile(sum, T(s.scale), s.Tq - i0, s.D, column, s.dq[1],
             dq + n * s.dq[0] + i0 * s.dq[1] + h * s.dq[2]);
}

// dk and dv of a tile of keys, 64 columns of each a block, over all queries of all heads that read
// them.
template <class T>
__global__ void __launch_bounds__(256)
    key_slopes(AttentionShape s, Operands<T> x, int64_t tiles, T* dk, T* dv) {
  HL_SHARED(TileRoom<T>, room);
  const int64_t task = blockIdx.x, n = task / tiles / s.Hk, hk = task / tiles % s.Hk;
  const int64_t j0 = task % tiles * kSide, column = int64_t(blockIdx.y) * kSide;
  const int64_t share = s.H / s.Hk;
  T to_k[kMine][kMine] = {}, to_v[kMine][kMine] = {}, p[kMine][kMine], ds[kMine][kMine];
  for (int64_t h = hk * share; h < (hk + 1) * share; ++h) {
    const T *q = x.q + n * s.q[0] + h * s.q[2], *dy = x.dy + (n * s.Tq * s.H + h) * s.Dv;
    for (int64_t i0 = 0; i0 < s.Tq; i0 += kSide) {
      const Span seen = tile_span(s, x.terms, n, i0);
      if (seen.begin >= j0 + kSide || seen.end <= j0) continue;
      slopes_of(s, x, room, n, h, i0, j0, seen.end, p, ds);
      put_tile(room, p);
      add_tile(
          room, column, [&](int j, int i) { return room->p[i][j]; },
          [&](int i, int64_t d) {
            return i0 + i < s.Tq && d < s.Dv ? dy[(i0 + i) * s.H * s.Dv + d] : T(0);
          },
          to_v);
      put_tile(room, ds);
      add_tile(
          room, column, [&](int j, int i) { return room->p[i][j]; },
          [&](int i, int64_t d) {
            return i0 + i < s.Tq && d < s.D ? q[(i0 + i) * s.q[1] + d] : T(0);
          },
          to_k);
    }
  }
  store_tile(to_k, T(s.scale), s.Tk - j0, s.D, column, s.dk[1],
             dk + n * s.dk[0] + j0 * s.dk[1] + hk * s.dk[2]);
  store_tile(to_v, T(1), s.Tk - j0, s.Dv, column, s.dv[1],
             dv + n * s.dv[0] + j0 * s.dv[1] + hk * s.dv[2]);
}

template <class T>
void attention_backward(Ctx& ctx, const AttentionShape& s, const T* dy, const T* q, const T* k,
                        const T* v, const T* y, const T* lse, const int64_t* lengths,
                        const int64_t* starts, const unsigned char* mask, const T* bias,
                        const T* slopes, T* dq, T* dk, T* dv) {
  T* delta = reinterpret_cast<T*>(ctx.shared);
  make_delta(ctx, s, dy, y, delta);
  const Operands<T> x = {
      q, k, v, dy, lse, delta, {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}};
  const int64_t tiles = tiles_of(s.Tq), key_tiles = tiles_of(s.Tk);
  const int64_t widest = s.D > s.Dv ? s.D : s.Dv;
  if (dq && s.N * s.H * tiles * s.D > 0) {
    HL_LAUNCH((query_slopes<T>), dim3(unsigned(s.N * s.H * tiles), unsigned(tiles_of(s.D))), 256,
              sizeof(TileRoom<T>), ctx.stream, s, x, tiles, dq);
  }
  if (dk && s.N * s.Hk * key_tiles * widest > 0) {
    HL_LAUNCH((key_slopes<T>), dim3(unsigned(s.N * s.Hk * key_tiles), unsigned(tiles_of(widest))),
              256, sizeof(TileRoom<T>), ctx.stream, s, x, key_tiles, dk, dv);
  }
}

// Tiles of scores that a block adds up: from `first` on, `count` of them.
struct Tiles {
  int64_t first, count;
};
__device__ inline Tiles own_or_all(bool own, int64_t number, int64_t all) {
  return own ? Tiles{number, 1} : Tiles{0, all};
}

// A tile of dbias: dS, summed over the axes along which the bias is broadcast.
template <class T>
__global__ void __launch_bounds__(256, 1) bias_slopes(AttentionShape s, Operands<T> x, T* dbias) {
  HL_SHARED(TileRoom<T>, room);
  const int tid = int(threadIdx.x), row = tid / kApart, col = tid % kApart;
  const int64_t *size = s.bias_sizes, tiles = (s.Tq + kSide - 1) / kSide;
  const int64_t key_tiles = (s.Tk + kSide - 1) / kSide;
  const int64_t result_tiles = (size[2] + kSide - 1) / kSide;
  const int64_t result_keys = (size[3] + kSide - 1) / kSide;
  int64_t task = blockIdx.x;
  const int64_t kt = task % result_keys, qt = (task /= result_keys) % result_tiles;
  const int64_t hb = (task /= result_tiles) % size[1], nb = task / size[1];
  const Tiles samples = own_or_all(size[0] > 1, nb, s.N), heads = own_or_all(size[1] > 1, hb, s.H);
  const Tiles queries = own_or_all(size[2] > 1, qt, tiles);
  const Tiles keys = own_or_all(size[3] > 1, kt, key_tiles);
  double sum[kMine][kMine] = {};
  T p[kMine][kMine], ds[kMine][kMine];
  for (int64_t n = samples.first; n < samples.first + samples.count; ++n) {
    for (int64_t h = heads.first; h < heads.first + heads.count; ++h) {
      for (int64_t i = queries.first; i < queries.first + queries.count; ++i) {
        const Span seen = tile_span(s, x.terms, n, i * kSide);
        for (int64_t j = keys.first; j < keys.first + keys.count; ++j) {
          if (seen.begin >= (j + 1) * kSide || seen.end <= j * kSide) continue;
          slopes_of(s, x, room, n, h, i * kSide, j * kSide, seen.end, p, ds);
#pragma unroll
          for (int e = 0; e < kMine; ++e) {
#pragma unroll
            for (int f = 0; f < kMine; ++f) sum[e][f] += double(ds[e][f]);
          }
        }
      }
    }
  }
  // The tile goes to shared memory, where rows and columns of a broadcast axis are added up.
  double (*all)[kSide + 1] = reinterpret_cast<double (*)[kSide + 1]>(room);
  __syncthreads();
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
#pragma unroll
    for (int f = 0; f < kMine; ++f) all[row + kApart * e][col + kApart * f] = sum[e][f];
  }
  __syncthreads();
  const int rows = size[2] > 1 ? kSide : 1, columns = size[3] > 1 ? kSide : 1;
  for (int at = tid; at < rows * columns; at += int(blockDim.x)) {
    const int r = at / columns, c = at % columns;
    double total = 0;
    for (int i = rows == 1 ? 0 : r; i < (rows == 1 ? kSide : r + 1); ++i) {
      for (int j = columns == 1 ? 0 : c; j < (columns == 1 ? kSide : c + 1); ++j)
        total += all[i][j];
    }
    const int64_t i = qt * kSide + r, j = kt * kSide + c;
    if (i < size[2] && j < size[3]) {
      dbias[((nb * size[1] + hb) * size[2] + i) * size[3] + j] = T(total);
    }
  }
}

template <class T>
void attention_bias_backward(Ctx& ctx, const AttentionShape& s, const T* dy, const T* q, const T* k,
                             const T* v, const T* y, const T* lse, const int64_t* lengths,
                             const int64_t* starts, const unsigned char* mask, const T* bias,
                             const T* slopes, T* dbias) {
  T* delta = reinterpret_cast<T*>(ctx.shared);
  make_delta(ctx, s, dy, y, delta);
  const Operands<T> x = {
      q, k, v, dy, lse, delta, {lengths, starts, mask, bias, slopes, draw_of(s.seed, s.call)}};
  const int64_t* size = s.bias_sizes;
  const int64_t blocks = size[0] * size[1] * tiles_of(size[2]) * tiles_of(size[3]);
  if (blocks == 0) return;
  constexpr size_t kTileBytes = sizeof(double) * kSide * (kSide + 1);
  constexpr size_t kBytes = sizeof(TileRoom<T>) > kTileBytes ? sizeof(TileRoom<T>) : kTileBytes;
  HL_LAUNCH((bias_slopes<T>), dim3(unsigned(blocks)), 256, kBytes, ctx.stream, s, x, dbias);
}

HL_CUDA_KERNEL(attention_backward);
HL_CUDA_KERNEL(attention_bias_backward);

}  // namespace
}  // namespace hl::cuda
