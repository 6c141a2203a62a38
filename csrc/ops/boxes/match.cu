#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/boxes/boxes.h"

namespace hl::cuda {
namespace {

template <class T>
Plan box_match_plan(const BoxMatchShape& s) {
  const double n = double(s.G) * double(s.A);
  return {"a thread per column",
          nullptr,
          {1, 1, 1},
          s.keep_best ? s.G * int64_t(sizeof(T)) : 0,
          0,
          n,
          (s.keep_best ? 3.0 : 1.0) * n * sizeof(T) + 8.0 * double(s.A)};
}

template <class T>
void box_match(Ctx& ctx, const BoxMatchShape& s, const T* overlap, int64_t* match) {
  T* best_of_row = reinterpret_cast<T*>(ctx.shared);
  if (s.keep_best) {
    each_row(ctx, s.G, [=] __device__(int64_t g, void* room) {
      T best = 0;  // NaN counts as no overlap
      for (int64_t a = threadIdx.x; a < s.A; a += kThreads) {
        const T v = overlap[g * s.A + a];
        best = v > best ? v : best;
      }
      best = block_reduce(best, static_cast<T*>(room), Larger());
      if (threadIdx.x == 0) best_of_row[g] = best;
    });
  }
  each(ctx, s.A, [=] __device__(int64_t a) {
    T best = -INFINITY;
    int64_t row = -1;
    bool kept = false;
    for (int64_t g = 0; g < s.G; ++g) {
      const T v = overlap[g * s.A + a];
      if (v > best) best = v, row = g;
      if (s.keep_best) kept = kept || (best_of_row[g] > 0 && v == best_of_row[g]);
    }
    const bool stays = row >= 0 && (kept || best >= T(s.high));
    match[a] = stays ? row : row < 0 || best < T(s.low) ? -1 : -2;
  });
}

HL_CUDA_KERNEL(box_match);

}  // namespace
}  // namespace hl::cuda
