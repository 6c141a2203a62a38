// One loss per row by a block each, reduced.
#pragma once

#include "cuda/sums.h"
#include "ops/loss/loss.h"

namespace hl::cuda {

inline int64_t row_loss_bytes(int64_t rows) {
  return (rows + 1) * int64_t(sizeof(Two)) + sum_bytes(1, rows, false);
}

// Where a sum of losses and of weights goes: sum, or sum / sum of weights.
template <class T>
__device__ void put_loss(Reduction reduction, Two sum, T* loss) {
  *loss = T(reduction == Reduction::kMean ? sum.a / sum.b : sum.a);
}

// row(i, room) gives {loss, weight} to every thread of its block.
template <class T, class F>
void reduce_rows(const Ctx& ctx, int64_t rows, Reduction reduction, T* loss, F row) {
  Two* each = reinterpret_cast<Two*>(ctx.shared);
  each_row(ctx, rows, [=] __device__(int64_t i, void* room) {
    const Two r = row(i, room);
    if (threadIdx.x != 0) return;
    each[i] = r;
    if (reduction == Reduction::kNone) loss[i] = T(r.a);
  });
  if (reduction == Reduction::kNone) return;
  sum_all(
      ctx, rows, ctx.shared + rows * sizeof(Two), [=] __device__(int64_t i) { return each[i]; },
      [=] __device__(Two sum) { put_loss(reduction, sum, loss); });
}

}  // namespace hl::cuda
