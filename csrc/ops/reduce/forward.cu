#include "cuda/kernel.h"
#include "ops/reduce/folds.cuh"

namespace hl::cuda {
namespace {

Plan plan_of(const ReduceShape& s, int64_t item, int64_t out, int64_t scratch) {
  const FoldCut c = cut_of(s);
  const double n = double(s.outputs) * double(s.count);
  return {c.columns ? "columns" : "rows",
          nullptr,
          {c.lanes, c.width, c.pieces},
          scratch,
          0,
          n,
          n * double(item) + double(s.outputs * out)};
}

template <class T>
Plan reduce_forward_plan(const ReduceShape& s) {
  return plan_of(s, sizeof(T), sizeof(T), reduction_bytes<T>(s));
}
template <class T>
void reduce_forward(Ctx& ctx, const ReduceShape& s, const T* x, T* y) {
  reduce(ctx, s, x, y, ctx.shared);
}

template <class T>
Plan arg_reduce_plan(const ReduceShape& s) {
  return plan_of(s, sizeof(T), 8, fold_bytes<FirstFold<T>>(cut_of(s)));
}
template <class T>
void arg_reduce(Ctx& ctx, const ReduceShape& s, const T* x, int64_t* y) {
  fold(ctx, cut_of(s), FirstFold<T>({s, x, y}), ctx.shared);
}

HL_CUDA_KERNEL(reduce_forward);
HL_CUDA_KERNEL(arg_reduce);

}  // namespace
}  // namespace hl::cuda
