// What a product of 16-bit matrices does with its sums, on either kind of tensor cores.
#pragma once

#include "cuda/gemm16.h"
#include "cuda/mma_tile.h"
#include "cuda/operands.h"
#include "cuda/unary.h"

namespace hl::cuda {

__device__ inline Bf16 to_type(float v, Bf16) { return to_bf16(v); }
__device__ inline F16 to_type(float v, F16) { return to_f16(v); }
__device__ inline float to_type(float v, float) { return v; }

template <class Type, class Out>
struct Epilogue {
  const float* bias;
  const Type* residual;
  Out* c;
  int64_t M, N;
  Gemm16::Activation activation;

  __device__ Epilogue of(int64_t) const { return *this; }
  __device__ float made(int64_t i, int64_t j, float sum) const {
    if (bias) sum += bias[j];
    if (activation == Gemm16::kRelu) sum = sum < 0 ? 0.0f : sum;
    if (activation == Gemm16::kGelu) sum *= normal_cdf(sum);
    if (residual) sum += to_float(residual[i * N + j]);
    return sum;
  }
  __device__ void operator()(int64_t i, int64_t j, float sum) const {
    c[i * N + j] = to_type(made(i, j, sum), Out());
  }
  __device__ void two(int64_t i, int64_t j, float first, float second) const {
    put_two(c + i * N + j, to_type(made(i, j, first), Out()),
            to_type(made(i, j + 1, second), Out()));
  }
};

template <class Type, class Out>
Epilogue<Type, Out> epilogue_of(const Gemm16& g) {
  return {g.bias,      static_cast<const Type*>(g.residual), static_cast<Out*>(g.c), g.M, g.N,
          g.activation};
}

// run(Type(), Out()) for the types of a call.
template <class Run>
void with_gemm16_types(const Gemm16& g, Run run) {
  const bool wide = g.c_type == Gemm16::kFloat32;
  if (g.type == Gemm16::kBf16) {
    wide ? run(Bf16(), float()) : run(Bf16(), Bf16());
  } else {
    wide ? run(F16(), float()) : run(F16(), F16());
  }
}

}  // namespace hl::cuda
