#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "cuda/sort.h"
#include "ops/resize/grid.cuh"

namespace hl::cuda {
namespace {

// Channel c of the image x at a place.
template <class T, int D>
__device__ T sample(const GridShape& s, const Place<T, D>& p, const T* x, int64_t c, T fill) {
  const int corners = s.mode == SampleMode::kNearest ? 1 : 1 << D;
  T sum = 0, outside = 0;
  bool any = false;
  for (int b = 0; b < corners; ++b) {
    T weight;
    const int64_t pixel = corner_at(s, p, b, weight);
    if (weight == 0) continue;  // is not read: what it holds, maybe NaN, plays no part
    if (pixel < 0) {
      outside += weight;
    } else {
      sum += weight * x[pixel * s.C + c];
      any = true;
    }
  }
  return !any ? fill : fill == 0 ? sum : sum + outside * fill;
}

template <class T, int D>
void forward(Ctx& ctx, const GridShape& s, const T* x, const T* grid, T* y) {
  const int64_t points = points_of(s), image = pixels_of(s) * s.C;
  const Divider by_c = divide_by(s.C), by_points = divide_by(points);
  each(ctx, s.N * points * s.C, [=] __device__(int64_t i) {
    int64_t n = i;
    const int64_t c = last_index(n, by_c);
    const Place<T, D> p = find_place<T, D>(s, grid + n * D);
    last_index(n, by_points);
    y[i] = sample(s, p, x + n * image, c, T(0));
  });
}

// Places are worked out in double, so that rounding does not shift a pixel at the end of a row.
template <class T, int D>
void warp(Ctx& ctx, const GridShape& s, const T* x, const double* matrix, T* y) {
  const int64_t image = pixels_of(s) * s.C;
  const Divider by_c = divide_by(s.C);
  const Block3 block = block_of(s.out);
  each(ctx, s.N * points_of(s) * s.C, [=] __device__(int64_t i) {
    int64_t point = i, at[3];
    const int64_t c = last_index(point, by_c), n = place_in(block, point, at);
    Place<T, D> p;
#pragma unroll
    for (int a = 0; a < D; ++a) {
      const double* m = matrix + (n * D + a) * (D + 1);
      double u = m[0] * double(at[2]) + m[1] * double(at[1]) + m[D];
      if (D == 3) u += m[2] * double(at[0]);
      p.at[a] = T(u), p.slope[a] = 0;
    }
    bring_inside(s, p);
    to_corners(s, p);
    y[i] = sample(s, p, x + n * image, c, T(s.fill));
  });
}

template <class T>
Plan grid_sample_forward_plan(const GridShape& s) {
  return grid_plan<T>(s, "a thread per element", 1);
}
template <class T>
void grid_sample_forward(Ctx& ctx, const GridShape& s, const T* x, const T* grid, T* y) {
  s.dims == 2 ? forward<T, 2>(ctx, s, x, grid, y) : forward<T, 3>(ctx, s, x, grid, y);
}

template <class T>
Plan warp_affine_plan(const GridShape& s) {
  return grid_plan<T>(s, "a thread per element", 1);
}
template <class T>
void warp_affine(Ctx& ctx, const GridShape& s, const T* x, const double* m, T* y) {
  s.dims == 2 ? warp<T, 2>(ctx, s, x, m, y) : warp<T, 3>(ctx, s, x, m, y);
}

// ---- backward to the grid --------------------------------------------------------------------------
//
// dy times the difference of opposite corners, weighted along the other axes. Few channels are one
// thread's, many are shared out over a warp.
constexpr int64_t kFewChannels = 8;

template <class T, int D>
void to_grid(const Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid, T* dgrid) {
  const int64_t points = points_of(s), image = pixels_of(s) * s.C, all = s.N * points;
  const int lanes = s.C < kFewChannels ? 1 : kWarp;
  const Divider by_points = divide_by(points);
  each_row(ctx, ceil_div(all * lanes, int64_t(kThreads)), [=] __device__(int64_t block, void*) {
    const int64_t point = (block * kThreads + threadIdx.x) / lanes;
    const bool there = point < all;
    Place<T, D> p = find_place<T, D>(s, grid + (there ? point : 0) * D);
    const T* from = x + quotient(there ? point : 0, by_points) * image;
    double sum[D] = {};
    for (int b = 0; b < 1 << D; ++b) {
      T weight, factor[D];
      const int64_t pixel = there ? corner_at(s, p, b, weight) : -1;
      if (pixel < 0) continue;
#pragma unroll
      for (int a = 0; a < D; ++a) {
        factor[a] = b >> a & 1 ? T(1) : T(-1);
#pragma unroll
        for (int o = 0; o < D; ++o) {
          if (o != a) factor[a] *= b >> o & 1 ? p.part[o] : 1 - p.part[o];
        }
      }
      double seen = 0;
      for (int64_t c = int(threadIdx.x) % lanes; c < s.C; c += lanes) {
        seen += double(dy[point * s.C + c]) * from[pixel * s.C + c];
      }
#pragma unroll
      for (int a = 0; a < D; ++a) sum[a] += factor[a] * seen;
    }
#pragma unroll
    for (int a = 0; a < D; ++a) {
      if (lanes > 1) sum[a] = warp_reduce(sum[a], Plus());
      if (there && int(threadIdx.x) % lanes == 0) {
        const bool none = p.slope[a] == 0 || s.mode == SampleMode::kNearest;
        dgrid[point * D + a] = none ? T(0) : T(sum[a] * p.slope[a]);
      }
    }
  });
}

// ---- backward to the image -------------------------------------------------------------------------
//
// Points are sorted by the cell of pixels in which they lie, known by its lower corner, which may be
// one before the first. Then each pixel adds up what the cells around it hold, in the order of the
// grid.
using Point = Item<uint64_t>;
struct Cells {
  int64_t of_image, all;  // `all` is the number of the points that touch no image
};
Cells cells_of(const GridShape& s) {
  Cells c = {1, 0};
  for (int a = 0; a < s.dims; ++a) c.of_image *= s.in[2 - a] + 1;
  c.all = s.N * c.of_image;
  return c;
}

template <class T, int D>
void to_image(const Ctx& ctx, const GridShape& s, const T* dy, const T* grid, T* dx) {
  const int64_t points = points_of(s), n_points = s.N * points;
  const Cells cells = cells_of(s);
  const Divider by_points = divide_by(points), by_c = divide_by(s.C);
  const Point* found = sort_lines<uint64_t>(
      ctx, 1, n_points, ctx.shared, [=] __device__(int64_t, int64_t i) -> uint64_t {
        const Place<T, D> p = find_place<T, D>(s, grid + i * D);
        int64_t cell = quotient(i, by_points);
        bool touches = true;
#pragma unroll
        for (int a = D - 1; a >= 0; --a) {
          const int64_t size = s.in[2 - a];
          touches = touches && p.corner[a] >= -1 && p.corner[a] < size;
          cell = cell * (size + 1) + p.corner[a] + 1;
        }
        return uint64_t(touches ? cell : cells.all);
      });
  const Block3 block = block_of(s.in);
  const int corners = s.mode == SampleMode::kNearest ? 1 : 1 << D;
  each(ctx, s.N * pixels_of(s) * s.C, [=] __device__(int64_t i) {
    int64_t pixel = i, at[3];
    const int64_t c = last_index(pixel, by_c), n = place_in(block, pixel, at);
    double sum = 0;
    for (int b = 0; b < corners; ++b) {
      int64_t cell = n;
#pragma unroll
      for (int a = D - 1; a >= 0; --a) {
        cell = cell * (s.in[2 - a] + 1) + at[2 - a] + 1 - (b >> a & 1);
      }
      const uint64_t key = uint64_t(cell);
      int64_t k = rank_of(found, n_points, Point{key, 0});
      for (; k < n_points && found[k].key == key; ++k) {
        const int64_t point = int64_t(found[k].index);
        const Place<T, D> p = find_place<T, D>(s, grid + point * D);
        T weight;
        corner_at(s, p, b, weight);
        if (weight != 0) sum += weight * dy[point * s.C + c];
      }
    }
    dx[i] = T(sum);
  });
}

template <class T>
Plan grid_sample_backward_plan(const GridShape& s) {
  Plan p = grid_plan<T>(s, "points sorted by cell", 2);
  p.shared_bytes = sort_bytes<uint64_t>(1, s.N * points_of(s));
  return p;
}
template <class T, int D>
void backward(const Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid, T* dx,
              T* dgrid) {
  if (dgrid) to_grid<T, D>(ctx, s, dy, x, grid, dgrid);
  if (dx) to_image<T, D>(ctx, s, dy, grid, dx);
}
template <class T>
void grid_sample_backward(Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid,
                          T* dx, T* dgrid) {
  s.dims == 2 ? backward<T, 2>(ctx, s, dy, x, grid, dx, dgrid)
              : backward<T, 3>(ctx, s, dy, x, grid, dx, dgrid);
}

HL_CUDA_KERNEL(grid_sample_forward);
HL_CUDA_KERNEL(warp_affine);
HL_CUDA_KERNEL(grid_sample_backward);

}  // namespace
}  // namespace hl::cuda
