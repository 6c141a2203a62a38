// A task is one key-value head, or every n-th of its blocks of keys where there are too few heads.
// For a block of keys the queries that see it go by in blocks, a tile of them at a time: p and dS
// of a tile are made in the first cache, and then stay in the second for the three products that
// take them,
//
//   dv += (p z)^T dy      dk += scale dS^T q      dq += scale dS k
//
// The left sides p and dS serve both ways up, so nothing is turned but k and v, once for a block.
// dv and dk are summed in scratch; dq in place, or in a partial array for each of the tasks that
// share a head, which are added in order. Five products a block, no atomics, and no sum depends on
// the threads.
#include "kernel.h"
#include "ops/attention/recompute.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kPartialBytes = 64 << 20;

struct BackwardCut {
  PairCut pair;
  int64_t blocks;  // of keys
  int64_t splits;  // they are dealt to so many tasks
  int64_t tasks, grain;
  int64_t rows;             // N H Tq
  int64_t q_size, dy_size;  // numbers of a block of rows
  int64_t krow_size, dv_size;
};

template <class T>
BackwardCut backward_cut(const AttentionShape& s) {
  BackwardCut c = {};
  c.pair = pair_cut<T>(s);
  c.blocks = ceil_div(s.Tk, c.pair.keys);
  c.rows = s.N * s.H * s.Tq;
  const int64_t pairs = s.N * s.Hk, item = sizeof(T);
  c.splits = max64(1, min64(ceil_div(16, max64(1, pairs)), c.blocks));
  const int64_t dq_bytes = max64(1, c.rows * s.D * item);
  c.splits = max64(1, min64(c.splits, 1 + kPartialBytes / dq_bytes));
  c.tasks = pairs * c.splits;
  c.grain = max64(1, (int64_t(1) << 18) / max64(1, s.Tq * s.Tk / c.splits * (s.D + s.Dv) * 2));
  c.q_size = c.pair.queries * c.pair.d_pitch, c.dy_size = c.pair.queries * c.pair.v_pitch;
  c.krow_size = c.pair.keys * c.pair.d_pitch, c.dv_size = c.pair.keys * c.pair.v_pitch;
  return c;
}

inline int64_t worker_numbers(const BackwardCut& c) {
  return c.pair.k_size + c.pair.v_size + 2 * c.pair.p_size + c.q_size + c.dy_size +
         2 * c.krow_size + c.dv_size;
}

template <class T>
struct Backward {
  const AttentionShape& s;
  const BackwardCut& c;
  Saved<T> a;
  T *dq, *dk, *dv, *partial;
};

template <class T>
struct Room {
  T *kt, *vt, *p, *ds, *q, *dy, *krows, *dk, *dv;
};

template <class T>
HL_INLINE void clear(T* p, int64_t n) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0; i < n; i += L) store_n(p + i, zero<T>(), min64(L, n - i));
}

// dk or dv of a block: rows of the result, zeros where there is nothing.
template <class T>
HL_INLINE void put_rows(const T* from, int64_t pitch, int64_t rows, int64_t filled, int64_t columns,
                        T* to, int64_t rs) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0; i < rows; ++i, to += rs, from += pitch) {
    for (int64_t d = 0; d < columns; d += L) {
      const int64_t lanes = min64(L, columns - d);
      store_n(to + d, i < filled ? load_n(from + d, lanes) : zero<T>(), lanes);
    }
  }
}

