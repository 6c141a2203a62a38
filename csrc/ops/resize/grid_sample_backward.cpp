#include "cpu/raw.h"
#include "kernel.h"
#include "ops/resize/few.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 16384;  // least elements of a thread's task

// What of each point is kept until its rows are added up.
template <class T, int D>
struct Kept {
  int32_t corner[D];
  T part[D];
};

// A row of x is all that shares its (z, y). Points are sorted by the row of their lower corner, which
// may be one before the first: `bins` of them for each image.
struct Sorting {
  int64_t points, bins;
  int64_t kept_bytes, start_bytes, list_bytes;
};

template <class T, int D>
Sorting sorting_of(const GridShape& s) {
  Sorting o = {};
  o.points = s.out[0] * s.out[1] * s.out[2];
  o.bins = (s.in[1] + 1) * (D == 3 ? s.in[0] + 1 : 1);
  o.kept_bytes = round_up(s.N * o.points * int64_t(sizeof(Kept<T, D>)), 64);
  o.start_bytes = round_up(s.N * (o.bins + 1) * 4, 64);
  o.list_bytes = round_up(s.N * o.points * 4, 64);
  return o;
}

// The bin of a place, or -1 where no corner lies in the image.
template <class T, int D>
HL_INLINE int64_t bin_of(const GridShape& s, const Kept<T, D>& p) {
  int64_t bin = 0;
  for (int a = D - 1; a >= 0; --a) {
    const int64_t size = s.in[2 - a], i = p.corner[a];
    if (i < -1 || i >= size) return -1;
    if (a > 0) bin = bin * (size + 1) + i + 1;
  }
  return bin;
}

// dg of one point: dy times the difference of opposite corners, weighted along the other axes.
template <class T, int D>
HL_INLINE void grid_gradient(const GridShape& s, const Places<T, D>& p, int k, const T* x,
                             const T* dy, T* dgrid) {
  constexpr int K = 1 << D;
  T factor[D][K];
  const T* corner[K];
  for (int b = 0; b < K; ++b) {
    int64_t offset = 0, stride = s.C;
    bool inside = true;
    for (int a = 0; a < D; ++a) {
      const int64_t i = int64_t(p.corner[a][k]) + (b >> a & 1), size = s.in[2 - a];
      inside &= uint64_t(i) < uint64_t(size);
      offset += i * stride;
      stride *= size;
      factor[a][b] = b >> a & 1 ? T(1) : T(-1);
      for (int o = 0; o < D; ++o) {
        if (o != a) factor[a][b] *= b >> o & 1 ? p.part[o][k] : 1 - p.part[o][k];
      }
    }
    corner[b] = inside ? x + offset : nullptr;
  }
  Vec<T> sum[D] = {};
  for_vectors<T>(s.C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> g = load_some(dy + c, lanes);
    Vec<T> step[D] = {};
    for (int b = 0; b < K; ++b) {
      if (!corner[b]) continue;
      const Vec<T> v = load_some(corner[b] + c, lanes);
      for (int a = 0; a < D; ++a) step[a] = fma(set1(factor[a][b]), v, step[a]);
    }
    for (int a = 0; a < D; ++a) sum[a] = fma(step[a], g, sum[a]);
  });
  for (int a = 0; a < D; ++a) {
    const T slope = p.slope[a][k];
    dgrid[a] = slope == 0 ? T(0) : hsum(sum[a]) * slope;
  }
}

template <class T, int D>
HL_INLINE void grid_gradients(const GridShape& s, const Places<T, D>& p, int count, const T* x,
                              const T* dy, T* dgrid) {
  if (s.mode == SampleMode::kNearest) {
    zero_bytes(dgrid, count * D * int64_t(sizeof(T)));
  } else if (is_few(s)) {
    for (int k = 0; k < count; k += kLanes<T>) {
      const int64_t lanes = min64(kLanes<T>, count - k);
      grid_gradient_few(s, p, k, lanes, x, dy + k * s.C, dgrid + k * D);
    }
  } else {
    for (int k = 0; k < count; ++k) grid_gradient(s, p, k, x, dy + k * s.C, dgrid + k * D);
  }
}

