// Walks an array of any strides so that a fold only ever sees contiguous runs, or strips of rows.
//
// Along its fastest axis a reduction either folds (rows) or keeps (columns); where that axis is not
// contiguous, runs and strips are copied to scratch first. A reduction with few outputs is cut into
// groups of blocks, whose parts are merged in order afterwards. All cuts follow from the shape.
#pragma once

#include "cpu/positions.h"
#include "ops/reduce/fold.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kReduceGrain = 32768;  // elements worth a task of their own
constexpr int kReduceTasks = 64;         // cut deeper only below this many tasks
constexpr int kBatch = 64;               // results that rows finish together

struct ReduceCut {
  bool columns, copies;
  int64_t groups;  // per output or strip
  // rows: a unit is a piece of a run
  int64_t length, runs, pieces, units, units_a_group;
  // columns: a block is kBlockRows rows
  int64_t width, fused, rows, rest, strips, tasks, blocks, blocks_a_group;
};

template <class T>
constexpr int64_t kPiece = 8 * kRun<T>;

// How slow it is to step along an axis.
HL_INLINE int64_t pace(int64_t size, int64_t stride) {
  if (size == 1 || stride == 0) return int64_t(1) << 62;
  return stride < 0 ? -stride : stride;
}

template <class T>
ReduceCut reduce_cut(const ReduceShape& s, bool fuses) {
  ReduceCut c = {};
  const int k = s.kept_dims - 1, r = s.reduced_dims - 1;
  const int64_t kept = pace(s.kept[k], s.kept_stride[k]);
  const int64_t reduced = pace(s.reduced[r], s.reduced_stride[r]);
  // Runs too short to fill a vector are better taken side by side, even at the price of a copy.
  const bool short_runs = s.reduced[r] < 8 && s.kept[k] >= 4 * kLanes<T> && s.kept_stride[k] != 0;
  c.columns = kept < reduced || short_runs;
  if (!c.columns) {
    c.copies = s.reduced_stride[r] != 1 && s.reduced[r] > 1;
    c.length = s.reduced[r];
    c.runs = s.count / most(1, c.length);
    c.pieces = ceil_div(c.length, kPiece<T>);
    c.units = c.runs * c.pieces;
    c.groups = 1;
    if (s.outputs < kReduceTasks && s.count >= 2 * kReduceGrain) {
      c.groups = least(least(c.units, s.count / kReduceGrain), 4 * kReduceTasks);
    }
    c.units_a_group = ceil_div(c.units, c.groups);
    c.groups = ceil_div(c.units, c.units_a_group);
    return c;
  }
  c.copies = s.kept_stride[k] != 1;
  c.width = s.kept[k], c.rows = s.count, c.fused = 1;
  // Narrow rows that follow each other directly are read as wide ones of several rows each.
  if (fuses && !c.copies && s.reduced_dims == 1 && s.reduced_stride[0] == c.width &&
      c.width < kStrip / 4) {
    c.fused = most(1, least(kStrip / c.width, c.rows / 8));
  }
  c.rest = c.rows % c.fused;
  c.rows /= c.fused;
  c.strips = ceil_div(c.width * c.fused, kStrip);
  c.tasks = s.outputs / c.width * c.strips;
  c.blocks = ceil_div(c.rows, kBlockRows);
  c.groups = 1;
  const int64_t work = c.rows * least(c.width * c.fused, kStrip);
  if (c.tasks < kReduceTasks && work >= 2 * kReduceGrain) {
    c.groups = least(least(ceil_div(2 * kReduceTasks, c.tasks), work / kReduceGrain), c.blocks);
  }
  c.blocks_a_group = ceil_div(c.blocks, c.groups);
  c.groups = ceil_div(c.blocks, c.blocks_a_group);
  return c;
}

template <class F>
using StripParts = double[F::kParts][kStrip];

template <class F>
Plan reduce_scratch(const ReduceShape& s, const ReduceCut& c) {
  using T = typename F::T;
  Plan p = {};
  p.algorithm = c.columns ? "columns" : "rows";
  p.tile[0] = c.columns ? kBlockRows : kRun<T>;
  p.tile[1] = c.columns ? kStrip : 1;
  p.tile[2] = c.groups;
  if (c.groups > 1) {
    p.shared_bytes = c.columns ? c.tasks * c.groups * int64_t(sizeof(StripParts<F>))
                               : s.outputs * c.groups * F::kParts * int64_t(sizeof(double));
  }
  const int64_t copy = c.columns ? kBlockRows * kStrip : kRun<T>;
  p.worker_bytes = (c.columns ? 2 * int64_t(sizeof(StripParts<F>)) : 0) +
                   (c.copies ? copy * int64_t(sizeof(T)) : 0);
  p.flops = double(s.outputs) * double(s.count);
  p.bytes = double(s.outputs) * (double(s.count) * sizeof(T) + sizeof(typename F::Out));
  return p;
}

