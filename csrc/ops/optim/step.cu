#include <vector>

#include "cuda/kernel.h"
#include "ops/optim/flat.cuh"
#include "ops/optim/rules.cuh"

namespace hl::cuda {
namespace {

template <class T>
struct Row {
  T* param;
  const T* grad;
  T* state[kOptimStates];
  int64_t begin, size;
  OptimNumbers<T> numbers;
};

template <class T>
Plan optim_step_plan(const OptimShape& s) {
  const bool one =
      s.kind == OptimKind::kSgd || s.kind == OptimKind::kAdagrad || s.kind == OptimKind::kLion;
  return {"flat",
          nullptr,
          {kFlatChunk, 1, 1},
          s.tensors * int64_t(sizeof(Row<T>)),
          0,
          0,
          double(s.total) * sizeof(T) * (one ? 5 : 7)};
}

template <class T>
void optim_step(Ctx& ctx, const OptimShape& s, const double* h, const OptimTensor<T>* tensors) {
  std::vector<Row<T>> rows;
  rows.reserve(size_t(s.tensors));
  const double* known = nullptr;
  OptimNumbers<T> numbers = {};
  for (int64_t i = 0; i < s.tensors; ++i) {
    const OptimTensor<T>& t = tensors[i];
    if (!recording()) {  // a step that is recorded is not taken: its replays are
      t.progress[0] += 1;
      if (s.kind == OptimKind::kNadam) t.progress[1] *= nadam_mu(h, t.progress[0]);
    }
    if (!known || known[0] != t.progress[0] || known[1] != t.progress[1]) {
      numbers = optim_numbers<T>(s.kind, h, t.progress);
      known = t.progress;
    }
    rows.push_back(
        {t.param, t.grad, {t.state[0], t.state[1], t.state[2]}, t.begin, t.size, numbers});
  }
  const auto* table = upload(ctx, rows.data(), s.tensors);
  if (refreshing()) return;
  const OptimKind kind = s.kind;
  each_flat(ctx, table, s.tensors, s.total, [=] __device__(const Row<T>& row, int64_t i) {
    T w = row.param[i];
    optim_update(kind, row.numbers, w, row.grad[i], row.state, i);
    row.param[i] = w;
  });
}

HL_CUDA_KERNEL(optim_step);

}  // namespace
}  // namespace hl::cuda
