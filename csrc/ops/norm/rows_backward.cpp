#include "kernel.h"
#include "ops/norm/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kBlock = 4;      // rows that share each load of w and of the sums for dw and db
constexpr int64_t kColumns = 512;  // of a piece when partial sums are added up

// Rows of a task: enough of them that the sums for dw and db are little beside the rows.
HL_INLINE int64_t rows_of_task(const RowNormShape& s) {
  return round_up(least(512, most(16, kTask / s.n)), kBlock);
}
HL_INLINE bool by_columns(const RowNormShape& s) { return s.n > kPiece; }

// S g and S g (x - mean), g = w dy
template <class T, RowNormKind kind>
HL_INLINE Two slope_sums(const T* dy, const T* x, const T* w, int64_t n, T mean) {
  constexpr int L = kLanes<T>;
  const Vec<T> m = set1(mean);
  Two total = {0, 0};
  for (int64_t start = 0; start < n; start += kRun<T>) {
    const int64_t stop = least(n, start + kRun<T>);
    Vec<T> s[2] = {}, q[2] = {};
    const auto add = [&](int64_t i, int64_t lanes, int k) __attribute__((always_inline)) {
      const Vec<T> g = load_some(dy + i, lanes) * load_some(w + i, lanes);  // 0 beyond the row
      const Vec<T> v = load_some(x + i, lanes);
      if constexpr (kind == RowNormKind::kRms) {
        q[k] = fma(g, v, q[k]);
      } else {
        s[k] += g;
        q[k] = fma(g, v - m, q[k]);
      }
    };
    int64_t i = start;
    for (; i + 2 * L <= stop; i += 2 * L) {
      add(i, L, 0);
      add(i + L, L, 1);
    }
    for (; i < stop; i += L) add(i, least(L, stop - i), 0);
    total.first += double(hsum(s[0] + s[1]));
    total.second += double(hsum(q[0] + q[1]));
  }
  return total;
}

// dx = g a + (x - mean) b + c
template <class T>
struct RowSlope {
  T mean, a, b, c;
};
template <class T>
HL_INLINE RowSlope<T> slope_of(const Two& sums, int64_t n, T mean, T rstd) {
  const double r = double(rstd), share = 1 / double(n);
  return {mean, rstd, T(-r * r * r * sums.second * share), T(-r * sums.first * share)};
}

// dx of K rows, and what they add to dw and db; each of the three may be null.
template <class T, RowNormKind kind, int K, bool Stream = false>
HL_INLINE void slope_block(const T* dy, const T* x, const T* w, int64_t ld, int64_t n,
                           const RowSlope<T>* slopes, T* dx, T* dw, T* db) {
  for_vectors<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> wi = load_some(w + i, lanes);
    Vec<T> weight = {}, bias = {};
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      const RowSlope<T>& s = slopes[k];
      const T *from = dy + k * ld + i, *at = x + k * ld + i;
      if constexpr (K == kBlock) {  // the next block, whose sums want it all at once
        __builtin_prefetch(from + K * ld);
        __builtin_prefetch(at + K * ld);
      }
      const Vec<T> g = load_some(from, lanes), v = load_some(at, lanes);
      const Vec<T> d = kind == RowNormKind::kRms ? v : v - set1(s.mean);
      weight = fma(g * d, set1(s.a), weight);
      bias += g;
      if (dx) {
        const Vec<T> both =
            kind == RowNormKind::kRms ? d * set1(s.b) : fma(d, set1(s.b), set1(s.c));
        const Vec<T> slope = fma(g * wi, set1(s.a), both);
        if constexpr (Stream) {
          store_past_cache(dx + k * ld + i, slope);
        } else {
          store_some(dx + k * ld + i, slope, lanes);
        }
      }
    }
    if (dw) store_some(dw + i, load_some(dw + i, lanes) + weight, lanes);
    if (db) store_some(db + i, load_some(db + i, lanes) + bias, lanes);
  });
}

template <class T>
struct Gradients {
  const T *dy, *x, *w, *mean, *rstd;
  T *dx, *dw, *db;
};

