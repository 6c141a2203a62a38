#include "cpu/parallel.h"
#include "kernel.h"
#include "ops/resize/grid.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 16384;  // least places of a thread's task

// Place of element j of n on [-1, 1].
HL_INLINE double place(int64_t j, int64_t n, Corners corners) {
  if (corners == Corners::kAligned) return n > 1 ? double(2 * j) / double(n - 1) - 1 : 0;
  return double(2 * j + 1) / double(n) - 1;
}

int64_t rows_in(const GridShape& s) { return s.out[0] * s.out[1]; }

template <class T>
Plan plan_of(const GridShape& s) {
  Plan p = {};
  p.algorithm = "rows";
  const double places = double(s.N) * double(rows_in(s)) * double(s.out[2]);
  p.flops = 2 * places * s.dims * s.dims;
  p.bytes = (places * s.dims + double(s.N) * s.dims * (s.dims + 1)) * sizeof(T);
  return p;
}

template <class T, int D>
HL_INLINE void forward_rows(const GridShape& s, int64_t begin, int64_t end, const T* theta,
                            T* grid) {
  const int64_t W = s.out[2];
  for (int64_t r = begin; r < end; ++r) {
    const T* m = theta + r / rows_in(s) * D * (D + 1);
    const double y = place(r % s.out[1], s.out[1], s.corners);
    const double z = place(r / s.out[1] % s.out[0], s.out[0], s.corners);
    double rest[D], slope[D];
    for (int a = 0; a < D; ++a, m += D + 1) {
      slope[a] = double(m[0]);
      rest[a] = double(m[1]) * y + double(m[D]);
      if (D == 3) rest[a] += double(m[2]) * z;
    }
    T* g = grid + r * W * D;
    for (int64_t j = 0; j < W; ++j, g += D) {
      const double x = place(j, W, s.corners);
      for (int a = 0; a < D; ++a) g[a] = T(slope[a] * x + rest[a]);
    }
  }
}

// The sums of one row's gradients, alone and times x: two for each axis of a place.
template <class T, int D>
HL_INLINE void row_sums(const GridShape& s, const T* g, double* sum) {
  for (int a = 0; a < 2 * D; ++a) sum[a] = 0;
  for (int64_t j = 0; j < s.out[2]; ++j, g += D) {
    const double x = place(j, s.out[2], s.corners);
    for (int a = 0; a < D; ++a) sum[2 * a] += double(g[a]) * x, sum[2 * a + 1] += double(g[a]);
  }
}

template <class T, int D>
void backward(Ctx& ctx, const GridShape& s, const T* dgrid, T* dtheta) {
  const int64_t rows = rows_in(s), W = s.out[2];
  double* sums = reinterpret_cast<double*>(ctx.shared);
  parallel_for(ctx, s.N * rows, max64(1, kTask / max64(W, 1)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t r = begin; r < end; ++r) {
                   row_sums<T, D>(s, dgrid + r * W * D, sums + r * 2 * D);
                 }
               });
  for (int64_t n = 0; n < s.N; ++n) {
    double total[D * (D + 1)] = {};
    for (int64_t r = 0; r < rows; ++r) {
      const double* sum = sums + (n * rows + r) * 2 * D;
      const double y = place(r % s.out[1], s.out[1], s.corners);
      const double z = place(r / s.out[1], s.out[0], s.corners);
      for (int a = 0; a < D; ++a) {
        double* t = total + a * (D + 1);
        t[0] += sum[2 * a], t[1] += y * sum[2 * a + 1], t[D] += sum[2 * a + 1];
        if (D == 3) t[2] += z * sum[2 * a + 1];
      }
    }
    for (int k = 0; k < D * (D + 1); ++k) dtheta[n * D * (D + 1) + k] = T(total[k]);
  }
}

}  // namespace

template <class T>
Plan affine_grid_forward_plan(const GridShape& s) {
  return plan_of<T>(s);
}
template <class T>
void affine_grid_forward(Ctx& ctx, const GridShape& s, const T* theta, T* grid) {
  if (s.out[2] == 0) return;
  parallel_for(ctx, s.N * rows_in(s), max64(1, kTask / s.out[2]),
               [&](int64_t begin, int64_t end, int) {
                 s.dims == 2 ? forward_rows<T, 2>(s, begin, end, theta, grid)
                             : forward_rows<T, 3>(s, begin, end, theta, grid);
               });
}

template <class T>
Plan affine_grid_backward_plan(const GridShape& s) {
  Plan p = plan_of<T>(s);
  p.algorithm = "rows, then their sums";
  p.shared_bytes = s.N * rows_in(s) * 2 * s.dims * int64_t(sizeof(double));
  return p;
}
template <class T>
void affine_grid_backward(Ctx& ctx, const GridShape& s, const T* dgrid, T* dtheta) {
  s.dims == 2 ? backward<T, 2>(ctx, s, dgrid, dtheta) : backward<T, 3>(ctx, s, dgrid, dtheta);
}

HL_DEFINE_KERNEL(affine_grid_forward);
HL_DEFINE_KERNEL(affine_grid_backward);

}  // namespace hl::cpu::HL_ISA
