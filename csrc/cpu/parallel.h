// parallel_for for kernels: a lambda over [begin, end) chunks, and slices of scratch memory.
#pragma once

#include "context.h"
#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

// f(begin, end, worker). Chunks are cut by `grain` alone, so what each one computes does not depend
// on the number of threads; n <= grain stays on the calling thread.
template <class F>
HL_INLINE void parallel_for(Ctx& ctx, int64_t n, int64_t grain, const F& f) {
  if (n <= grain) {
    if (n > 0) f(int64_t(0), n, 0);
    return;
  }
  run_parallel(
      ctx.workers, n, grain,
      [](void* arg, int64_t begin, int64_t end, int worker) {
        (*static_cast<const F*>(arg))(begin, end, worker);
      },
      const_cast<void*>(static_cast<const void*>(&f)));
}

template <class T>
HL_INLINE T* worker_scratch(const Ctx& ctx, int worker) {
  return reinterpret_cast<T*>(ctx.per_worker + worker * ctx.worker_bytes);
}

constexpr int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

}  // namespace hl::cpu::HL_ISA
