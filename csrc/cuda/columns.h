// Sums down the columns of (outer, rows, C), two of them at a time, in double.
//
// A block takes some neighbouring columns of a chunk of rows: its threads read along the columns, so
// that memory is read in lines. What the chunks add up to is summed in their order by a second
// launch. How rows are cut follows from the shape alone.
#pragma once

#include "cuda/loop.h"

namespace hl::cuda {

struct Two {
  double a, b;
};

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
