// How a call's operands and result are read and written, by any layer.
#pragma once

#include "cuda/operands.h"
#include "ops/matmul/matmul.h"

namespace hl::cuda {

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

inline BatchStarts starts_of(const MatmulShape& s, const int64_t* stride) {
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
    __device__ void two(int64_t i, int64_t j, T first, T second) const {
      if (beta == 0 && c.cs == 1) return put_two(c.at(i, j), alpha * first, alpha * second);
      (*this)(i, j, first);
      (*this)(i, j + 1, second);
    }
  };
  __device__ Matrix of(int64_t n) const { return {c.of(n), alpha, beta}; }
};

inline int64_t batches_of(const MatmulShape& s) {
  int64_t n = 1;
  for (int d = 0; d < s.batch_dims; ++d) n *= s.batch[d];
  return n;
}

}  // namespace hl::cuda
