// The two passes that every norm over rows is made of, on a piece of a matrix: statistics of its
// columns, and an affine map of each column.
#pragma once

#include "cpu/exp_run.h"
#include "ops/elementwise/rectifiers.h"
#include "ops/elementwise/rows.h"
#include "ops/norm/norm.h"

namespace hl::cpu::HL_ISA {

constexpr int kBlockRows = 8;           // centred on their own mean, in registers
constexpr int64_t kStripColumns = 512;  // of a task: its sums stay in the first cache
constexpr int64_t kNormTile = 4096;     // elements in a buffer on the stack

// A sample (rows, C) as `rows` rows of W = f C numbers and a last one of `rest` < W: few channels
// would leave most of a vector empty. Column i belongs to channel i % C.
struct Columns {
  int64_t C, f, W, rows, rest;
  int64_t strip, strips;  // columns of a task
  int64_t chunk, chunks;  // rows of a task
  int64_t tasks;
};

template <class T>
HL_INLINE Columns columns_of(int64_t rows, int64_t C) {
  constexpr int64_t L = kLanes<T>;
  Columns s = {};
  const int64_t low_bit = C & -C;
  const int64_t whole = L / (low_bit < L ? low_bit : L);  // the least f that fills vectors
  int64_t f = C < 8 * L ? round_up(ceil_div(8 * L, C), whole) : whole;
  if (f * C > kStripColumns) f = whole * C <= kStripColumns ? whole : 1;
  const int64_t fits = most(1, rows / kBlockRows);
  if (f > fits) f = fits >= whole ? fits / whole * whole : fits;
  s.C = C, s.f = f, s.W = f * C;
  s.rows = rows / f, s.rest = rows % f * C;
  s.strip = least(s.W, kStripColumns);
  s.strips = ceil_div(s.W, s.strip);
  // At least 64 Ki elements a task, and more where there are many; at most 64 blocks add up in T.
  const int64_t fair = most(65536 / s.strip, s.rows * s.strips / 128);
  s.chunk = least(512, round_up(fair, kBlockRows));
  s.chunks = ceil_div(s.rows, s.chunk);
  s.tasks = s.chunks * s.strips;
  return s;
}

// What task t works on.
struct Part {
  int64_t chunk, row, rows, column, width;
  bool last;  // the rest belongs to it too
};
HL_INLINE Part part_of(const Columns& s, int64_t t) {
  Part p;
  p.chunk = t / s.strips;
  p.row = p.chunk * s.chunk, p.rows = least(s.chunk, s.rows - p.row);
  p.column = t % s.strips * s.strip, p.width = least(s.strip, s.W - p.column);
  p.last = s.rest > 0 && p.chunk == s.chunks - 1;  // then there is one strip
  return p;
}

// A block of rows is read column by column, which no hardware sees through. So, while column i of a
// block is worked on, the lines that come later in memory are asked for in their order.
template <class T>
HL_INLINE void fetch_ahead(const T* block, int64_t ld, int64_t width, int64_t i) {
  constexpr int64_t kLine = 64 / int64_t(sizeof(T)), kAhead = 4096 / int64_t(sizeof(T));
  if (ld != width) return;
  const T* at = block + kBlockRows * (ld + i) + kAhead;
#pragma GCC unroll 8
  for (int64_t k = 0; k < kBlockRows * kLanes<T>; k += kLine) __builtin_prefetch(at + k);
}

// ---- statistics ----------------------------------------------------------------------------------

// Sums of a chunk. Numbers count from their column's first one, so that data far from zero are as
// good as any; blocks' means m count from that of the first block, k: a = S (m - k),
// b = S (m - k)^2, each as often as the block has rows; q = S (x - m)^2.
template <class T>
struct ChunkMoments {
  T k[kStripColumns], a[kStripColumns], b[kStripColumns], q[kStripColumns];
};

template <class T, bool First>
HL_INLINE void add_block(ChunkMoments<T>& s, int64_t i, int64_t lanes, Vec<T> m, Vec<T> q,
                         Vec<T> rows) {
  if constexpr (First) {
    store_some(s.k + i, m, lanes);
    store_some(s.a + i, Vec<T>{}, lanes);
    store_some(s.b + i, Vec<T>{}, lanes);
    store_some(s.q + i, q, lanes);
  } else {
    const Vec<T> e = m - load_some(s.k + i, lanes), w = e * rows;
    store_some(s.a + i, load_some(s.a + i, lanes) + w, lanes);
    store_some(s.b + i, fma(w, e, load_some(s.b + i, lanes)), lanes);
    store_some(s.q + i, load_some(s.q + i, lanes) + q, lanes);
  }
}

template <class T, bool First>
HL_INLINE void block_moments(ChunkMoments<T>& s, const T* origin, const T* x, int64_t ld,
                             int64_t rows, int64_t width) {
  if (rows == kBlockRows) {
    for_vectors<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      fetch_ahead(x, ld, width, i);
      const Vec<T> o = load_some(origin + i, lanes);
      Vec<T> v[8], d[8], q[4];
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r) v[r] = load_some(x + r * ld + i, lanes) - o;
      const Vec<T> sum = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
      const Vec<T> m = sum * set1(T(0.125));
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r) d[r] = v[r] - m;
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) q[r] = fma(d[r + 4], d[r + 4], d[r] * d[r]);
      add_block<T, First>(s, i, lanes, m, (q[0] + q[1]) + (q[2] + q[3]), set1(T(8)));
    });
    return;
  }
  for_vectors<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> o = load_some(origin + i, lanes);
    Vec<T> m = {}, q = {};
    for (int64_t r = 0; r < rows; ++r) m += load_some(x + r * ld + i, lanes) - o;
    m /= set1(T(rows));
    for (int64_t r = 0; r < rows; ++r) {
      const Vec<T> d = load_some(x + r * ld + i, lanes) - o - m;
      q = fma(d, d, q);
    }
    add_block<T, First>(s, i, lanes, m, q, set1(T(rows)));
  });
}