template <class T>
HL_INLINE void gather(const T* x, int64_t stride, int64_t n, T* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = x[i * stride];
}

// Merges b into a; na = 0 says that a is still empty.
template <class F>
HL_INLINE void merge_one(double (&a)[F::kParts], double na, const double (&b)[F::kParts],
                         double nb) {
  constexpr int K = F::kParts;
  if (na == 0) {
    for (int k = 0; k < K; ++k) a[k] = b[k];
    return;
  }
  D va[K], vb[K];
  for (int k = 0; k < K; ++k) va[k] = set1(a[k]), vb[k] = set1(b[k]);
  F::merge(va, na, vb, nb);
  for (int k = 0; k < K; ++k) a[k] = va[k][0];
}

// The same for n columns at once, from column `shift` of b.
template <class F>
[[gnu::noinline]] void merge_strip(StripParts<F>& a, double na, const StripParts<F>& b, double nb,
                                   int64_t shift, int64_t n) {
  constexpr int K = F::kParts, L = kLanes<double>;
  for (int64_t c = 0; c < n; c += L) {
    const int64_t left = least(L, n - c);
    D va[K], vb[K];
    for (int k = 0; k < K; ++k) {
      vb[k] = load_n(b[k] + shift + c, left);
      va[k] = na == 0 ? vb[k] : load_n(a[k] + c, left);
    }
    if (na != 0) F::merge(va, na, vb, nb);
    for (int k = 0; k < K; ++k) store_n(a[k] + c, va[k], left);
  }
}

template <class F, int N, class At>
[[gnu::noinline]] void finish_many(const double (&p)[F::kParts][N], int64_t n, const ReduceShape& s,
                                   typename F::Out* y, At at) {
  constexpr int K = F::kParts, L = kLanes<double>;
  for (int64_t i = 0; i < n; i += L) {
    const int64_t left = least(L, n - i);
    D v[K];
    for (int k = 0; k < K; ++k) v[k] = load_n(p[k] + i, left);
    const D result = F::finish(v, s);
    for (int64_t l = 0; l < left; ++l) y[at(i + l)] = typename F::Out(result[l]);
  }
}

// ---- rows
// ----------------------------------------------------------------------------------------

// Units [begin, end) of the output whose elements start at x.
template <class F>
[[gnu::noinline]] void fold_units(const ReduceShape& s, const ReduceCut& c, const typename F::T* x,
                                  int64_t begin, int64_t end, typename F::T* copy,
                                  double (&parts)[F::kParts]) {
  using T = typename F::T;
  const int r = s.reduced_dims - 1;
  Positions run = {r, s.reduced, s.reduced_stride, s.reduced_index, {}, 0, 0};
  run.seek(begin / c.pieces);
  double done = 0;
  int64_t piece = begin % c.pieces;
  for (int64_t u = begin; u < end; ++u) {
    const int64_t stop = least(c.length, (piece + 1) * kPiece<T>);
    for (int64_t i = piece * kPiece<T>; i < stop; i += kRun<T>) {
      const int64_t n = least(kRun<T>, stop - i);
      const T* p = x + run.a + i * s.reduced_stride[r];
      if (c.copies) {
        gather(p, s.reduced_stride[r], n, copy);
        p = copy;
      }
      const Where at = {double(run.b + i * s.reduced_index[r]), double(s.reduced_index[r])};
      double part[F::kParts];
      F::row(p, n, at, part);
      merge_one<F>(parts, done, part, double(n));
      done += double(n);
    }
    if (++piece == c.pieces) {
      piece = 0;
      if (r > 0) run.next();
    }
  }
}

