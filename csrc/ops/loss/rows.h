// One loss per row, reduced: rows run in chunks whose sums are added in order afterwards.
#pragma once

#include "cpu/exp_run.h"
#include "ops/loss/loss.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kLossGrain = 16384;  // elements worth a task of their own

HL_INLINE int64_t row_grain(int64_t C) { return most(1, kLossGrain / most(1, C)); }
HL_INLINE int64_t row_chunks(int64_t N, int64_t C) { return ceil_div(N, row_grain(C)); }

struct RowSum {
  double loss, weight;
};

// rows(begin, end, worker, take) calls take(i, {loss, weight}) for its rows in order; loss goes to
// loss[i], or sum, or sum / sum of weights.
template <class T, class F>
HL_INLINE void reduce_rows(Ctx& ctx, int64_t N, int64_t C, Reduction reduction, T* loss, F rows) {
  auto* sums = reinterpret_cast<RowSum*>(ctx.shared);
  const int64_t grain = row_grain(C);
  parallel_for(ctx, N, grain, [&](int64_t begin, int64_t end, int worker) {
    RowSum sum = {0, 0};
    rows(begin, end, worker, [&](int64_t i, const RowSum& r) {
      if (reduction == Reduction::kNone) loss[i] = T(r.loss);
      sum.loss += r.loss, sum.weight += r.weight;
    });
    sums[begin / grain] = sum;
  });
  if (reduction == Reduction::kNone) return;
  RowSum total = {0, 0};
  for (int64_t i = 0; i < row_chunks(N, C); ++i) {
    total.loss += sums[i].loss, total.weight += sums[i].weight;
  }
  *loss = T(reduction == Reduction::kMean ? total.loss / total.weight : total.loss);
}

// The same where row(i, worker) gives one row's {loss, weight}.
template <class T, class F>
HL_INLINE void reduce_losses(Ctx& ctx, int64_t N, int64_t C, Reduction reduction, T* loss, F row) {
  reduce_rows<T>(ctx, N, C, reduction, loss,
                 [&](int64_t begin, int64_t end, int worker, auto take) {
                   for (int64_t i = begin; i < end; ++i) take(i, row(i, worker));
                 });
}

HL_INLINE Plan row_loss_plan(const char* algorithm, int64_t N, int64_t C, double bytes) {
  Plan p = {};
  p.algorithm = algorithm;
  p.shared_bytes = row_chunks(N, C) * int64_t(sizeof(RowSum));
  p.flops = 4.0 * double(N) * double(C);
  p.bytes = bytes;
  return p;
}

}  // namespace hl::cpu::HL_ISA
