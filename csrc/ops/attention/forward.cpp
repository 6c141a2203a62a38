// A task is a chunk of the queries of one key-value head (its query heads one after the other). The
// keys go by in blocks: K^T of a block is packed once, and then every tile of queries forms its
// scores in the first cache, turns them into exponentials and multiplies them by v. A query carries
// its largest score and its sum from block to block, and what it has summed so far is scaled down
// whenever the largest grows. Where there are few tasks, keys are split and the parts joined at the
// end.
#include "kernel.h"
#include "ops/attention/few.h"
#include "ops/attention/products.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int kRowSlots = round_up(kTileRows, kLanes<float>);  // whole vectors of either type

struct ForwardCut {
  bool few;                     // no packing: few.h
  bool in_place;                // v is the tile's right side where it lies
  int64_t total, rows, chunks;  // queries of a key-value head, of a task
  int64_t mr, block;            // queries and keys of a tile of scores
  int64_t splits, split_keys;
  int64_t tasks, grain;
  int64_t pitch, q_pitch, o_pitch;                 // of scores, of a query, of a result
  int64_t q_size, k_size, v_size, s_size, o_size;  // numbers in a worker's scratch
};

template <class T>
ForwardCut forward_cut(const AttentionShape& s) {
  constexpr int64_t nr = kTileColumns<T>, L = kLanes<T>, item = sizeof(T);
  ForwardCut c = {};
  const int64_t pairs = s.N * s.Hk;
  c.total = s.Hk > 0 ? s.H / s.Hk * s.Tq : 0;
  c.few = c.total <= kFewRows;
  c.in_place = c.few || s.Dv % L == 0;
  // Chunks for 32 tasks, of at least four tiles; what a chunk has summed up stays in the second
  // cache.
  const int64_t wanted = ceil_div(c.total, ceil_div(32, max64(1, pairs)));
  c.rows = even_part(c.total, max64(4 * kTileRows, min64(wanted, 2048 / item)), kTileRows);
  c.chunks = ceil_div(c.total, c.rows);
  c.mr = even_part(c.rows, c.few ? kFewRows : kTileRows, 1);
  // 2 KB of scores a query: a tile of them fits the first cache.
  c.block = 2048 / item;
  c.splits = 1;
  if (pairs * c.chunks < 16 && s.Tk >= 512) {
    c.splits = min64(ceil_div(16, max64(1, pairs * c.chunks)), s.Tk / 256);
  }
  c.split_keys = round_up(ceil_div(s.Tk, c.splits), nr);
  c.tasks = pairs * c.chunks * c.splits;
  const int64_t work = c.rows * min64(s.Tk, c.split_keys) * (s.D + s.Dv);
  c.grain = max64(1, (int64_t(1) << 18) / max64(1, work));
  const int64_t most = min64(c.block, round_up(s.Tk, nr));
  c.pitch = round_up(most, L) + L;
  c.q_pitch = round_up(s.D, L);
  c.o_pitch = round_up(s.Dv, kFewVectors * L);
  c.q_size = round_up(c.mr * c.q_pitch, 16);
  c.k_size = c.few ? 0 : round_up(most, nr) * s.D;
  c.v_size = c.in_place ? 0 : most * round_up(s.Dv, L) + nr;
  c.s_size = c.mr * c.pitch;
  c.o_size = round_up((s.Tk > c.block ? c.rows : c.mr) * c.o_pitch, 16);
  return c;
}

template <class T>
int64_t worker_numbers(const ForwardCut& c) {
  return c.q_size + c.k_size + c.v_size + c.s_size + c.o_size + 2 * (c.rows + kRowSlots);
}

// Partial results of a query: o, then the largest score and the sum.
inline int64_t partial_size(const ForwardCut& c) { return c.o_pitch + 16; }

template <class T>
struct Forward {
  const AttentionShape& s;
  const ForwardCut& c;
  const T *q, *k, *v;
  Terms<T> terms;
  T *y, *lse, *partial;
};

