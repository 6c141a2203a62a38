// Large products of rounded factors on compute capability 9.0.
#include "cuda/gemm_rounded_sm90a.h"
#include "cuda/kernel.h"
#include "ops/matmul/matmul.cuh"

namespace hl::cuda {
namespace {

const Entry<matmul_t<float>>* below() {
  return static_cast<const Entry<matmul_t<float>>*>(entry_below_sm90a("matmul", 1u));
}

bool shared_by_batches(const MatmulShape& s, const int64_t* stride) {
  for (int d = 0; d < s.batch_dims; ++d) {
    if (s.batch[d] != 1 && stride[d] != 0) return false;
  }
  return true;
}

template <class T>
Plan matmul_plan(const MatmulShape& s) {
  return below()->plan(s);
}

template <class T>
void matmul(Ctx& ctx, const MatmulShape& s, const T* a, const T* b, T* c) {
  const int64_t batches = batches_of(s);
  if (!sm90a_takes(ctx, batches, s.M, s.N, s.K)) return below()->run(ctx, s, a, b, c);
  using In = Strided<const T, BatchStarts>;
  const Strided<T, BatchStarts> to = {c, s.c_rs, s.c_cs, starts_of(s, s.c_batch)};
  gemm_rounded_sm90a(ctx, batches, s.M, s.N, s.K, In{a, s.a_rs, s.a_cs, starts_of(s, s.a_batch)},
                     shared_by_batches(s, s.a_batch),
                     In{b, s.b_rs, s.b_cs, starts_of(s, s.b_batch)},
                     shared_by_batches(s, s.b_batch), Blend<T>{to, T(s.alpha), T(s.beta)});
}

HL_CUDA_SM90A_KERNEL(matmul);

}  // namespace
}  // namespace hl::cuda