// Queries [first, first + queries) of head h against the block of `keys` keys from `key`, which is
// packed.
template <class T>
HL_INLINE void block_pair(const Backward<T>& f, const Room<T>& w, int64_t n, int64_t h,
                          int64_t first, int64_t queries, int64_t key, int64_t keys, T* dq,
                          int64_t dq_rs) {
  constexpr int64_t L = kLanes<T>;
  const AttentionShape& s = f.s;
  const PairCut& c = f.c.pair;
  BlockSpans b;
  block_spans(s, f.a.terms, n, first, queries, key, keys, b);
  if (b.begin >= b.end) return;
  const int64_t rows = b.end - b.begin, t = first + b.begin;
  copy_rows(f.a.q + n * s.q[0] + t * s.q[1] + h * s.q[2], s.q[1], rows, s.D, c.d_pitch, w.q);
  copy_rows(f.a.dy + ((n * s.Tq + t) * s.H + h) * s.Dv, s.H * s.Dv, rows, s.Dv, c.v_pitch, w.dy);
  const T alpha = T(s.scale * kLog2e), scale = T(s.scale);
  const int64_t width = round_up(keys, L);
  for (int64_t i = 0; i < rows; i += c.mr) {
    const int64_t height = min64(c.mr, rows - i), row = b.begin + i;
    const int64_t lo = b.span[row].begin, hi = b.span[row + height - 1].end;
    T *p = w.p + i * c.pitch, *ds = w.ds + i * c.pitch;
    if (lo < hi) {
      score_tile(w.q + i * c.d_pitch, c.d_pitch, height, s.D, w.kt, lo, hi, alpha, p, c.pitch);
      score_tile(w.dy + i * c.v_pitch, c.v_pitch, height, s.Dv, w.vt, lo, hi, T(1), ds, c.pitch);
    }
    tile_probabilities(s, f.a, b, n, h, first, key, row, height, width, p, c.pitch);
    tile_slopes(s, f.a, b, n, h, first, key, row, height, width, p, ds, c.pitch);
    if (dq && lo < hi) {
      row_tile(ds + lo, c.pitch, 1, height, hi - lo, w.krows + lo * c.d_pitch, c.d_pitch, s.D,
               scale, T(1), dq + (row)*dq_rs, dq_rs);
    }
  }
  if (!f.dk) return;
  const int64_t tall = even_part(keys, kTileRows, 1);
  int64_t from = 0, to = 0;  // queries that see any key of the tile
  for (int64_t j = 0; j < keys; j += tall) {
    const int64_t height = min64(tall, keys - j);
    while (from < rows && b.span[b.begin + from].end <= j) ++from;
    while (to < rows && b.span[b.begin + to].begin < j + height) ++to;
    if (from >= to) continue;
    row_tile(w.p + from * c.pitch + j, 1, c.pitch, height, to - from, w.dy + from * c.v_pitch,
             c.v_pitch, c.v_pitch, T(1), T(1), w.dv + j * c.v_pitch, c.v_pitch);
    row_tile(w.ds + from * c.pitch + j, 1, c.pitch, height, to - from, w.q + from * c.d_pitch,
             c.d_pitch, c.d_pitch, scale, T(1), w.dk + j * c.d_pitch, c.d_pitch);
  }
}

template <class T>
void run_task(const Backward<T>& f, int64_t task, T* scratch) {
  const AttentionShape& s = f.s;
  const BackwardCut& c = f.c;
  const int64_t split = task % c.splits, pair = task / c.splits;
  const int64_t n = pair / s.Hk, hk = pair % s.Hk, group = s.H / s.Hk;
  Room<T> w;
  w.kt = scratch;
  w.vt = w.kt + c.pair.k_size;
  w.p = w.vt + c.pair.v_size;
  w.ds = w.p + c.pair.p_size;
  w.q = w.ds + c.pair.p_size;
  w.dy = w.q + c.q_size;
  w.krows = w.dy + c.dy_size;
  w.dk = w.krows + c.krow_size;
  w.dv = w.dk + c.krow_size;
  const int64_t dq_rs = split == 0 ? s.dq[1] : s.D;
  auto dq_of = [&](int64_t h) {
    return !f.dq        ? nullptr
           : split == 0 ? f.dq + n * s.dq[0] + h * s.dq[2]
                        : f.partial + ((split - 1) * c.rows + (n * s.H + h) * s.Tq) * s.D;
  };
  for (int64_t h = hk * group; f.dq && h < (hk + 1) * group; ++h) {
    for (int64_t t = 0; t < s.Tq; ++t) clear(dq_of(h) + t * dq_rs, s.D);
  }
  for (int64_t block = split; block < c.blocks; block += c.splits) {
    const int64_t key = block * c.pair.keys, all = min64(c.pair.keys, s.Tk - key);
    const int64_t live = f.a.terms.lengths ? f.a.terms.lengths[n] : s.Tk;
    const int64_t keys = min64(all, max64(0, live - key));
    if (keys > 0) {
      const T* k = f.a.k + n * s.k[0] + key * s.k[1] + hk * s.k[2];
      const T* v = f.a.v + n * s.v[0] + key * s.v[1] + hk * s.v[2];
      pack_turned(k, s.k[1], keys, s.D, w.kt);
      pack_turned(v, s.v[1], keys, s.Dv, w.vt);
      copy_rows(k, s.k[1], keys, s.D, c.pair.d_pitch, w.krows);
      clear(w.dk, keys * c.pair.d_pitch);
      clear(w.dv, keys * c.pair.v_pitch);
      for (int64_t h = hk * group; h < (hk + 1) * group; ++h) {
        for (int64_t t = 0; t < s.Tq; t += c.pair.queries) {
          T* dq = dq_of(h);
          block_pair(f, w, n, h, t, min64(c.pair.queries, s.Tq - t), key, keys,
                     dq ? dq + t * dq_rs : nullptr, dq_rs);
        }
      }
    }
    if (!f.dk) continue;
    put_rows(w.dk, c.pair.d_pitch, all, keys, s.D,
             f.dk + n * s.dk[0] + key * s.dk[1] + hk * s.dk[2], s.dk[1]);
    put_rows(w.dv, c.pair.v_pitch, all, keys, s.Dv,
             f.dv + n * s.dv[0] + key * s.dv[1] + hk * s.dv[2], s.dv[1]);
  }
}

}  // namespace

