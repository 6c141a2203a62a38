// Matrix product, batched:  C = alpha * A B + beta * C
//
//   a (..., M, K)   b (..., K, N)   c (..., M, N)
//
// Every operand may have any strides (in elements), zero and negative included; a batch axis of size
// 1 in a or b has stride 0 there. c is an output, and an input where beta != 0.
// Gradients are two more products: dA = dC B^T, dB = A^T dC.
#pragma once

#include "context.h"

namespace hl {

constexpr int kMatmulBatchDims = 6;

struct MatmulShape {
  int64_t M, N, K;
  int64_t a_rs, a_cs, b_rs, b_cs, c_rs, c_cs;
  int batch_dims;
  int64_t batch[kMatmulBatchDims];
  int64_t a_batch[kMatmulBatchDims], b_batch[kMatmulBatchDims], c_batch[kMatmulBatchDims];
  double alpha, beta;
};

template <class T>
using matmul_t = void(Ctx&, const MatmulShape&, const T* a, const T* b, T* c);

}  // namespace hl
