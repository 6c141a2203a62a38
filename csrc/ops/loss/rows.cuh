// One loss per row, by a block or a group of threads each, reduced.
#pragma once

#include "cuda/row_groups.h"
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

// Losses and weights of rows, in scratch, to what is asked for.
template <class T>
void reduce_parts(const Ctx& ctx, int64_t rows, Reduction reduction, T* loss) {
  const Two* each = reinterpret_cast<const Two*>(ctx.shared);
  if (reduction == Reduction::kNone) return;
  sum_all(
      ctx, rows, ctx.shared + rows * sizeof(Two), [=] __device__(int64_t i) { return each[i]; },
      [=] __device__(Two sum) { put_loss(reduction, sum, loss); });
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
  reduce_parts(ctx, rows, reduction, loss);
}
// row(group, i) to every thread of its group (row_groups.h), for rows of n numbers.
template <class T, class F>
void reduce_grouped_rows(const Ctx& ctx, int64_t rows, int64_t n, Reduction reduction, T* loss,
                         F row) {
  Two* each = reinterpret_cast<Two*>(ctx.shared);
  each_grouped_row<T>(ctx, rows, n, [=] __device__(const auto& g, int64_t i) {
    const Two r = row(g, i);
    if (!g.first()) return;
    each[i] = r;
    if (reduction == Reduction::kNone) loss[i] = T(r.a);
  });
  reduce_parts(ctx, rows, reduction, loss);
}

}  // namespace hl::cuda
