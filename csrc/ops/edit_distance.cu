// The table of distances, a block for each pair of rows: its threads go down the diagonals, whose cells
// do not need each other.
#include "ops/edit_distance.h"

#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

// Of each pair three diagonals are known, cell (i, j) of each at place i.
int64_t diagonal(const EditDistanceShape& s) { return s.S + 1; }

Plan edit_distance_plan(const EditDistanceShape& s) {
  const double n = double(s.N), rows = double(s.S), columns = double(s.T);
  return {"a block per pair, diagonal by diagonal",
          nullptr,
          {1, kThreads, 1},
          3 * s.N * diagonal(s) * int64_t(sizeof(int64_t)),
          0,
          4 * n * rows * columns,
          8 * n * (rows + columns + 3)};
}

__device__ int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

void edit_distance(Ctx& ctx, const EditDistanceShape& s, const int64_t* a, const int64_t* a_lengths,
                   const int64_t* b, const int64_t* b_lengths, int64_t* distance) {
  int64_t* memory = reinterpret_cast<int64_t*>(ctx.shared);
  const int64_t size = diagonal(s);
  each_row(ctx, s.N, [=] __device__(int64_t n, void*) {
    const int64_t *p = a + n * s.S, *q = b + n * s.T, rows = a_lengths[n], columns = b_lengths[n];
    int64_t *now = memory + n * 3 * size, *before = now + size, *last = before + size;
    for (int64_t d = 0; d <= rows + columns; ++d) {
      const int64_t top = d > columns ? d - columns : 0, end = least_of(d, rows);
      for (int64_t i = top + threadIdx.x; i <= end; i += kThreads) {
        const int64_t j = d - i;
        int64_t cell = i + j;  // the first row and column
        if (i > 0 && j > 0) {
          cell = last[i - 1] + (p[i - 1] != q[j - 1]);
          cell = least_of(cell, least_of(before[i - 1], before[i]) + 1);
        }
        now[i] = cell;
      }
      __syncthreads();
      int64_t* free = last;
      last = before, before = now, now = free;
    }
    if (threadIdx.x == 0) distance[n] = before[rows];
  });
}

HL_CUDA_RAW_KERNEL(edit_distance);

}  // namespace
}  // namespace hl::cuda
