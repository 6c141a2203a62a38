#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/regions/forest.cuh"
#include "ops/regions/regions.h"

namespace hl::cuda {
namespace {

Plan label_regions_plan(const LabelShape& s) {
  const int64_t n = s.N * s.H * s.W;
  return {"union of neighbours", nullptr, {1, 1, 1}, n * int64_t(sizeof(int)), 0, 0,
          16.0 * double(n)};
}

void label_regions(Ctx& ctx, const LabelShape& s, const int64_t* mask, int64_t* label,
                   int64_t* count) {
  int* forest = reinterpret_cast<int*>(ctx.shared);
  const int64_t pixels = s.H * s.W;
  const Divider by_pixels = divide_by(pixels), by_width = divide_by(s.W);
  each(ctx, s.N * pixels, [=] __device__(int64_t at) {
    int64_t n = at;
    forest[at] = int(last_index(n, by_pixels));
  });
  each(ctx, s.N * pixels, [=] __device__(int64_t at) {
    if (mask[at] == 0) return;
    int64_t n = at;
    const int64_t i = last_index(n, by_pixels);
    int64_t y = i;
    const int64_t x = last_index(y, by_width);
    const auto join = [&](int64_t step) {
      if (mask[at] == mask[at - step]) unite(forest + n * pixels, int(i), int(i - step));
    };
    if (x > 0) join(1);
    if (y == 0) return;
    join(s.W);
    if (s.neighbours == 4) return;
    if (x > 0) join(s.W + 1);
    if (x + 1 < s.W) join(s.W - 1);
  });
  // Roots are numbered in their order, then each pixel asks its own.
  each_row(ctx, s.N, [=] __device__(int64_t n, void* room) {
    const int64_t first = n * pixels;
    int64_t before = 0;
    for (int64_t start = 0; start < pixels; start += kThreads) {
      const int64_t i = start + threadIdx.x;
      const bool root = i < pixels && mask[first + i] != 0 && forest[first + i] == i;
      int64_t all = 0;
      const int64_t front = block_scan(int64_t(root), static_cast<int64_t*>(room), all);
      if (root) label[first + i] = before + front + 1;
      before += all;
    }
    if (threadIdx.x == 0) count[n] = before;
  });
  each(ctx, s.N * pixels, [=] __device__(int64_t at) {
    int64_t n = at;
    const int i = int(last_index(n, by_pixels));
    const int root = root_of(forest + n * pixels, i);
    if (mask[at] == 0) {
      label[at] = 0;
    } else if (root != i) {
      label[at] = label[n * pixels + root];
    }
  });
}

// ---- confusion -------------------------------------------------------------------------------------
Plan confusion_plan(const ConfusionShape& s) {
  return {"counted at once", nullptr, {1, 1, 1}, 0, 0, 0, 16.0 * double(s.n)};
}

void confusion(Ctx& ctx, const ConfusionShape& s, const int64_t* target, const int64_t* prediction,
               int64_t* table) {
  using Count = unsigned long long;
  each(ctx, s.C * s.C, [=] __device__(int64_t i) { table[i] = 0; });
  each(ctx, s.n, [=] __device__(int64_t i) {
    if (target[i] == s.ignore) return;
    atomicAdd(reinterpret_cast<Count*>(table + target[i] * s.C + prediction[i]), Count(1));
  });
}

HL_CUDA_RAW_KERNEL(label_regions);
HL_CUDA_RAW_KERNEL(confusion);

}  // namespace
}  // namespace hl::cuda