// One task's place and the worker's scratch.
template <class T>
struct Place {
  int64_t n, hk, first, split;
  T *qs, *kt, *vs, *s, *o, *most, *sum;
};

struct TileRow {
  int64_t h, t;
  Span span;
};

// Row r counts the queries of the first head of the group, then those of the second, ...
template <class T>
HL_INLINE void tile_rows(const Forward<T>& f, const Place<T>& at, int64_t row, int64_t rows,
                         TileRow* r) {
  const int64_t group = f.s.H / f.s.Hk;
  int64_t g = (at.first + row) / f.s.Tq, t = (at.first + row) % f.s.Tq;
  for (int64_t i = 0; i < rows; ++i) {
    r[i] = {at.hk * group + g, t, span_of(f.s, f.terms, at.n, t)};
    if (++t == f.s.Tq) t = 0, ++g;
  }
}

// Scores of a tile to exponentials; o is scaled to the new largest scores. Columns count from
// `key`, and [lo, hi) of them are what the values are multiplied with.
template <class T>
HL_INLINE void tile_exponentials(const Forward<T>& f, const Place<T>& at, const TileRow* r,
                                 int64_t row, int64_t rows, int64_t key, int64_t lo, int64_t hi,
                                 bool first, T* o) {
  constexpr int L = kLanes<T>;
  const int64_t pitch = f.c.pitch;
  T *most = at.most + row, *sum = at.sum + row;
  T top[kRowSlots], low[kRowSlots], shrink[kRowSlots];
  for (int i = 0; i < kRowSlots; ++i) top[i] = -kInf<T>;
  int64_t begin[kRowSlots], end[kRowSlots];
  for (int64_t i = 0; i < rows; ++i) {
    begin[i] = max64(r[i].span.begin - key, lo);
    end[i] = max64(begin[i], min64(r[i].span.end - key, hi));
    if (begin[i] == end[i]) continue;
    T* p = at.s + i * pitch;
    if (f.s.terms) {
      add_terms(f.s, f.terms, at.n, r[i].h, r[i].t, key + begin[i], end[i] - begin[i],
                p + begin[i]);
    }
    close_ends(p, begin[i], end[i]);
    int64_t j = begin[i] / L * L;
    Vec<T> m[4];
    for (int w = 0; w < 4; ++w) m[w] = load(p + j);
    for (; j + 4 * L <= end[i]; j += 4 * L) {
#pragma GCC unroll 4
      for (int w = 0; w < 4; ++w) m[w] = greater(load(p + j + w * L), m[w]);
    }
    for (; j < end[i]; j += L) m[0] = greater(load(p + j), m[0]);
    top[i] = hmax(greater(greater(m[0], m[1]), greater(m[2], m[3])));
  }
  for (int i = 0; i < rows; i += L) {
    const int64_t lanes = min64(L, rows - i);
    const Vec<T> old = load_n(most + i, lanes), now = greater(load(top + i), old);
    const Vec<T> shift = select(now == set1(-kInf<T>), zero<T>(), now);
    store(low + i, shift);
    store(shrink + i, exp2_low(old - shift));
    store_n(most + i, now, lanes);
  }
  const int64_t left = lo / L * L, right = round_up(hi, L);
  for (int64_t i = 0; i < rows; ++i) {
    T* p = at.s + i * pitch;
    int64_t j = begin[i] / L * L;
    const int64_t stop = begin[i] == end[i] ? j : round_up(end[i], L);
    fill_zero(p, left, j);
    const Vec<T> shift = set1(low[i]);
    Vec<T> total[4] = {};
    for (; j + 4 * L <= stop; j += 4 * L) {
#pragma GCC unroll 4
      for (int w = 0; w < 4; ++w) {
        const Vec<T> e = exp2_low(load(p + j + w * L) - shift);
        store(p + j + w * L, e);
        total[w] += e;
      }
    }
    for (; j < stop; j += L) {
      const Vec<T> e = exp2_low(load(p + j) - shift);
      store(p + j, e);
      total[0] += e;
    }
    fill_zero(p, stop, right);
    const T whole = hsum((total[0] + total[2]) + (total[1] + total[3]));
    sum[i] = fma(set1(sum[i]), set1(shrink[i]), set1(whole))[0];
    if (f.s.threshold != 0 && begin[i] < end[i]) {
      drop_row(f.s, at.n, r[i].h, r[i].t, key + begin[i], end[i] - begin[i], p + begin[i]);
    }
    if (!first && shrink[i] != T(1)) {
      T* to = o + i * f.c.o_pitch;
      for (int64_t d = 0; d < f.s.Dv; d += L) store(to + d, load(to + d) * set1(shrink[i]));
    }
  }
}