// Mean and sum of squared deviations of each column of a chunk.
template <class T>
HL_INLINE void column_moments(const T* x, int64_t ld, int64_t rows, int64_t width, double* mean,
                              double* squares) {
  ChunkMoments<T> s;
  block_moments<T, true>(s, x, x, ld, least(rows, kBlockRows), width);
  for (int64_t r = kBlockRows; r < rows; r += kBlockRows) {
    block_moments<T, false>(s, x, x + r * ld, ld, least(rows - r, kBlockRows), width);
  }
  const double share = 1 / double(rows);
  for (int64_t i = 0; i < width; ++i) {
    const double a = double(s.a[i]);
    mean[i] = double(x[i]) + (double(s.k[i]) + a * share);
    squares[i] = double(s.q[i]) + (double(s.b[i]) - a * a * share);
  }
}

// (mean, squares) of n numbers joined with those of k others, column by column.
HL_INLINE void join_moments(int64_t columns, double n, double* mean, double* squares, double k,
                            const double* other_mean, const double* other_squares) {
  const D w = set1(k / (n + k)), c = set1(n * k / (n + k));
  for_vectors<double>(columns, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const D m = load_some(mean + i, lanes);
    const D d = load_some(other_mean + i, lanes) - m;
    D q = load_some(squares + i, lanes);
    if (other_squares) q += load_some(other_squares + i, lanes);
    store_some(squares + i, fma(d * d, c, q), lanes);
    store_some(mean + i, fma(d, w, m), lanes);
  });
}

// ---- maps ----------------------------------------------------------------------------------------

// What may follow the map: nothing, or an activation of one comparison. `of(z)` is its result, and
// `slope(dy, v, i, lanes)` the gradient dz of columns i, v = x - m of them.
template <class T>
struct Linear {
  HL_INLINE Vec<T> of(Vec<T> z) const { return z; }
  HL_INLINE Vec<T> slope(Vec<T> dy, Vec<T>, int64_t, int64_t) const { return dy; }
};
template <class T, class Op>
struct Rectified {
  const T *a, *shift;  // z = (x - m) a + shift
  Vec<T> p0;

