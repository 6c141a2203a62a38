// C[M, N] = act(A[M, K] B[N, K]^T + bias) + residual, on matrices of 16-bit numbers, rows contiguous.
#pragma once

#include "cuda/api.h"

namespace hl::cuda {

int gemm16(int device, void* stream, const Gemm16* g);

// What layer sm90a registers: a launch, or false for a product that it does not take.
struct Gemm16Entry {
  bool (*run)(void* stream, const Gemm16& g);
};

}  // namespace hl::cuda
