#include "ops/layout/make.h"

#include "cuda/item.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

Plan one_hot_plan(const OneHotShape& s) {
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 0, 8.0 * double(s.N) * double(s.C)};
}
void one_hot(Ctx& ctx, const OneHotShape& s, const int64_t* index, int64_t* y) {
  each(ctx, s.N * s.C, [=] __device__(int64_t i) {
    int64_t n = i;
    const int64_t c = split(n, s.C);
    y[i] = index[n] == c;
  });
}

Plan triangle_plan(const TriangleShape& s) {
  const double n = double(s.B) * double(s.M) * double(s.N);
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 0, 2 * n * s.item};
}

template <class E>
void triangle_as(Ctx& ctx, const TriangleShape& s, const void* x_in, void* y_out) {
  const E* x = static_cast<const E*>(x_in);
  E* y = static_cast<E*>(y_out);
  const bool lower = s.part == Triangle::kLower;
  each(ctx, s.B * s.M * s.N, [=] __device__(int64_t e) {
    int64_t rest = e;
    const int64_t j = split(rest, s.N), i = split(rest, s.M);
    y[e] = (lower ? j <= i + s.k : j >= i + s.k) ? x[e] : E{};
  });
}
void triangle(Ctx& ctx, const TriangleShape& s, const void* x, void* y) {
  with_item(s.item, [&](auto item) { triangle_as<decltype(item)>(ctx, s, x, y); });
}

HL_CUDA_RAW_KERNEL(one_hot);
HL_CUDA_RAW_KERNEL(triangle);

}  // namespace
}  // namespace hl::cuda
