#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/resize/grid.h"

namespace hl::cuda {
namespace {

// Place of element j of n on [-1, 1].
__device__ double position(int64_t j, int64_t n, Corners corners) {
  if (corners == Corners::kAligned) return n > 1 ? double(2 * j) / double(n - 1) - 1 : 0;
  return double(2 * j + 1) / double(n) - 1;
}

// (x, y, 1) or (x, y, z, 1) of a point, number b.
__device__ double base(const GridShape& s, const int64_t (&at)[3], int b) {
  if (b == s.dims) return 1;
  const int64_t j = b == 0 ? at[2] : b == 1 ? at[1] : at[0];
  const int64_t n = b == 0 ? s.out[2] : b == 1 ? s.out[1] : s.out[0];
  return position(j, n, s.corners);
}

int64_t points(const GridShape& s) { return s.out[0] * s.out[1] * s.out[2]; }

template <class T>
Plan plan_of(const GridShape& s, const char* algorithm) {
  const double n = double(s.N) * double(points(s));
  return {algorithm,
          nullptr,
          {1, 1, 1},
          0,
          0,
          2 * n * s.dims * s.dims,
          (n * s.dims + double(s.N) * s.dims * (s.dims + 1)) * sizeof(T)};
}
template <class T>
Plan affine_grid_forward_plan(const GridShape& s) {
  return plan_of<T>(s, "a thread per number");
}
template <class T>
Plan affine_grid_backward_plan(const GridShape& s) {
  return plan_of<T>(s, "a block per number of theta");
}

template <class T>
void affine_grid_forward(Ctx& ctx, const GridShape& s, const T* theta, T* grid) {
  const Block3 block = block_of(s.out);
  const Divider by_dims = divide_by(s.dims);
  each(ctx, s.N * points(s) * s.dims, [=] __device__(int64_t i) {
    int64_t point = i, at[3];
    const int64_t a = last_index(point, by_dims), n = place_in(block, point, at);
    const T* row = theta + (n * s.dims + a) * (s.dims + 1);
    double sum = 0;
    for (int b = 0; b <= s.dims; ++b) sum += double(row[b]) * base(s, at, b);
    grid[i] = T(sum);
  });
}

template <class T>
void affine_grid_backward(Ctx& ctx, const GridShape& s, const T* dgrid, T* dtheta) {
  const Block3 block = block_of(s.out);
  const int64_t count = points(s);
  each_row(ctx, s.N * s.dims * (s.dims + 1), [=] __device__(int64_t row, void* room) {
    const int b = int(row % (s.dims + 1)), a = int(row / (s.dims + 1) % s.dims);
    const int64_t n = row / (s.dims + 1) / s.dims;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) {
      int64_t at[3];
      place_in(block, i, at);
      sum += double(dgrid[(n * count + i) * s.dims + a]) * base(s, at, b);
    }
    sum = block_reduce(sum, static_cast<double*>(room), Plus());
    if (threadIdx.x == 0) dtheta[row] = T(sum);
  });
}

HL_CUDA_KERNEL(affine_grid_forward);
HL_CUDA_KERNEL(affine_grid_backward);

}  // namespace
}  // namespace hl::cuda