template <class T>
Plan attention_backward_plan(const AttentionShape& s) {
  const BackwardCut c = backward_cut<T>(s);
  Plan p = {};
  p.algorithm = c.splits > 1 ? "streaming, split keys" : "streaming";
  p.why = c.splits > 1 ? "heads alone make too few tasks" : nullptr;
  p.tile[0] = c.pair.mr, p.tile[1] = c.pair.queries, p.tile[2] = c.pair.keys;
  p.shared_bytes = (c.rows * 2 + (c.splits - 1) * c.rows * s.D) * int64_t(sizeof(T));
  p.worker_bytes = round_up(worker_numbers(c) * int64_t(sizeof(T)), 64);
  p.flops = visible_pairs(s) * (6.0 * double(s.D) + 4.0 * double(s.Dv));
  const double q = double(c.rows), k = double(s.N) * double(s.Tk) * double(s.Hk);
  p.bytes = 2 * (q + k) * double(s.D + s.Dv) * sizeof(T);
  return p;
}

template <class T>
void attention_backward(Ctx& ctx, const AttentionShape& s, const T* dy, const T* q, const T* k,
                        const T* v, const T* y, const T* lse, const int64_t* lengths,
                        const int64_t* starts, const unsigned char* mask, const T* bias,
                        const T* slopes, T* dq, T* dk, T* dv) {
  const BackwardCut c = backward_cut<T>(s);
  if (c.tasks == 0) return;
  T* shift = reinterpret_cast<T*>(ctx.shared);
  T* delta = shift + c.rows;
  T* partial = delta + c.rows;
  prepare_rows(ctx, s, dy, y, lse, shift, delta);
  const Saved<T> saved = {dy, q, k, v, shift, delta, {lengths, starts, mask, bias, slopes}};
  const Backward<T> f = {s, c, saved, dq, dk, dv, partial};
  parallel_for(ctx, c.tasks, c.grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task)
      run_task(f, task, worker_scratch<T>(ctx, worker));
  });
  if (c.splits == 1 || !dq) return;
  parallel_for(ctx, c.rows, max64(1, 8192 / max64(1, s.D)), [&](int64_t begin, int64_t end, int) {
    constexpr int L = kLanes<T>;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / s.Tq / s.H, h = row / s.Tq % s.H, t = row % s.Tq;
      T* to = dq + n * s.dq[0] + t * s.dq[1] + h * s.dq[2];
      for (int64_t d = 0; d < s.D; d += L) {
        const int64_t lanes = min64(L, s.D - d);
        Vec<T> sum = load_n(to + d, lanes);
        for (int64_t i = 1; i < c.splits; ++i) {
          sum += load_n(partial + ((i - 1) * c.rows + row) * s.D + d, lanes);
        }
        store_n(to + d, sum, lanes);
      }
    }
  });
}

HL_DEFINE_KERNEL(attention_backward);

}  // namespace hl::cpu::HL_ISA
