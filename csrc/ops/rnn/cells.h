// What a cell makes of the products of a step: its gates, forward and backward, for some units of some
// sequences at a time, while the products are in the first-level cache.
#pragma once

#include "cpu/parallel.h"
#include "ops/rnn/rnn.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t product_gates(RnnCell cell) {  // G
  return cell == RnnCell::kLstm ? 4 : cell == RnnCell::kGru || cell == RnnCell::kGruBefore ? 3 : 1;
}
// Blocks of H numbers that backward makes of a step: the GRU's n has a da and a du.
constexpr int64_t gate_blocks(RnnCell cell) {
  return cell == RnnCell::kGru || cell == RnnCell::kGruBefore ? 4 : product_gates(cell);
}

// Every pointer is at the first unit of the first row. From row to row it is `..._rs` numbers, or H;
// from gate to gate `..._gate`, or H.
template <class T>
struct ForwardBlock {
  int64_t rows, units, H;
  const T* s;  // w_hh h_(t-1); null: zero
  int64_t s_rs, s_gate;
  const T* x;  // w_ih x
  int64_t x_rs, x_gate;
  const T* bias;  // b_ih + b_hh; for the GRU r, z, b_in, b_hn
  const T* h;     // h_(t-1); null: zero
  T* h_next;
  int64_t h_rs;
  T* c;      // c_(t-1), then c
  T* gates;  // saved, as are cells; or null
  int64_t gate_rs;
  T* cells;
  T* y;
  const int64_t* place;  // row r of y is at y + place[r] H; null: r
};

template <class T>
struct BackwardBlock {
  int64_t rows, units, H;
  const T*
      s;  // du w_hh of the step after, in `parts` parts `s_gate` apart; of the first s_rows rows
  int64_t s_rows, s_rs, s_gate, parts;
  const T *dy, *dhn;     // null: zero; dhn belongs to the rows from s_rows on
  const int64_t* place;  // of dy and y; null: r
  const int64_t* slot;   // of dhn; null: r
  const T* y;
  const T* const* h;  // each row's h_(t-1) at unit 0; null: zero
  int64_t unit;       // the first one
  const T* gates;
  int64_t gate_rs;
  const T *cells, *cells_before;  // before null: zero
  T* carry;  // LSTM: dc; GRU: what reaches h_(t-1) without a product. In, then out
  T* d;      // da; for the GRU r, z, u_n, n
  int64_t d_rs;
};

template <class T>
using Finisher = void (*)(const ForwardBlock<T>&);
template <class T>
using Deriver = void (*)(const BackwardBlock<T>&);

template <class T>
Finisher<T> finisher(RnnCell cell);
template <class T>
Deriver<T> deriver(RnnCell cell);

}  // namespace hl::cpu::HL_ISA
