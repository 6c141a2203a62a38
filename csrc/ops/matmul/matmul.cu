#include "ops/matmul/matmul.h"

#include <cstdlib>

#include "cuda/gemm.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

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

// `batches` products that lie the same number of elements apart.
template <class T, Order kA, Order kB>
void products(Ctx& ctx, const MatmulShape& s, int64_t batches, int64_t a_step, int64_t b_step,
              int64_t c_step, const T* a, const T* b, T* c) {
  gemm<T, kA, kB>(
      ctx, batches, s.M, s.N, s.K,
      [=] __device__(int64_t n, int64_t i, int64_t k) {
        return a[n * a_step + i * s.a_rs + k * s.a_cs];
      },
      [=] __device__(int64_t n, int64_t k, int64_t j) {
        return b[n * b_step + k * s.b_rs + j * s.b_cs];
      },
      [=] __device__(int64_t n, int64_t i, int64_t j, T sum) {
        T* to = c + n * c_step + i * s.c_rs + j * s.c_cs;
        const T product = T(s.alpha) * sum;
        *to = s.beta == 0 ? product : product + T(s.beta) * *to;
      });
}

// The order that reads neighbours in memory: along k where that stride is the shorter one.
bool along(int64_t k_stride, int64_t other) { return std::abs(k_stride) <= std::abs(other); }

// One launch covers the longest batch dimension; the others, which are few and short, are a loop here,
// so that no thread has to take a batch number apart.
template <class T>
void matmul(Ctx& ctx, const MatmulShape& s, const T* a, const T* b, T* c) {
  int longest = 0;
  for (int d = 1; d < s.batch_dims; ++d) {
    if (s.batch[d] > s.batch[longest]) longest = d;
  }
  const bool batched = s.batch_dims > 0;
  const int64_t together = batched ? s.batch[longest] : 1;
  const bool a_along = along(s.a_cs, s.a_rs), b_along = !along(s.b_cs, s.b_rs);
  constexpr Order kAlong = Order::kAlongK, kAcross = Order::kAcrossK;
  const auto run = a_along
                       ? (b_along ? &products<T, kAlong, kAlong> : &products<T, kAlong, kAcross>)
                       : (b_along ? &products<T, kAcross, kAlong> : &products<T, kAcross, kAcross>);
  const int64_t launches = together > 0 ? batches_of(s) / together : 0;
  for (int64_t n = 0; n < launches; ++n) {
    const T *at_a = a, *at_b = b;
    T* at_c = c;
    int64_t left = n;
    for (int d = 0; d < s.batch_dims; ++d) {
      if (d == longest) continue;
      const int64_t index = left % s.batch[d];
      left /= s.batch[d];
      at_a += index * s.a_batch[d], at_b += index * s.b_batch[d], at_c += index * s.c_batch[d];
    }
    run(ctx, s, together, batched ? s.a_batch[longest] : 0, batched ? s.b_batch[longest] : 0,
        batched ? s.c_batch[longest] : 0, at_a, at_b, at_c);
  }
}

HL_CUDA_KERNEL(matmul);

}  // namespace
}  // namespace hl::cuda