template <class F>
void reduce_rows(Ctx& ctx, const ReduceShape& s, const ReduceCut& c, const typename F::T* x,
                 typename F::Out* y) {
  using T = typename F::T;
  constexpr int K = F::kParts;
  const Positions start = {s.kept_dims, s.kept, s.kept_stride, s.y_stride, {}, 0, 0};
  if (c.groups == 1) {
    const int64_t grain = most(1, kReduceGrain / most(1, s.count));
    parallel_for(ctx, s.outputs, grain, [&](int64_t begin, int64_t end, int worker) {
      T* copy = worker_scratch<T>(ctx, worker);
      Positions w = start;
      w.seek(begin);
      double parts[K][kBatch];
      int64_t to[kBatch];
      for (int64_t o = begin; o < end;) {
        const int64_t n = least(kBatch, end - o);
        for (int64_t i = 0; i < n; ++i, ++o, w.next()) {
          double p[K] = {};
          fold_units<F>(s, c, x + w.a, 0, c.units, copy, p);
          for (int k = 0; k < K; ++k) parts[k][i] = p[k];
          to[i] = w.b;
        }
        finish_many<F>(parts, n, s, y, [&](int64_t i) { return to[i]; });
      }
    });
    return;
  }
  auto* partial = reinterpret_cast<double (*)[K]>(ctx.shared);
  parallel_for(ctx, s.outputs * c.groups, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t t = begin; t < end; ++t) {
      Positions w = start;
      w.seek(t / c.groups);
      const int64_t first = t % c.groups * c.units_a_group;
      fold_units<F>(s, c, x + w.a, first, least(c.units, first + c.units_a_group),
                    worker_scratch<T>(ctx, worker), partial[t]);
    }
  });
  for (int64_t o = 0; o < s.outputs; ++o) {
    Positions w = start;
    w.seek(o);
    double p[K] = {}, done = 0;
    for (int64_t g = 0; g < c.groups; ++g) {
      // What a group holds: whole units of kPiece, but for each run's last one.
      const int64_t from = g * c.units_a_group, to = least(c.units, from + c.units_a_group);
      auto before = [&](int64_t u) {
        return u / c.pieces * c.length + least(u % c.pieces * kPiece<T>, c.length);
      };
      const double n = double(before(to) - before(from));
      merge_one<F>(p, done, partial[o * c.groups + g], n);
      done += n;
    }
    double parts[K][1];
    for (int k = 0; k < K; ++k) parts[k][0] = p[k];
    finish_many<F>(parts, 1, s, y, [&](int64_t) { return w.b; });
  }
}

// ---- columns
// -------------------------------------------------------------------------------------

template <class F>
struct ColumnScratch {
  StripParts<F>*sum, *block;
  typename F::T* copy;
};

// Rows [begin, end) of a strip of `width` columns starting at x. `fused` rows of x make one here.
template <class F>
[[gnu::noinline]] void fold_strip(const ReduceShape& s, const ReduceCut& c, const typename F::T* x,
                                  int64_t fused, int64_t begin, int64_t end, int64_t width,
                                  const ColumnScratch<F>& scratch) {
  using T = typename F::T;
  const int64_t stride = s.kept_stride[s.kept_dims - 1];
  const bool one_axis = s.reduced_dims == 1;
  Positions w = {s.reduced_dims, s.reduced, s.reduced_stride, s.reduced_index, {}, 0, 0};
  w.seek(begin * fused);
  double done = 0;
  for (int64_t r = begin; r < end; r += kBlockRows) {
    const T* row[kBlockRows];
    const int n = int(least(kBlockRows, end - r));
    const Where at = {double(w.b), double(s.reduced_index[s.reduced_dims - 1] * fused)};
    for (int i = 0; i < n; ++i) {
      row[i] = x + w.a;
      if (c.copies) {
        T* to = scratch.copy + i * kStrip;
        gather(row[i], stride, width, to);
        row[i] = to;
      }
      if (one_axis) {
        w.a += fused * s.reduced_stride[0], w.b += fused * s.reduced_index[0];
      } else {
        w.next();
      }
    }
    const Block<T> b = {row, n, width};
    if (done == 0) {
      F::columns(b, at, *scratch.sum);
    } else {
      F::columns(b, at, *scratch.block);
      merge_strip<F>(*scratch.sum, done, *scratch.block, double(n), 0, width);
    }
    done += double(n);
  }
}

