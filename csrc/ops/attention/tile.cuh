// What the kernels of attention do with a tile of scores: 64 queries by 64 keys, of which each of 256
// threads has 4 x 4, 16 apart, in registers. A row of the tile is the business of 16 neighbouring
// lanes.
#pragma once

#include "cuda/gpu.h"
#include "cuda/philox.h"
#include "ops/attention/attention.h"

namespace hl::cuda {

constexpr int kSide = 64, kMine = 4, kApart = 16;

// Steps of a product that are in shared memory at once.
template <class T>
constexpr int kSteps = 64 / int(sizeof(T));

// Shared memory of a block: both sides of a product, and a tile of probabilities.
template <class T>
struct TileRoom {
  T a[kSteps<T>][kSide + 1], b[kSteps<T>][kSide + 1];
  T p[kSide][kSide + 1];
};

template <class T>
struct Terms {
  const int64_t *lengths, *starts;
  const unsigned char* mask;
  const T *bias, *slopes;
  Draw draw;  // of dropout
};

// Keys [begin, end) of a query: both ends never fall from one query to the next.
struct Span {
  int64_t begin, end;
};
template <class T>
__device__ Span span_of(const AttentionShape& s, const Terms<T>& x, int64_t n, int64_t t) {
  const int64_t keys = x.lengths ? x.lengths[n] : s.Tk;
  const int64_t at = t + (x.starts ? x.starts[n] : s.shift);
  int64_t begin = at - s.left, end = at + s.right + 1;
  begin = begin < 0 ? 0 : begin < keys ? begin : keys;
  end = end < keys ? end : keys;
  return {begin, end > begin ? end : begin};
}

// Keys that any of the queries from `first` on sees.
template <class T>
__device__ Span tile_span(const AttentionShape& s, const Terms<T>& x, int64_t n, int64_t first) {
  const int64_t last = first + kSide <= s.Tq ? first + kSide - 1 : s.Tq - 1;
  const Span low = span_of(s, x, n, first), high = span_of(s, x, n, last);
  return {low.begin, high.end > low.begin ? high.end : low.begin};
}

// A score as softmax takes it: -inf where query i does not see key j.
template <class T>
__device__ T score(const AttentionShape& s, const Terms<T>& x, int64_t n, int64_t h, int64_t i,
                   int64_t j, T dot) {
  if (i >= s.Tq) return -INFINITY;
  const Span seen = span_of(s, x, n, i);
  if (j < seen.begin || j >= seen.end) return -INFINITY;
  if (x.mask && !x.mask[n * s.mask[0] + h * s.mask[1] + i * s.mask[2] + j * s.mask[3]])
    return -INFINITY;
  T v = T(s.scale) * dot;
  if (x.bias) v += x.bias[n * s.bias[0] + h * s.bias[1] + i * s.bias[2] + j * s.bias[3]];
  if (x.slopes) {
    const int64_t away = j - (i + (x.starts ? x.starts[n] : s.shift));
    v -= x.slopes[n * s.slope[0] + h * s.slope[1]] * T(away < 0 ? -away : away);
  }
  return v;
}

// What dropout multiplies a probability with.
template <class T>
__device__ T kept(const AttentionShape& s, const Draw& draw, int64_t n, int64_t h, int64_t i,
                  int64_t j) {
  if (s.threshold == 0) return 1;
  const int64_t word = ((n * s.H + h) * s.Tq + i) * s.Tk + j;
  return philox_word(draw, uint64_t(word)) < s.threshold ? T(0) : T(s.keep);
}

// acc[e][f] = S_k a(row, k) b(column, k); a and b are asked for rows below kSide, and answer 0 where
// there is nothing.
template <class T, class A, class B>
__device__ void tile_dots(TileRoom<T>* room, int64_t K, const A& a, const B& b,
                          T (&acc)[kMine][kMine]) {
  const int tid = int(threadIdx.x), row = tid / kApart, col = tid % kApart;
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
#pragma unroll
    for (int f = 0; f < kMine; ++f) acc[e][f] = 0;
  }
  for (int64_t k0 = 0; k0 < K; k0 += kSteps<T>) {
    __syncthreads();  // room may still be read
    for (int at = tid; at < kSide * kSteps<T>; at += int(blockDim.x)) {
      const int i = at / kSteps<T>, k = at % kSteps<T>;
      room->a[k][i] = k0 + k < K ? a(i, k0 + k) : T(0);
      room->b[k][i] = k0 + k < K ? b(i, k0 + k) : T(0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kSteps<T>; ++k) {
#pragma unroll
      for (int e = 0; e < kMine; ++e) {
#pragma unroll
        for (int f = 0; f < kMine; ++f)
          acc[e][f] += room->a[k][row + kApart * e] * room->b[k][col + kApart * f];
      }
    }
  }
}

// sum[e][f] += S_k p(row, k) b(k, column), k below kSide, for 64 columns from `first` on: p looks into
// room->p, b answers 0 where there is nothing.
template <class T, class P, class B>
__device__ void add_tile(TileRoom<T>* room, int64_t first, const P& p, const B& b,
                         T (&sum)[kMine][kMine]) {
  const int tid = int(threadIdx.x), row = tid / kApart, col = tid % kApart;
  for (int k0 = 0; k0 < kSide; k0 += kSteps<T>) {
    __syncthreads();  // what p sees is written, b may still be read
    for (int at = tid; at < kSide * kSteps<T>; at += int(blockDim.x)) {
      room->b[at / kSide][at % kSide] = b(k0 + at / kSide, first + at % kSide);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kSteps<T>; ++k) {
#pragma unroll
      for (int e = 0; e < kMine; ++e) {
#pragma unroll
        for (int f = 0; f < kMine; ++f)
          sum[e][f] += p(row + kApart * e, k0 + k) * room->b[k][col + kApart * f];
      }
    }
  }
}

// The arrays of a call.
template <class T>
struct Operands {
  const T *q, *k, *v, *dy, *lse, *delta;
  Terms<T> terms;
};

// Dots of the queries from i0 on with keys from j0 to `end`.
template <class T>
__device__ void score_dots(const AttentionShape& s, const Operands<T>& x, TileRoom<T>* room,
                           int64_t n, int64_t h, int64_t i0, int64_t j0, int64_t end,
                           T (&acc)[kMine][kMine]) {
  const T* q = x.q + n * s.q[0] + h * s.q[2];
  const T* k = x.k + n * s.k[0] + h / (s.H / s.Hk) * s.k[2];
  tile_dots(
      room, s.D, [&](int i, int64_t d) { return i0 + i < s.Tq ? q[(i0 + i) * s.q[1] + d] : T(0); },
      [&](int j, int64_t d) { return j0 + j < end ? k[(j0 + j) * s.k[1] + d] : T(0); }, acc);
}

// p of a tile and dS, by lse and delta; p becomes p z where there is dropout.
template <class T>
__device__ void slopes_of(const AttentionShape& s, const Operands<T>& x, TileRoom<T>* room,
                          int64_t n, int64_t h, int64_t i0, int64_t j0, int64_t end,
                          T (&p)[kMine][kMine], T (&ds)[kMine][kMine]) {
  const int row = int(threadIdx.x) / kApart, col = int(threadIdx.x) % kApart;
  const T* v = x.v + n * s.v[0] + h / (s.H / s.Hk) * s.v[2];
  const T* dy = x.dy + (n * s.Tq * s.H + h) * s.Dv;
  score_dots(s, x, room, n, h, i0, j0, end, p);
  tile_dots(
      room, s.Dv,
      [&](int i, int64_t d) { return i0 + i < s.Tq ? dy[(i0 + i) * s.H * s.Dv + d] : T(0); },
      [&](int j, int64_t d) { return j0 + j < end ? v[(j0 + j) * s.v[1] + d] : T(0); }, ds);
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
    const int64_t i = i0 + row + kApart * e, at = (n * s.H + h) * s.Tq + i;
    const T lse = i < s.Tq ? x.lse[at] : T(0), delta = i < s.Tq ? x.delta[at] : T(0);
#pragma unroll
    for (int f = 0; f < kMine; ++f) {
      const int64_t j = j0 + col + kApart * f;
      const T v = score(s, x.terms, n, h, i, j, p[e][f]);
      const bool live = v != -INFINITY && lse != -INFINITY;
      const T weight = live ? exp(v - lse) : T(0),
              z = live ? kept<T>(s, x.terms.draw, n, h, i, j) : T(0);
      ds[e][f] = live ? weight * (z * ds[e][f] - delta) : T(0);
      p[e][f] = weight * z;
    }
  }
}

template <class T>
__device__ void put_tile(TileRoom<T>* room, const T (&p)[kMine][kMine]) {
  const int row = int(threadIdx.x) / kApart, col = int(threadIdx.x) % kApart;
  __syncthreads();  // room->p may still be read
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
#pragma unroll
    for (int f = 0; f < kMine; ++f) room->p[row + kApart * e][col + kApart * f] = p[e][f];
  }
}

inline int64_t tiles_of(int64_t n) { return ceil_div(n, int64_t(kSide)); }

inline Plan attention_plan(const AttentionShape& s, double products, int64_t item,
                           int64_t scratch) {
  const double pairs = double(s.N) * double(s.H) * double(s.Tq) * double(s.Tk);
  const double rows = double(s.N) * double(s.H) * double(s.Tq + s.Tk) * double(s.D + s.Dv);
  return {"tiles by plain threads",
          nullptr,
          {kSide, kSide, 1},
          scratch,
          0,
          products * pairs * double(s.D + s.Dv),
          rows * double(item)};
}

}  // namespace hl::cuda