// A tile of queries against keys [key, stop). `from` is the first key of the task.
template <class T>
HL_INLINE void attend(const Forward<T>& f, const Place<T>& at, int64_t row, int64_t rows,
                      int64_t from, int64_t key, int64_t stop, T* o) {
  constexpr int64_t L = kLanes<T>;
  const AttentionShape& s = f.s;
  const ForwardCut& c = f.c;
  TileRow r[kRowSlots];
  tile_rows(f, at, row, rows, r);
  int64_t lo = stop, hi = key, begin = stop;
  for (int64_t i = 0; i < rows; ++i) {
    if (r[i].span.begin == r[i].span.end) continue;
    begin = min64(begin, r[i].span.begin);
    lo = min64(lo, max64(r[i].span.begin, key));
    hi = max64(hi, min64(r[i].span.end, stop));
  }
  if (lo >= hi) return;
  const bool first = max64(begin, from) >= key;
  lo -= key, hi -= key;
  for (int64_t i = 0; i < rows; ++i) {
    const T* q = f.q + at.n * s.q[0] + r[i].t * s.q[1] + r[i].h * s.q[2];
    copy_rows(q, 0, 1, s.D, c.q_pitch, at.qs + i * c.q_pitch);
    // The next tile's queries, and this one's results, arrive while this one computes.
    T* y = f.y + ((at.n * s.Tq + r[i].t) * s.H + r[i].h) * s.Dv;
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    for (int64_t d = 0; d < s.D; d += line) __builtin_prefetch(q + rows * s.q[1] + d);
    for (int64_t d = 0; d < s.Dv; d += line) __builtin_prefetch(y + d, 1);
  }
  const T alpha = T(s.scale * kLog2e);
  const T* v = f.v + at.n * s.v[0] + (key + lo) * s.v[1] + at.hk * s.v[2];
  if (c.few) {
    const T* k = f.k + at.n * s.k[0] + key * s.k[1] + at.hk * s.k[2];
    few_scores(at.qs, c.q_pitch, rows, s.D, k, s.k[1], lo, hi, alpha, at.s, c.pitch);
  } else {
    score_tile(at.qs, c.q_pitch, rows, s.D, at.kt, lo, hi, alpha, at.s, c.pitch);
  }
  tile_exponentials(f, at, r, row, rows, key, lo, hi, first, o);
  if (c.few) {
    few_values(at.s + lo, c.pitch, rows, v, s.v[1], hi - lo, s.Dv, !first, o, c.o_pitch);
    return;
  }
  const int64_t v_pitch = round_up(s.Dv, L);
  row_tile(at.s + lo, c.pitch, 1, rows, hi - lo, c.in_place ? v : at.vs + lo * v_pitch,
           c.in_place ? s.v[1] : v_pitch, c.in_place ? s.Dv : v_pitch, T(1), T(!first), o,
           c.o_pitch);
}

