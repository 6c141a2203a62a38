#include "cpu/raw.h"
#include "kernel.h"
#include "ops/resize/few.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 16384;  // least elements of a thread's task

// One image of the batch. Axis 0 is x, along W.
template <class T, int D>
struct Image {
  const T* x;
  int64_t C;
  int64_t size[D], stride[D];
};

template <class T, int D>
HL_INLINE Image<T, D> image_of(const GridShape& s, const T* x, int64_t n) {
  Image<T, D> im = {x + n * s.in[0] * s.in[1] * s.in[2] * s.C, s.C, {}, {}};
  int64_t stride = s.C;
  for (int a = 0; a < D; ++a) {
    im.size[a] = s.in[2 - a], im.stride[a] = stride;
    stride *= s.in[2 - a];
  }
  return im;
}

// The corners of one place that lie in the image, and what weight lies outside.
template <class T, int D>
struct Neighbours {
  int n;
  int64_t offset[1 << D];
  T weight[1 << D];
};

template <class T, int D>
HL_INLINE Neighbours<T, D> corners_of(const Image<T, D>& im, const Places<T, D>& p, int k,
                                      T& outside) {
  Neighbours<T, D> c;
  c.n = 0;
  outside = 0;
  for (int b = 0; b < 1 << D; ++b) {
    int64_t offset = 0;
    bool inside = true;
    T w = 1;
    for (int a = 0; a < D; ++a) {
      const int64_t i = p.corner[a][k] + (b >> a & 1);
      w *= b >> a & 1 ? p.part[a][k] : 1 - p.part[a][k];
      inside &= uint64_t(i) < uint64_t(im.size[a]);
      offset += i * im.stride[a];
    }
    if (w == 0) continue;  // is not read: what it holds, maybe NaN, plays no part
    if (!inside) {
      outside += w;
      continue;
    }
    c.offset[c.n] = offset, c.weight[c.n++] = w;
  }
  return c;
}

template <class T, int K>
HL_INLINE void mix(const T* x, const int64_t* offset, const T* weight, int64_t C, T* y) {
  if (C == 1) {
    T sum = weight[0] * x[offset[0]];
    for (int b = 1; b < K; ++b) sum += weight[b] * x[offset[b]];
    *y = sum;
    return;
  }
  Vec<T> w[K];
  for (int b = 0; b < K; ++b) w[b] = set1(weight[b]);
  for_vectors<T>(C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
    Vec<T> sum = w[0] * load_some(x + offset[0] + c, lanes);
    for (int b = 1; b < K; ++b) sum = fma(w[b], load_some(x + offset[b] + c, lanes), sum);
    store_some(y + c, sum, lanes);
  });
}

template <class T>
HL_INLINE void spread(T value, int64_t C, T* y) {
  for (int64_t c = 0; c < C; ++c) y[c] = value;
}

// At the edge: some corners may be missing.
template <class T, int D>
void sample_edge(const Image<T, D>& im, const Places<T, D>& p, int k, T fill, T* y) {
  T outside;
  const Neighbours<T, D> c = corners_of(im, p, k, outside);
  if (c.n == 0) return spread(fill, im.C, y);
  for (int64_t i = 0; i < im.C; ++i) {
    T sum = c.weight[0] * im.x[c.offset[0] + i];
    for (int b = 1; b < c.n; ++b) sum += c.weight[b] * im.x[c.offset[b] + i];
    y[i] = fill == 0 ? sum : sum + outside * fill;
  }
}

template <class T, int D>
HL_INLINE void sample(const Image<T, D>& im, const Places<T, D>& p, int k, T fill, T* y) {
  bool inside = true, whole = true;
  int64_t at = 0;
  for (int a = 0; a < D; ++a) {
    inside &= uint64_t(p.corner[a][k]) < uint64_t(im.size[a] - 1);
    whole &= p.part[a][k] == 0;
    at += int64_t(p.corner[a][k]) * im.stride[a];
  }
  if (whole) {
    for (int a = 0; a < D; ++a) whole &= uint64_t(p.corner[a][k]) < uint64_t(im.size[a]);
    if (!whole) return spread(fill, im.C, y);
    const int64_t offset[1] = {at};
    const T weight[1] = {1};
    return mix<T, 1>(im.x, offset, weight, im.C, y);
  }
  if (!inside) return sample_edge(im, p, k, fill, y);
  int64_t offset[1 << D];
  T weight[1 << D];
  for (int b = 0; b < 1 << D; ++b) {
    offset[b] = 0, weight[b] = 1;
    for (int a = 0; a < D; ++a) {
      offset[b] += b >> a & 1 ? im.stride[a] : 0;
      weight[b] *= b >> a & 1 ? p.part[a][k] : 1 - p.part[a][k];
    }
  }
  mix<T, 1 << D>(im.x + at, offset, weight, im.C, y);
}