template <class T, RowNormKind kind, bool Stream>
void rows_backward(Ctx& ctx, const RowNormShape& s, const Gradients<T>& g, unsigned char* scratch) {
  const int64_t each = rows_of_task(s), tasks = ceil_div(s.rows, each), n = s.n;
  T* part = reinterpret_cast<T*>(scratch);
  const int64_t grain = most(1, kTask / 2 / (each * n));
  parallel_for(ctx, tasks, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      T *dw = g.dw ? part + 2 * t * n : nullptr, *db = g.db ? part + (2 * t + 1) * n : nullptr;
      if (dw) filled(dw, n, T(0));
      if (db) filled(db, n, T(0));
      const int64_t stop = least(s.rows, (t + 1) * each);
      for (int64_t r = t * each; r < stop; r += kBlock) {
        const int64_t k = least(kBlock, stop - r), at = r * n;
        RowSlope<T> slopes[kBlock];
        for (int64_t i = 0; i < k; ++i) {
          const T m = g.mean ? g.mean[r + i] : T(0);
          const T *dy = g.dy + at + i * n, *x = g.x + at + i * n;
          slopes[i] = slope_of(slope_sums<T, kind>(dy, x, g.w, n, m), n, m, g.rstd[r + i]);
        }
        T* dx = g.dx ? g.dx + at : nullptr;
        if (k == kBlock) {
          slope_block<T, kind, kBlock, Stream>(g.dy + at, g.x + at, g.w, n, n, slopes, dx, dw, db);
        } else {
          for (int64_t i = 0; i < k; ++i) {
            slope_block<T, kind, 1>(g.dy + at + i * n, g.x + at + i * n, g.w, n, n, slopes + i,
                                    dx ? dx + i * n : nullptr, dw, db);
          }
        }
      }
    }
    if (Stream) store_fence();
  });
  if (!g.dw && !g.db) return;
  parallel_for(ctx, ceil_div(n, kColumns), most(1, 256 / tasks),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t p = begin; p < end; ++p) {
                   const int64_t first = p * kColumns, width = least(kColumns, n - first);
                   for (int which = 0; which < 2; ++which) {
                     T* to = which ? g.db : g.dw;
                     if (!to) continue;
                     double sum[kColumns] = {};
                     for (int64_t t = 0; t < tasks; ++t) {
                       const T* from = part + (2 * t + which) * n + first;
                       for (int64_t i = 0; i < width; ++i) sum[i] += double(from[i]);
                     }
                     for (int64_t i = 0; i < width; ++i) to[first + i] = T(sum[i]);
                   }
                 }
               });
}

// Long rows: the sums of every piece of every row, then strips of columns through all rows.
template <class T, RowNormKind kind>
void columns_backward(Ctx& ctx, const RowNormShape& s, const Gradients<T>& g,
                      unsigned char* scratch) {
  const int64_t pieces = ceil_div(s.n, kPiece), n = s.n;
  Two* part = reinterpret_cast<Two*>(scratch);
  RowSlope<T>* slopes = reinterpret_cast<RowSlope<T>*>(part + s.rows * pieces);
  parallel_for(ctx, s.rows * pieces, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t r = t / pieces, at = t % pieces * kPiece, i = r * n + at;
      const T m = g.mean ? g.mean[r] : T(0);
      part[t] = slope_sums<T, kind>(g.dy + i, g.x + i, g.w + at, least(kPiece, n - at), m);
    }
  });
  for (int64_t r = 0; r < s.rows; ++r) {
    Two sums = part[r * pieces];
    for (int64_t k = 1; k < pieces; ++k) {
      sums.first += part[r * pieces + k].first;
      sums.second += part[r * pieces + k].second;
    }
    slopes[r] = slope_of(sums, n, g.mean ? g.mean[r] : T(0), g.rstd[r]);
  }
  parallel_for(ctx, ceil_div(n, kColumns), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * kColumns, width = least(kColumns, n - first);
      alignas(64) T sums[2][kColumns] = {};
      int64_t r = 0;
      const auto run = [&]<int K>() __attribute__((always_inline)) {
        const int64_t at = r * n + first;
        slope_block<T, kind, K>(g.dy + at, g.x + at, g.w + first, n, width, slopes + r,
                                g.dx ? g.dx + at : nullptr, sums[0], sums[1]);
        r += K;
      };
      while (r + kBlock <= s.rows) run.template operator()<int(kBlock)>();
      while (r < s.rows) run.template operator()<1>();
      for (int64_t i = 0; i < width; ++i) {
        if (g.dw) g.dw[first + i] = sums[0][i];
        if (g.db) g.db[first + i] = sums[1][i];
      }
    }
  });
}

}  // namespace

template <class T>
Plan row_norm_backward_plan(const RowNormShape& s) {
  Plan p = row_plan<T>(s, 3);
  p.algorithm = by_columns(s) ? "strips of columns" : "blocks of rows";
  const int64_t per_row = ceil_div(s.n, kPiece) * int64_t(sizeof(Two)) + 4 * int64_t(sizeof(T));
  p.shared_bytes = filled_bytes<T>(s);
  p.shared_bytes += by_columns(s)
                        ? s.rows * per_row
                        : ceil_div(s.rows, rows_of_task(s)) * 2 * s.n * int64_t(sizeof(T));
  return p;
}
template <class T>
void row_norm_backward(Ctx& ctx, const RowNormShape& s, const T* dy, const T* x, const T* w,
                       const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  if (!w) w = filled(reinterpret_cast<T*>(ctx.shared), s.n, T(1));
  const Gradients<T> g = {dy, x, w, mean, rstd, dx, dw, db};
  unsigned char* scratch = ctx.shared + filled_bytes<T>(s);
  constexpr RowNormKind kLayer = RowNormKind::kLayer, kRms = RowNormKind::kRms;
  if (by_columns(s)) {
    const auto run = s.kind == kRms ? columns_backward<T, kRms> : columns_backward<T, kLayer>;
    run(ctx, s, g, scratch);
  } else {
    const bool past = dx && goes_past(ctx, s, dx, 2), rms = s.kind == kRms;
    const auto run = past ? (rms ? rows_backward<T, kRms, true> : rows_backward<T, kLayer, true>)
                          : (rms ? rows_backward<T, kRms, false> : rows_backward<T, kLayer, false>);
    run(ctx, s, g, scratch);
  }
}

HL_DEFINE_KERNEL(row_norm_backward);

}  // namespace hl::cpu::HL_ISA
