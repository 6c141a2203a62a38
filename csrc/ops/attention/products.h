// The products of attention around the register tile.
//
// Keys lie along the columns of the tile: K^T of a block is packed in panels of a tile's width,
// once for all the queries that meet it, while queries and probabilities are the tile's left side
// as they are.
#pragma once

#include "cpu/gemm.h"
#include "ops/attention/scores.h"

namespace hl::cpu::HL_ISA {

// Rows of D numbers, `rs` apart, as columns: panels of a tile's width over D steps. Returns the
// numbers written.
template <class T>
int64_t pack_turned(const T* p, int64_t rs, int64_t rows, int64_t D, T* to) {
  constexpr int64_t nr = kTileColumns<T>;
  for (int64_t j = 0; j < rows; j += nr) {
    pack_k_adjacent(to + j * D, int(nr), p + j * rs, int(min64(nr, rows - j)), rs, D);
  }
  return round_up(rows, nr) * D;
}

// Rows of D numbers side by side, `pitch` apart: zeros beyond D.
template <class T>
void copy_rows(const T* p, int64_t rs, int64_t rows, int64_t D, int64_t pitch, T* to) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0; i < rows; ++i, p += rs, to += pitch) {
    int64_t d = 0;
    for (; d + L <= D; d += L) {
      __builtin_prefetch(p + 8 * rs + d);  // rows are too far apart for the hardware to see them
      store(to + d, load(p + d));
    }
    if (d < pitch) store_n(to + d, load_n(p + d, D - d), min64(L, pitch - d));
  }
}

// columns [first, last) of `rows` by packed columns, and the rest of their vectors:
// s = alpha a b, with a's rows `a_rs` apart.
template <class T>
HL_INLINE void score_tile(const T* a, int64_t a_rs, int64_t rows, int64_t D, const T* packed,
                          int64_t first, int64_t last, T alpha, T* s, int64_t pitch) {
  constexpr int64_t nr = kTileColumns<T>, L = kLanes<T>;
  const int64_t stop = round_up(last, L);
  for (int64_t c = first / L * L; c < stop;) {
    const int64_t inside = c % nr, n = min64(nr - inside, stop - c);
    const Tile<T> t = {D, a, a_rs,  1,   packed + (c - inside) * D + inside, nr, s + c, pitch,
                       1, n, alpha, T(0)};
    tile<T>(rows, n / L)(t);
    c += n;
  }
}

// c (+)= alpha a b over all columns: b's rows are b_ks apart.
template <class T>
HL_INLINE void row_tile(const T* a, int64_t a_rs, int64_t a_ks, int64_t rows, int64_t K, const T* b,
                        int64_t b_ks, int64_t columns, T alpha, T beta, T* c, int64_t c_rs) {
  constexpr int64_t nr = kTileColumns<T>, L = kLanes<T>;
  for (int64_t j = 0; j < columns; j += nr) {
    const int64_t n = min64(nr, columns - j);
    const Tile<T> t = {K, a, a_rs, a_ks, b + j, b_ks, c + j, c_rs, 1, n, alpha, beta};
    tile<T>(rows, ceil_div(n, L))(t);
  }
}

}  // namespace hl::cpu::HL_ISA