// y of a row from what was summed, and lse.
template <class T>
HL_INLINE void finish_row(const Forward<T>& f, int64_t n, int64_t h, int64_t t, const T* o, T most,
                          T sum) {
  constexpr int L = kLanes<T>;
  const AttentionShape& s = f.s;
  T* y = f.y + ((n * s.Tq + t) * s.H + h) * s.Dv;
  const bool none = sum == T(0);
  const Vec<T> scale = set1(T(1) / sum);
  for (int64_t d = 0; d < s.Dv; d += L) {
    const Vec<T> v = none ? zero<T>() : load(o + d) * scale;
    store_n(y + d, v, min64(L, s.Dv - d));
  }
  const T log_sum = none ? T(0) : log(set1(sum))[0];
  f.lse[(n * s.H + h) * s.Tq + t] = none ? -kInf<T> : most * T(kLn2) + log_sum;
}

template <class T>
void run_task(const Forward<T>& f, int64_t task, T* scratch) {
  constexpr int64_t nr = kTileColumns<T>, L = kLanes<T>;
  const AttentionShape& s = f.s;
  const ForwardCut& c = f.c;
  Place<T> at = {};
  at.split = task % c.splits;
  const int64_t pair = task / c.splits % (s.N * s.Hk);
  at.n = pair / s.Hk, at.hk = pair % s.Hk;
  // Later queries see more keys where that matters: they go first.
  at.first = (c.chunks - 1 - task / c.splits / (s.N * s.Hk)) * c.rows;
  at.qs = scratch;
  at.kt = at.qs + c.q_size;
  at.vs = at.kt + c.k_size;
  at.s = at.vs + c.v_size;
  at.o = at.s + c.s_size;
  at.most = at.o + c.o_size;
  at.sum = at.most + c.rows + kRowSlots;
  const int64_t rows = min64(c.rows, c.total - at.first);
  for (int64_t i = 0; i < rows; ++i) at.most[i] = -kInf<T>, at.sum[i] = T(0);

  const bool wraps = at.first / s.Tq != (at.first + rows - 1) / s.Tq;
  const int64_t t0 = wraps ? 0 : at.first % s.Tq, t1 = wraps ? s.Tq - 1 : t0 + rows - 1;
  const int64_t from = max64(at.split * c.split_keys, span_of(s, f.terms, at.n, t0).begin);
  const int64_t to =
      max64(from, min64((at.split + 1) * c.split_keys, span_of(s, f.terms, at.n, t1).end));
  const int64_t block = even_part(to - from, c.block, nr), blocks = ceil_div(to - from, block);
  for (int64_t b = 0; b == 0 || b < blocks; ++b) {
    const int64_t key = from + b * block, stop = min64(to, key + block);
    if (!c.few) {
      pack_turned(f.k + at.n * s.k[0] + key * s.k[1] + at.hk * s.k[2], s.k[1], stop - key, s.D,
                  at.kt);
    }
    if (!c.in_place) {
      copy_rows(f.v + at.n * s.v[0] + key * s.v[1] + at.hk * s.v[2], s.v[1], stop - key, s.Dv,
                round_up(s.Dv, L), at.vs);
    }
    for (int64_t row = 0; row < rows; row += c.mr) {
      const int64_t height = min64(c.mr, rows - row);
      T* o = at.o + (blocks > 1 ? row * c.o_pitch : 0);
      attend(f, at, row, height, from, key, stop, o);
      if (b + 1 < blocks) continue;
      for (int64_t i = 0; i < height; ++i) {
        const int64_t r = at.first + row + i;
        const T *mine = o + i * c.o_pitch, most = at.most[row + i], sum = at.sum[row + i];
        if (c.splits == 1) {
          finish_row(f, at.n, at.hk * (s.H / s.Hk) + r / s.Tq, r % s.Tq, mine, most, sum);
        } else {
          T* part = f.partial + ((pair * c.total + r) * c.splits + at.split) * partial_size(c);
          for (int64_t d = 0; d < s.Dv; d += L) store(part + d, load(mine + d));
          part[c.o_pitch] = most, part[c.o_pitch + 1] = sum;
        }
      }
    }
  }
}

