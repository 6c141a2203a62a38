#include "ops/matmul/matmul.h"

#include "cuda/gemm.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

// Where batch number n of an operand begins.
struct BatchStarts {
  int dims;
  int64_t size[kMatmulBatchDims], stride[kMatmulBatchDims];

  __device__ int64_t operator()(int64_t n) const {
    int64_t at = 0;
    for (int d = dims - 1; d >= 0; --d) {
      at += n % size[d] * stride[d];
      n /= size[d];
    }
    return at;
  }
};

BatchStarts starts_of(const MatmulShape& s, const int64_t* stride) {
  BatchStarts b = {s.batch_dims, {}, {}};
  for (int d = 0; d < s.batch_dims; ++d) b.size[d] = s.batch[d], b.stride[d] = stride[d];
  return b;
}

// c = alpha sum + beta c
template <class T>
struct Blend {
  Strided<T, BatchStarts> c;
  T alpha, beta;

  struct Matrix {
    typename Strided<T, BatchStarts>::Matrix c;
    T alpha, beta;
    __device__ void operator()(int64_t i, int64_t j, T sum) const {
      T* to = c.at(i, j);
      const T product = alpha * sum;
      *to = beta == 0 ? product : product + beta * *to;
    }
  };
  __device__ Matrix of(int64_t n) const { return {c.of(n), alpha, beta}; }
};

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
  using In = Strided<const T, BatchStarts>;
  const Strided<T, BatchStarts> to = {c, s.c_rs, s.c_cs, starts_of(s, s.c_batch)};
  gemm<T>(ctx, batches_of(s), s.M, s.N, s.K, In{a, s.a_rs, s.a_cs, starts_of(s, s.a_batch)},
          In{b, s.b_rs, s.b_cs, starts_of(s, s.b_batch)}, Blend<T>{to, T(s.alpha), T(s.beta)});
}

HL_CUDA_KERNEL(matmul);

}  // namespace
}  // namespace hl::cuda