template <class T, int D>
HL_INLINE void sample_all(const GridShape& s, const Image<T, D>& im, const Places<T, D>& p,
                          int count, T fill, T* y) {
  if (is_few(s)) {
    for (int k = 0; k < count; k += kLanes<T>) {
      sample_few(s, p, k, min64(kLanes<T>, count - k), im.x, fill, y + k * s.C);
    }
  } else {
    for (int k = 0; k < count; ++k) sample(im, p, k, fill, y + k * s.C);
  }
}

int64_t points_of(const GridShape& s) { return s.out[0] * s.out[1] * s.out[2]; }

// f(image, first point, number of points), in parallel; pieces do not cross images.
template <class F>
void for_pieces(Ctx& ctx, const GridShape& s, int64_t elements, const F& f) {
  const int64_t points = points_of(s), pieces = ceil_div(points, kPoints);
  const int64_t grain = max64(1, kTask / (kPoints * max64(elements, 1)));
  parallel_for(ctx, s.N * pieces, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t % pieces * kPoints;
      f(t / pieces, first, int(min64(kPoints, points - first)));
    }
  });
}

template <class T, int D>
void forward(Ctx& ctx, const GridShape& s, const T* x, const T* grid, T* y) {
  const int64_t points = points_of(s);
  for_pieces(ctx, s, s.C, [&](int64_t n, int64_t first, int count) {
    Places<T, D> p;
    const Image<T, D> im = image_of<T, D>(s, x, n);
    find_places(s, grid + (n * points + first) * D, count, p);
    T* out = y + (n * points + first) * s.C;
    sample_all(s, im, p, count, T(0), out);
  });
}

// Rows of the result one by one, so that a place is a product and a sum from its row's start.
template <class T, int D>
void warp(Ctx& ctx, const GridShape& s, const T* x, const double* matrix, T* y) {
  const int64_t W = s.out[2], rows = s.out[0] * s.out[1];
  const int64_t grain = max64(1, kTask / max64(W * s.C, 1));
  parallel_for(ctx, s.N * rows, grain, [&](int64_t begin, int64_t end, int) {
    Places<T, D> p;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = r / rows;
      const Image<T, D> im = image_of<T, D>(s, x, n);
      const double i = double(r % s.out[1]), d = double(r / s.out[1] % s.out[0]);
      const double* m = matrix + n * D * (D + 1);
      for (int64_t first = 0; first < W; first += kPoints) {
        const int count = int(min64(kPoints, W - first));
        for (int a = 0; a < D; ++a) {
          const double* ma = m + a * (D + 1);
          const double rest = ma[1] * i + (D == 3 ? ma[2] * d : 0) + ma[D] + ma[0] * double(first);
          for (int k = 0; k < kPoints; ++k) {
            p.at[a][k] = T(ma[0] * double(k) + rest);
            p.slope[a][k] = 0;
          }
        }
        bring_inside(s, count, p);
        to_corners(s, count, p);
        T* out = y + (r * W + first) * s.C;
        sample_all(s, im, p, count, T(s.fill), out);
      }
    }
  });
}

template <class T>
Plan plan_of(const GridShape& s) {
  Plan p = {};
  p.algorithm = s.mode == SampleMode::kNearest ? "nearest" : "corners";
  if (is_few(s)) p.why = "few channels: lanes along points";
  const double points = double(s.N) * double(points_of(s));
  const double image = double(s.in[0]) * double(s.in[1]) * double(s.in[2]) * double(s.N * s.C);
  p.flops = s.mode == SampleMode::kNearest ? 0 : 2.0 * (1 << s.dims) * points * double(s.C);
  p.bytes = (image + points * double(s.C + s.dims)) * sizeof(T);
  return p;
}

}  // namespace

template <class T>
Plan grid_sample_forward_plan(const GridShape& s) {
  return plan_of<T>(s);
}
template <class T>
void grid_sample_forward(Ctx& ctx, const GridShape& s, const T* x, const T* grid, T* y) {
  s.dims == 2 ? forward<T, 2>(ctx, s, x, grid, y) : forward<T, 3>(ctx, s, x, grid, y);
}

template <class T>
Plan warp_affine_plan(const GridShape& s) {
  return plan_of<T>(s);
}
template <class T>
void warp_affine(Ctx& ctx, const GridShape& s, const T* x, const double* m, T* y) {
  s.dims == 2 ? warp<T, 2>(ctx, s, x, m, y) : warp<T, 3>(ctx, s, x, m, y);
}

HL_DEFINE_KERNEL(grid_sample_forward);
HL_DEFINE_KERNEL(warp_affine);

}  // namespace hl::cpu::HL_ISA