  HL_INLINE Vec<T> of(Vec<T> z) const { return Op::forward(z, p0, p0); }
  HL_INLINE Vec<T> slope(Vec<T> dy, Vec<T> v, int64_t i, int64_t lanes) const {
    const Vec<T> z = fma(v, load_some(a + i, lanes), load_some(shift + i, lanes));
    return Op::backward(dy, z, p0, p0);
  }
};

// Past: y is larger than the caches, every row of it a whole number of aligned vectors.
template <bool Past, class T>
HL_INLINE void put(T* y, Vec<T> v, int64_t lanes) {
  if constexpr (Past) {
    store_past_cache(y, v);
  } else {
    store_some(y, v, lanes);
  }
}

// y = act((x - m) a + b). Row by row, as memory likes it; m, a and b stay in the first cache.
template <bool Past, class T, class Act>
HL_INLINE void scale_rows(const T* x, int64_t ld, T* y, int64_t ldy, int64_t rows, int64_t width,
                          const T* m, const T* a, const T* b, const Act& act) {
  for (int64_t r = 0; r < rows; ++r, x += ld, y += ldy) {
    for_vectors<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> v = load_some(x + i, lanes) - load_some(m + i, lanes);
      const Vec<T> z = fma(v, load_some(a + i, lanes), load_some(b + i, lanes));
      put<Past>(y + i, act.of(z), lanes);
    });
  }
}

// dx = dz a + (x - m) b + c
template <bool Past, class T, class Act>
HL_INLINE void slope_rows(const T* dy, int64_t ldd, const T* x, int64_t ld, T* dx, int64_t ldx,
                          int64_t rows, int64_t width, const T* m, const T* a, const T* b,
                          const T* c, const Act& act) {
  for (int64_t r = 0; r < rows; ++r, dy += ldd, x += ld, dx += ldx) {
    for_vectors<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> v = load_some(x + i, lanes) - load_some(m + i, lanes);
      const Vec<T> rest = fma(v, load_some(b + i, lanes), load_some(c + i, lanes));
      const Vec<T> dz = act.slope(load_some(dy + i, lanes), v, i, lanes);
      put<Past>(dx + i, fma(dz, load_some(a + i, lanes), rest), lanes);
    });
  }
}

// ---- sums for the gradients ----------------------------------------------------------------------

// f<K>(row) for each K rows, then f<1>(row) for what is left.
template <int K, class F>
HL_INLINE void by_rows(int64_t rows, const F& f) {
  int64_t r = 0;
  for (; r + K <= rows; r += K) f.template operator()<K>(r);
  for (; r < rows; ++r) f.template operator()<1>(r);
}

template <class T>
struct GradientSums {
  T g[kStripColumns], gd[kStripColumns];
};

// g += S dz, gd += S dz (x - m)
template <class T, class Act>
HL_INLINE void add_gradient_sums(GradientSums<T>& s, const T* dy, int64_t ldd, const T* x,
                                 int64_t ld, int64_t rows, int64_t width, const T* m,
                                 const Act& act) {
  by_rows<kBlockRows>(rows, [&]<int K>(int64_t r) __attribute__((always_inline)) {
    for_vectors<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      if (K == kBlockRows) {
        fetch_ahead(dy + r * ldd, ldd, width, i);
        fetch_ahead(x + r * ld, ld, width, i);
      }
      const Vec<T> mi = load_some(m + i, lanes);
      Vec<T> g[2] = {}, gd[2] = {};
#pragma GCC unroll 8
      for (int k = 0; k < K; ++k) {
        const Vec<T> slope = load_some(dy + (r + k) * ldd + i, lanes);
        const Vec<T> v = load_some(x + (r + k) * ld + i, lanes) - mi;
        const Vec<T> dz = act.slope(slope, v, i, lanes);
        g[k % 2] += dz;
        gd[k % 2] = fma(dz, v, gd[k % 2]);
      }
      store_some(s.g + i, load_some(s.g + i, lanes) + (g[0] + g[1]), lanes);
      store_some(s.gd + i, load_some(s.gd + i, lanes) + (gd[0] + gd[1]), lanes);
    });
  });
}

}  // namespace hl::cpu::HL_ISA