// The parts of each query, in order.
template <class T>
void join_splits(const Forward<T>& f, int64_t row, T* o) {
  constexpr int L = kLanes<T>;
  const AttentionShape& s = f.s;
  const ForwardCut& c = f.c;
  const int64_t size = partial_size(c);
  const T* part = f.partial + row * c.splits * size;
  T most = -kInf<T>, sum = 0;
  for (int64_t i = 0; i < c.splits; ++i) {
    const T m = part[i * size + c.o_pitch];
    most = m > most ? m : most;
  }
  for (int64_t d = 0; d < s.Dv; d += L) store(o + d, zero<T>());
  for (int64_t i = 0; i < c.splits; ++i, part += size) {
    if (part[c.o_pitch + 1] == T(0)) continue;  // o is not set
    const Vec<T> weight = exp2_low(set1(part[c.o_pitch] - most));
    sum = fma(set1(part[c.o_pitch + 1]), weight, set1(sum))[0];
    for (int64_t d = 0; d < s.Dv; d += L) store(o + d, fma(load(part + d), weight, load(o + d)));
  }
  const int64_t pair = row / c.total, r = row % c.total;
  finish_row(f, pair / s.Hk, pair % s.Hk * (s.H / s.Hk) + r / s.Tq, r % s.Tq, o, most, sum);
}

}  // namespace

template <class T>
Plan attention_forward_plan(const AttentionShape& s) {
  const ForwardCut c = forward_cut<T>(s);
  Plan p = {};
  p.algorithm = c.few          ? "streaming, few queries"
                : c.splits > 1 ? "streaming, split keys"
                               : "streaming";
  p.why = c.few          ? "with so few queries the time goes into reading k and v"
          : c.splits > 1 ? "queries alone make too few tasks"
                         : nullptr;
  p.tile[0] = c.mr, p.tile[1] = c.block, p.tile[2] = c.rows;
  if (c.splits > 1) {
    p.shared_bytes = s.N * s.Hk * c.total * c.splits * partial_size(c) * int64_t(sizeof(T));
  }
  p.worker_bytes = round_up(worker_numbers<T>(c) * int64_t(sizeof(T)), 64);
  p.flops = 2.0 * visible_pairs(s) * double(s.D + s.Dv);
  const double q = double(s.N) * double(s.Tq) * double(s.H),
               k = double(s.N) * double(s.Tk) * double(s.Hk);
  p.bytes = (q + k) * double(s.D + s.Dv) * sizeof(T);
  return p;
}

template <class T>
void attention_forward(Ctx& ctx, const AttentionShape& s, const T* q, const T* k, const T* v,
                       const int64_t* lengths, const int64_t* starts, const unsigned char* mask,
                       const T* bias, const T* slopes, T* y, T* lse) {
  const ForwardCut c = forward_cut<T>(s);
  if (c.tasks == 0 || c.total == 0) return;
  const Forward<T> f = {s, c,   q,
                        k, v,   {lengths, starts, mask, bias, slopes},
                        y, lse, reinterpret_cast<T*>(ctx.shared)};
  parallel_for(ctx, c.tasks, c.grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task)
      run_task(f, task, worker_scratch<T>(ctx, worker));
  });
  if (c.splits == 1) return;
  const int64_t rows = s.N * s.Hk * c.total;
  parallel_for(ctx, rows, max64(1, 8192 / c.splits / c.o_pitch),
               [&](int64_t begin, int64_t end, int worker) {
                 T* o = worker_scratch<T>(ctx, worker);
                 for (int64_t row = begin; row < end; ++row) join_splits(f, row, o);
               });
}

HL_DEFINE_KERNEL(attention_forward);

}  // namespace hl::cpu::HL_ISA
