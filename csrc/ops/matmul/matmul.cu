#include "ops/matmul/matmul.h"

#include "cuda/gemm.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

// Where batch number n begins, by one operand's batch strides.
__device__ int64_t batch_start(const MatmulShape& s, const int64_t* stride, int64_t n) {
  int64_t at = 0;
  for (int d = s.batch_dims - 1; d >= 0; --d) {
    at += n % s.batch[d] * stride[d];
    n /= s.batch[d];
  }
  return at;
}

int64_t batches_of(const MatmulShape& s) {
  int64_t n = 1;
  for (int d = 0; d < s.batch_dims; ++d) n *= s.batch[d];
  return n;
}

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
  gemm<T>(
      ctx, batches_of(s), s.M, s.N, s.K,
      [=] __device__(int64_t n, int64_t i, int64_t k) {
        return a[batch_start(s, s.a_batch, n) + i * s.a_rs + k * s.a_cs];
      },
      [=] __device__(int64_t n, int64_t k, int64_t j) {
        return b[batch_start(s, s.b_batch, n) + k * s.b_rs + j * s.b_cs];
      },
      [=] __device__(int64_t n, int64_t i, int64_t j, T sum) {
        T* to = c + batch_start(s, s.c_batch, n) + i * s.c_rs + j * s.c_cs;
        const T product = T(s.alpha) * sum;
        *to = s.beta == 0 ? product : product + T(s.beta) * *to;
      });
}

HL_CUDA_KERNEL(matmul);

}  // namespace
}  // namespace hl::cuda
