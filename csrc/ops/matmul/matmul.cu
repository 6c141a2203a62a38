#include "ops/matmul/matmul.cuh"

#include "cuda/gemm.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

template <class T>
Plan matmul_plan(const MatmulShape& s) {
  const double n = double(batches_of(s)), m = double(s.M), k = double(s.K), c = double(s.N);
  return {"tiles by plain threads",
          nullptr,
          {kTile, kTile, kDepth},
          0,
          0,
          2 * n * m * k * c,
          n * (m * k + k * c + m * c) * sizeof(T)};
}

template <class T>
void matmul(Ctx& ctx, const MatmulShape& s, const T* a, const T* b, T* c) {
  using In = Strided<const T, BatchStarts>;
  const Strided<T, BatchStarts> to = {c, s.c_rs, s.c_cs, starts_of(s, s.c_batch)};
  gemm<T>(ctx, batches_of(s), s.M, s.N, s.K, In{a, s.a_rs, s.a_cs, starts_of(s, s.a_batch)},
          In{b, s.b_rs, s.b_cs, starts_of(s, s.b_batch)}, Blend<T>{to, T(s.alpha), T(s.beta)});
}

HL_CUDA_KERNEL(matmul);

}  // namespace
}  // namespace hl::cuda
