// One step of all sequences, as a cell takes it: two plain products and the gates. Nothing is packed
// that will not be used again.
#pragma once

#include "ops/rnn/cells.h"

namespace hl::cpu::HL_ISA {

template <class T>
void single_forward_scratch(const RnnShape& s, Plan& p);
template <class T>
void single_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in, const RnnSaved<T>& saved,
                    T* y, T* hn, T* cn);

template <class T>
void single_backward_scratch(const RnnShape& s, Plan& p);
template <class T>
void single_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                     const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                     const RnnGradients<T>& out);

// The sum of both biases; the GRU's n has them apart, r z b_in b_hn.
template <class T>
void join_biases(const RnnShape& s, const RnnInputs<T>& in, T* bias) {
  const int64_t G = product_gates(s.cell), GH = G * s.H;
  for (int64_t j = 0; j < GH; ++j) {
    bias[j] = (in.b_ih ? in.b_ih[j] : T(0)) + (in.b_hh ? in.b_hh[j] : T(0));
  }
  if (G != 3) return;
  for (int64_t j = 2 * s.H; j < GH; ++j) {
    bias[j] = in.b_ih ? in.b_ih[j] : T(0);
    bias[j + s.H] = in.b_hh ? in.b_hh[j] : T(0);
  }
}

}  // namespace hl::cpu::HL_ISA