// The rows that did not fill a wide one, and the several rows that a wide one holds.
template <class F>
[[gnu::noinline]] void unfuse(const ReduceShape& s, const ReduceCut& c, const typename F::T* x,
                              const ColumnScratch<F>& scratch, StripParts<F>& total) {
  for (int64_t j = 1; j < c.fused; ++j) {
    merge_strip<F>(total, double(j * c.rows), total, double(c.rows), j * c.width, c.width);
  }
  if (c.rest > 0) {
    const int64_t done = c.rows * c.fused;
    const ColumnScratch<F> rest = {scratch.block, scratch.sum, scratch.copy};
    for (int64_t r = done; r < done + c.rest; r += kBlockRows) {
      const int64_t end = least(done + c.rest, r + kBlockRows);
      fold_strip<F>(s, c, x, 1, r, end, c.width, rest);
      merge_strip<F>(total, double(r), *scratch.block, double(end - r), 0, c.width);
    }
  }
}

template <class F>
void reduce_columns(Ctx& ctx, const ReduceShape& s, const ReduceCut& c, const typename F::T* x,
                    typename F::Out* y) {
  const int k = s.kept_dims - 1;
  auto* partial = reinterpret_cast<StripParts<F>*>(ctx.shared);
  auto scratch_of = [&](int worker) {
    auto* parts = worker_scratch<StripParts<F>>(ctx, worker);
    return ColumnScratch<F>{parts, parts + 1, reinterpret_cast<typename F::T*>(parts + 2)};
  };
  // Where strip t's columns start in x and y, and how many they are.
  struct Strip {
    int64_t x, y, width;
  };
  auto strip_of = [&](int64_t t) {
    Positions w = {k, s.kept, s.kept_stride, s.y_stride, {}, 0, 0};
    w.seek(t / c.strips);
    const int64_t first = t % c.strips * kStrip;
    return Strip{w.a + first * s.kept_stride[k], w.b + first * s.y_stride[k],
                 least(kStrip, c.width * c.fused - first)};
  };
  auto finish = [&](const Strip& strip, const ColumnScratch<F>& scratch, StripParts<F>& total) {
    if (c.fused > 1) unfuse<F>(s, c, x + strip.x, scratch, total);
    finish_many<F>(total, least(strip.width, c.width), s, y + strip.y,
                   [&](int64_t i) { return i * s.y_stride[k]; });
  };
  const int64_t task = c.blocks_a_group * kBlockRows * least(c.width * c.fused, kStrip);
  const int64_t grain = most(1, kReduceGrain / most(1, task));
  parallel_for(ctx, c.tasks * c.groups, grain, [&](int64_t begin, int64_t end, int worker) {
    ColumnScratch<F> scratch = scratch_of(worker);
    for (int64_t t = begin; t < end; ++t) {
      const Strip strip = strip_of(t / c.groups);
      const int64_t first = t % c.groups * c.blocks_a_group * kBlockRows;
      const int64_t last = least(c.rows, first + c.blocks_a_group * kBlockRows);
      if (c.groups > 1) scratch.sum = partial + t;
      fold_strip<F>(s, c, x + strip.x, c.fused, first, last, strip.width, scratch);
      if (c.groups == 1) finish(strip, scratch, *scratch.sum);
    }
  });
  if (c.groups == 1) return;
  parallel_for(ctx, c.tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t t = begin; t < end; ++t) {
      const Strip strip = strip_of(t);
      StripParts<F>& total = partial[t * c.groups];
      for (int64_t g = 1; g < c.groups; ++g) {
        const int64_t from = g * c.blocks_a_group * kBlockRows;
        const int64_t to = least(c.rows, from + c.blocks_a_group * kBlockRows);
        merge_strip<F>(total, double(from), partial[t * c.groups + g], double(to - from), 0,
                       strip.width);
      }
      finish(strip, scratch_of(worker), total);
    }
  });
}

// A fused row holds several rows, whose indices a fold of one column would not tell apart.
template <class F>
constexpr bool may_fuse = true;
template <class T, class J>
constexpr bool may_fuse<First<T, J>> = false;

template <class F>
Plan plan_reduction(const ReduceShape& s) {
  return reduce_scratch<F>(s, reduce_cut<typename F::T>(s, may_fuse<F>));
}
// s.count > 0
template <class F>
void run_reduction(Ctx& ctx, const ReduceShape& s, const typename F::T* x, typename F::Out* y) {
  const ReduceCut c = reduce_cut<typename F::T>(s, may_fuse<F>);
  c.columns ? reduce_columns<F>(ctx, s, c, x, y) : reduce_rows<F>(ctx, s, c, x, y);
}

}  // namespace hl::cpu::HL_ISA