// Works the places out, the gradient of the grid with them, and keeps what dx needs.
template <class T, int D>
void visit_points(Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid,
                  Kept<T, D>* kept, T* dgrid) {
  const int64_t points = s.out[0] * s.out[1] * s.out[2], pieces = ceil_div(points, kPoints);
  const int64_t image = s.in[0] * s.in[1] * s.in[2] * s.C;
  const int64_t grain = max64(1, kTask / (kPoints * max64(s.C, 1)));
  parallel_for(ctx, s.N * pieces, grain, [&](int64_t begin, int64_t end, int) {
    Places<T, D> p;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t n = t / pieces, first = n * points + t % pieces * kPoints;
      const int count = int(min64(kPoints, (n + 1) * points - first));
      find_places(s, grid + first * D, count, p);
      for (int k = 0; kept && k < count; ++k) {
        for (int a = 0; a < D; ++a) {
          kept[first + k].corner[a] = int32_t(p.corner[a][k]);
          kept[first + k].part[a] = p.part[a][k];
        }
      }
      if (dgrid) grid_gradients(s, p, count, x + n * image, dy + first * s.C, dgrid + first * D);
    }
  });
}

// Counts, then places: within a bin the points keep their order.
template <class T, int D>
void sort_points(Ctx& ctx, const GridShape& s, const Sorting& o, const Kept<T, D>* kept,
                 int32_t* start, int32_t* list) {
  parallel_for(ctx, s.N, max64(1, kTask / max64(o.points, 1)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t n = begin; n < end; ++n) {
                   const Kept<T, D>* k = kept + n * o.points;
                   int32_t* at = start + n * (o.bins + 1);
                   int32_t* to = list + n * o.points;
                   zero_bytes(at, (o.bins + 1) * 4);
                   for (int64_t i = 0; i < o.points; ++i) {
                     const int64_t bin = bin_of<T, D>(s, k[i]);
                     if (bin >= 0) ++at[bin + 1];
                   }
                   for (int64_t b = 0; b < o.bins; ++b) at[b + 1] += at[b];
                   for (int64_t i = 0; i < o.points; ++i) {
                     const int64_t bin = bin_of<T, D>(s, k[i]);
                     if (bin >= 0) to[at[bin]++] = int32_t(i);
                   }
                   for (int64_t b = o.bins; b > 0; --b) at[b] = at[b - 1];
                   at[0] = 0;
                 }
               });
}

template <class T>
HL_INLINE void add_scaled(T* y, T w, const T* x, int64_t C) {
  if (w == 0) return;
  if (C == 1) {
    *y += w * *x;
    return;
  }
  const Vec<T> wide = set1(w);
  for_vectors<T>(C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
    store_some(y + c, fma(wide, load_some(x + c, lanes), load_some(y + c, lanes)), lanes);
  });
}

// Adds the points of one bin to a row; each goes to two neighbours in it. `upper` bit a - 1: the row
// is the upper corner along axis a.
template <class T, int D>
HL_INLINE void add_bin(const GridShape& s, const int32_t* list, int64_t n, int upper,
                       const Kept<T, D>* kept, const T* dy, T* row) {
  for (int64_t i = 0; i < n; ++i) {
    const Kept<T, D>& p = kept[list[i]];
    T w = 1;
    for (int a = 1; a < D; ++a) w *= upper >> (a - 1) & 1 ? p.part[a] : 1 - p.part[a];
    if (w == 0) continue;
    const int64_t x = p.corner[0];
    const T* g = dy + int64_t(list[i]) * s.C;
    if (x >= 0) add_scaled(row + x * s.C, w * (1 - p.part[0]), g, s.C);
    if (x + 1 < s.in[2]) add_scaled(row + (x + 1) * s.C, w * p.part[0], g, s.C);
  }
}

