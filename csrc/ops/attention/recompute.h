// What the kernels that follow forward have in common: p is formed anew from the scores and lse.
#pragma once

#include "ops/attention/products.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kPairQueries = 112, kPairKeys = 128;  // of a block of p

// A worker's scratch: one block of keys and one of queries.
struct PairCut {
  int64_t mr;                      // queries of a tile
  int64_t queries, keys;           // of a block
  int64_t pitch;                   // of p
  int64_t d_pitch, v_pitch;        // of rows of q and k, of v and dy
  int64_t k_size, v_size, p_size;  // numbers: k turned, v turned, p
};

template <class T>
PairCut pair_cut(const AttentionShape& s) {
  constexpr int64_t nr = kTileColumns<T>, L = kLanes<T>;
  PairCut c = {};
  c.queries = even_part(s.Tq, kPairQueries, kTileRows);
  c.keys = even_part(s.Tk, kPairKeys, nr);
  c.mr = even_part(c.queries, kTileRows, 1);
  // Rows of p are read side by side: the extra vector keeps them from falling into the same sets.
  c.pitch = round_up(c.keys, nr) + L;
  c.d_pitch = round_up(s.D, L), c.v_pitch = round_up(s.Dv, L);
  c.k_size = round_up(c.keys, nr) * s.D;
  c.v_size = round_up(c.keys, nr) * s.Dv;
  c.p_size = c.queries * c.pitch;
  return c;
}

template <class T>
struct Saved {
  const T *dy, *q, *k, *v, *lse;  // lse in units of log 2: see shift_of
  const T* delta;
  Terms<T> terms;
};

// lse and delta of every query, as saved: (N, H, Tq).
template <class T>
void prepare_rows(Ctx& ctx, const AttentionShape& s, const T* dy, const T* y, const T* lse,
                  T* shift, T* delta) {
  constexpr int L = kLanes<T>;
  const int64_t rows = s.N * s.H * s.Tq;
  parallel_for(ctx, rows, max64(1, 16384 / max64(1, s.Dv)), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      shift[i] = shift_of(lse[i]);
      const int64_t n = i / s.Tq / s.H, h = i / s.Tq % s.H, t = i % s.Tq;
      const int64_t at = ((n * s.Tq + t) * s.H + h) * s.Dv;
      Vec<T> sum = {};
      for (int64_t d = 0; d < s.Dv; d += L) {
        const int64_t lanes = min64(L, s.Dv - d);
        sum = fma(load_n(dy + at + d, lanes), load_n(y + at + d, lanes), sum);
      }
      delta[i] = hsum(sum);
    }
  });
}

// The queries [begin, end) of a block that see any of the keys [key, key + keys), each with its
// columns.
struct BlockSpans {
  int64_t begin, end;
  Span span[kPairQueries + kTileRows];  // of query `first + i`, counted from `key`
};

template <class T>
HL_INLINE void block_spans(const AttentionShape& s, const Terms<T>& terms, int64_t n, int64_t first,
                           int64_t queries, int64_t key, int64_t keys, BlockSpans& b) {
  b.begin = queries, b.end = 0;
  for (int64_t i = 0; i < queries; ++i) {
    const Span seen = span_of(s, terms, n, first + i);
    Span& own = b.span[i];
    own.begin = min64(max64(seen.begin - key, 0), keys);
    own.end = max64(own.begin, min64(seen.end - key, keys));
    if (own.begin < own.end) b.begin = min64(b.begin, i), b.end = i + 1;
  }
}

// Rows [row, row + rows) of a block: p of the columns that each sees. The rest of the `width`
// columns is zero.
template <class T>
HL_INLINE void tile_probabilities(const AttentionShape& s, const Saved<T>& a, const BlockSpans& b,
                                  int64_t n, int64_t h, int64_t first, int64_t key, int64_t row,
                                  int64_t rows, int64_t width, T* p, int64_t pitch) {
  constexpr int L = kLanes<T>;
  for (int64_t i = row; i < row + rows; ++i, p += pitch) {
    const Span own = b.span[i];
    if (own.begin == own.end) {
      fill_zero(p, 0, width);
      continue;
    }
    if (s.terms) {
      add_terms(s, a.terms, n, h, first + i, key + own.begin, own.end - own.begin, p + own.begin);
    }
    close_ends(p, own.begin, own.end);
    const Vec<T> shift = set1(a.lse[(n * s.H + h) * s.Tq + first + i]);
    fill_zero(p, 0, own.begin / L * L);
    int64_t j = own.begin / L * L;
    for (; j < own.end; j += L) store(p + j, exp2_low(load(p + j) - shift));
    fill_zero(p, j, width);
  }
}

// dS of those rows, in place of dP; where there is dropout p becomes p z.
template <class T>
HL_INLINE void tile_slopes(const AttentionShape& s, const Saved<T>& a, const BlockSpans& b,
                           int64_t n, int64_t h, int64_t first, int64_t key, int64_t row,
                           int64_t rows, int64_t width, T* p, T* ds, int64_t pitch) {
  constexpr int L = kLanes<T>;
  for (int64_t i = row; i < row + rows; ++i, p += pitch, ds += pitch) {
    const Span own = b.span[i];
    const int64_t left = own.begin / L * L, right = round_up(own.end, L);
    if (own.begin == own.end) {
      fill_zero(ds, 0, width);
      continue;
    }
    const Vec<T> delta = set1(a.delta[(n * s.H + h) * s.Tq + first + i]);
    fill_zero(ds, 0, left);
    if (s.threshold == 0) {
      for (int64_t j = left; j < right; j += L) {
        store(ds + j, load(p + j) * (load(ds + j) - delta));
      }
    } else {
      T z[kPairKeys + 2 * kLanes<T>];
      for (int64_t j = left; j < right; j += L) store(z + j, set1(T(1)));
      drop_row(s, n, h, first + i, key + own.begin, own.end - own.begin, z + own.begin);
      for (int64_t j = left; j < right; j += L) {
        const Vec<T> weight = load(p + j), f = load(z + j);
        store(ds + j, weight * fma(load(ds + j), f, -delta));
        store(p + j, weight * f);
      }
    }
    fill_zero(ds, right, width);
  }
}

}  // namespace hl::cpu::HL_ISA
