// What both ways of running backward do with da: gradients of biases, rows back to their places.
#pragma once

#include "ops/matmul/gemv.h"
#include "ops/rnn/cut.h"

namespace hl::cpu::HL_ISA {

// As the epilogue of a product whose rows are steps: each goes to its place in dx.
template <class T>
struct RowScatter {
  const T* rows;
  int64_t columns;
  T* dx;
  const int64_t* place;

  static void apply(const void* self, int64_t row, int64_t count, int64_t column, int64_t columns) {
    const auto& f = *static_cast<const RowScatter*>(self);
    for (int64_t r = row; r < row + count; ++r) {
      copy_numbers(f.rows + r * f.columns + column, columns,
                   f.dx + f.place[r] * f.columns + column);
    }
  }
};

// sums[j] = sum over the rows of d[row, j] (+ beta sums[j])
template <class T>
void sum_rows(Ctx& ctx, GemvCut cut, int64_t rows, const T* d, int64_t stride, T beta, T* sums) {
  cut.K = rows;
  cut.pieces = max64(1, ceil_div(rows, cut.kc));
  const T one = 1;  // a vector of ones, read with stride 0
  gemv<T>(ctx, cut, false, &one, 0, 0, d, 1, stride, {sums, 0, 1, T(1), beta});
}

// The GRU's da has r, z, u_n and n; the others' biases share one gradient.
template <class T>
void spread_biases(const RnnShape& s, const T* sums, const RnnGradients<T>& out) {
  const int64_t G = product_gates(s.cell), n = (G == 3 ? 2 : G) * s.H;
  T* to[] = {out.b_ih, out.b_hh};
  for (int side = 0; side < 2; ++side) {
    if (!to[side]) continue;
    copy_numbers(sums, n, to[side]);
    if (G == 3) copy_numbers(sums + (side == 0 ? 3 : 2) * s.H, s.H, to[side] + n);
  }
}

template <class T>
void zero_weight_gradients(const RnnShape& s, T* bias_sums, const RnnGradients<T>& out) {
  const int64_t GH = product_gates(s.cell) * s.H;
  copy_numbers<T>(nullptr, gate_blocks(s.cell) * s.H, bias_sums);
  if (out.w_ih) copy_numbers<T>(nullptr, GH * s.I, out.w_ih);
  if (out.w_hh) copy_numbers<T>(nullptr, GH * s.P, out.w_hh);
}

}  // namespace hl::cpu::HL_ISA