template <class T, int D>
void add_rows(Ctx& ctx, const GridShape& s, const Sorting& o, const Kept<T, D>* kept,
              const int32_t* start, const int32_t* list, const T* dy, T* dx) {
  const int64_t H = s.in[1], rows = s.in[0] * H, width = s.in[2] * s.C;
  const int uppers = s.mode == SampleMode::kNearest ? 1 : 1 << (D - 1);
  parallel_for(ctx, s.N * rows, max64(1, kTask / max64(width, 1)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t n = r / rows, y = r % H, z = r / H % s.in[0];
                   T* row = dx + r * width;
                   zero_bytes(row, width * int64_t(sizeof(T)));
                   const int32_t* at = start + n * (o.bins + 1);
                   for (int u = uppers - 1; u >= 0; --u) {
                     const int64_t by = y + 1 - (u & 1), bz = z + 1 - (u >> 1);
                     const int64_t bin = D == 3 ? bz * (H + 1) + by : by;
                     add_bin<T, D>(s, list + n * o.points + at[bin], at[bin + 1] - at[bin], u,
                                   kept + n * o.points, dy + n * o.points * s.C, row);
                   }
                 }
               });
}

// Of few channels, and of more images than most machines have threads: an image is one thread's, and
// its points need no sorting.
constexpr int64_t kImages = 16;
HL_INLINE bool by_image(const GridShape& s) { return is_few(s) && s.N >= kImages; }

template <class T, int D>
void add_images(Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid, T* dx,
                T* dgrid) {
  const int64_t points = s.out[0] * s.out[1] * s.out[2];
  const int64_t image = s.in[0] * s.in[1] * s.in[2] * s.C;
  const int64_t grain = max64(1, kTask / max64(points * s.C, 1));
  parallel_for(ctx, s.N, grain, [&](int64_t begin, int64_t end, int) {
    Places<T, D> p;
    for (int64_t n = begin; n < end; ++n) {
      zero_bytes(dx + n * image, image * int64_t(sizeof(T)));
      for (int64_t at = 0; at < points; at += kPoints) {
        const int64_t first = n * points + at;
        const int count = int(min64(kPoints, points - at));
        find_places(s, grid + first * D, count, p);
        const T* g = dy + first * s.C;
        for (int k = 0; k < count; k += kLanes<T>) {
          scatter_few(s, p, k, min64(kLanes<T>, count - k), g + k * s.C, dx + n * image);
        }
        if (dgrid) grid_gradients(s, p, count, x + n * image, g, dgrid + first * D);
      }
    }
  });
}

template <class T, int D>
void backward(Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid, T* dx,
              T* dgrid) {
  if (dx && by_image(s)) return add_images<T, D>(ctx, s, dy, x, grid, dx, dgrid);
  const Sorting o = sorting_of<T, D>(s);
  auto* kept = reinterpret_cast<Kept<T, D>*>(ctx.shared);
  auto* start = reinterpret_cast<int32_t*>(ctx.shared + o.kept_bytes);
  auto* list = reinterpret_cast<int32_t*>(ctx.shared + o.kept_bytes + o.start_bytes);
  visit_points<T, D>(ctx, s, dy, x, grid, dx ? kept : nullptr, dgrid);
  if (!dx) return;
  sort_points<T, D>(ctx, s, o, kept, start, list);
  add_rows<T, D>(ctx, s, o, kept, start, list, dy, dx);
}

}  // namespace

template <class T>
Plan grid_sample_backward_plan(const GridShape& s) {
  Plan p = {};
  const Sorting o = s.dims == 2 ? sorting_of<T, 2>(s) : sorting_of<T, 3>(s);
  if (by_image(s)) {
    p.algorithm = "image by image";
    p.why = "few channels, many images";
  } else {
    p.algorithm = "points sorted by row";
    p.shared_bytes = o.kept_bytes + o.start_bytes + o.list_bytes;
  }
  const double points = double(s.N) * double(o.points);
  const double image = double(s.in[0]) * double(s.in[1]) * double(s.in[2]) * double(s.N * s.C);
  p.flops = 2.0 * (2 + s.dims) * (1 << s.dims) * points * double(s.C);
  p.bytes = (2 * image + points * double(s.C + 2 * s.dims)) * sizeof(T);
  return p;
}
template <class T>
void grid_sample_backward(Ctx& ctx, const GridShape& s, const T* dy, const T* x, const T* grid,
                          T* dx, T* dgrid) {
  s.dims == 2 ? backward<T, 2>(ctx, s, dy, x, grid, dx, dgrid)
              : backward<T, 3>(ctx, s, dy, x, grid, dx, dgrid);
}

HL_DEFINE_KERNEL(grid_sample_backward);

}  // namespace hl::cpu::HL_ISA
