// Sums of many numbers, two of them at a time, in double: of all, or down the columns of (outer, rows,
// C).
//
// Blocks sum what falls to them, their sums are added up by a second launch: what falls to whom
// follows from the shape alone. Of columns, a block takes some neighbours in a chunk of
// rows: its threads read along the rows, so that memory is read in lines.
#pragma once

#include "cuda/loop.h"

namespace hl::cuda {

struct Two {
  double a, b;
};

constexpr int64_t kSumBlocks = 1024;
constexpr int64_t kSumBytes = kSumBlocks * int64_t(sizeof(Two));

__device__ inline Two block_sum(Two v, void* room) {
  double* r = static_cast<double*>(room);
  const double a = block_reduce(v.a, r, Plus());
  return {a, block_reduce(v.b, r, Plus())};
}

// finish(S f(i) over [0, n)), by one thread. `room` has kSumBytes.
template <class F, class Finish>
void sum_all(const Ctx& ctx, int64_t n, void* room, F f, Finish finish) {
  Two* part = static_cast<Two*>(room);
  const int64_t wanted = ceil_div(n, int64_t(4 * kThreads));
  const int64_t blocks = wanted < kSumBlocks ? wanted : kSumBlocks;
  each_row(ctx, blocks, [=] __device__(int64_t block, void* shared) {
    Two sum = {0, 0};
    for (int64_t i = block * kThreads + threadIdx.x; i < n; i += blocks * kThreads) {
      const Two v = f(i);
      sum.a += v.a, sum.b += v.b;
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) part[block] = sum;
  });
  each_row(ctx, 1, [=] __device__(int64_t, void* shared) {
    Two sum = {0, 0};
    for (int64_t i = threadIdx.x; i < blocks; i += kThreads) sum.a += part[i].a, sum.b += part[i].b;
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) finish(sum);
  });
}

struct ColumnCut {
  int64_t outer, rows, C;
  int width;  // columns of a block
  int64_t strips, chunk, chunks;
};

inline ColumnCut cut_columns(int64_t outer, int64_t rows, int64_t C) {
  constexpr int64_t kBlocks = 1024, kRows = 16;  // of a launch; of a thread, at least
  ColumnCut s = {outer, rows, C, kWarp, 0, 0, 0};
  while (s.width > 1 && s.width / 2 >= C) s.width /= 2;
  s.strips = ceil_div(C, int64_t(s.width));
  const int64_t lanes = kThreads / s.width, apart = outer * s.strips;
  const int64_t wanted = kBlocks / (apart > 0 ? apart : 1);
  s.chunk = ceil_div(rows, wanted > 0 ? wanted : 1);
  if (s.chunk < lanes * kRows) s.chunk = lanes * kRows;
  s.chunks = ceil_div(rows, s.chunk);
  return s;
}

inline int64_t column_bytes(const ColumnCut& s) {
  return s.outer * s.C * (s.chunks + 1) * int64_t(sizeof(Two));
}

template <class F>
__global__ void __launch_bounds__(kThreads) columns_kernel(ColumnCut s, Two* part, F f) {
  HL_SHARED(Two, room);
  const int lanes = kThreads / s.width, first = int(threadIdx.x) / s.width;
  for (int64_t task = blockIdx.x; task < s.outer * s.chunks * s.strips; task += gridDim.x) {
    const int64_t at = task / s.strips, o = at / s.chunks, begin = at % s.chunks * s.chunk;
    const int64_t end = begin + s.chunk < s.rows ? begin + s.chunk : s.rows;
    const int64_t c = task % s.strips * s.width + int(threadIdx.x) % s.width;
    Two sum = {0, 0};
    for (int64_t r = begin + first; c < s.C && r < end; r += lanes) {
      const Two v = f(o, r, c);
      sum.a += v.a, sum.b += v.b;
    }
    __syncthreads();  // room may still be read
    room[threadIdx.x] = sum;
    __syncthreads();
    for (int half = lanes / 2; half > 0; half /= 2) {
      if (first < half) {
        const Two other = room[threadIdx.x + half * s.width];
        room[threadIdx.x].a += other.a, room[threadIdx.x].b += other.b;
      }
      __syncthreads();
    }
    if (first == 0 && c < s.C) part[at * s.C + c] = room[threadIdx.x];
  }
}

// S_r f(o, r, c) for every o and c: (outer, C), somewhere in `room` of column_bytes.
template <class F>
const Two* sum_columns(const Ctx& ctx, const ColumnCut& s, void* room, F f) {
  Two *part = static_cast<Two*>(room), *total = part + s.outer * s.chunks * s.C;
  HL_LAUNCH((columns_kernel<F>), grid_of(s.outer * s.chunks * s.strips), kThreads,
            kThreads * sizeof(Two), ctx.stream, s, part, f);
  if (s.chunks == 1) return part;
  each(ctx, s.outer * s.C, [=] __device__(int64_t i) {
    const Two* from = part + i / s.C * s.chunks * s.C + i % s.C;
    Two sum = {0, 0};
    for (int64_t k = 0; k < s.chunks; ++k) sum.a += from[k * s.C].a, sum.b += from[k * s.C].b;
    total[i] = sum;
  });
  return total;
}

}  // namespace hl::cuda
