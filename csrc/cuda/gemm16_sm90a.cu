// The product of 16-bit matrices by TMA and wgmma, on compute capability 9.0.
#include "cuda/gemm16_epilogue.h"
#include "cuda/gemm_sm90a.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

bool gemm16_run(void* stream, const Gemm16& g) {
  const TmaMatrix a = {g.a, g.M, g.K, g.K}, b = {g.b, g.N, g.K, g.K};
  if (!tma_takes(a) || !tma_takes(b)) return false;
  with_gemm16_types(g, [&](auto type, auto out) {
    using Type = decltype(type);
    gemm_sm90a<Type>(stream, 1, g.M, g.N, g.K, a, 0, b, 0, epilogue_of<Type, decltype(out)>(g));
  });
  return true;
}

const Gemm16Entry gemm16 = {&gemm16_run};
HL_CUDA_RAW_SM90A_KERNEL(gemm16);

}  // namespace
}  // namespace hl::cuda
