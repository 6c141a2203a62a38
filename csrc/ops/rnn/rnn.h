// Recurrent networks over whole sequences: one layer, one direction.
//
//   x (N, T, I)    y (N, T, P)    h0 hn (N, P)    c0 cn (N, H)        P = H without a projection
//   w_ih (G H, I)    w_hh (G H, P)    b_ih b_hh (G H)                 null biases are zero
//
// a = w_ih x_t + b_ih and u = w_hh h_(t-1) + b_hh have a part for each of the G gates, H numbers
// wide; s is the logistic function, products of vectors go element by element.
//
//   RNN    (Elman 1990)                     h = tanh(a + u), or max(0, a + u)              G = 1
//   LSTM   (Hochreiter, Schmidhuber 1997; Gers et al. 2000), gates i f g o                 G = 4
//          i f o = s(a + u)    g = tanh(a_g + u_g)    c = f c_(t-1) + i g    h = o tanh(c)
//   GRU    (Cho et al. 2014), gates r z n                                                  G = 3
//          r z = s(a + u)      n = tanh(a_n + r u_n)  h = (1 - z) n + z h_(t-1)    reset after
//          reset before: u_n = w_hn (r h_(t-1)) + b_hn and n = tanh(a_n + u_n)
//
// Sequence n ends after lengths[n] steps (null: all after T): what follows in x is never read, in y
// it is zero. `reverse` runs each sequence from its own end to its beginning; y stays in the order of
// x, hn belongs to the beginning.
//
// Backward, from the last step to the first. With dh = dy_t + what step t+1 hands back (at the last
// step of a sequence: dhn), each gate's gradient follows from the saved gates:
//
//   RNN    da = dh (1 - h^2), or dh where h > 0
//   LSTM   do = dh tanh(c) o (1 - o)     dc += dh o (1 - tanh(c)^2)      df = dc c_(t-1) f (1 - f)
//          di = dc g i (1 - i)           dg = dc i (1 - g^2)             dc_(t-1) = dc f
//   GRU    dz = dh (h_(t-1) - n) z (1 - z)         dn = dh (1 - z) (1 - n^2)
//          dr = dn u_n r (1 - r)                   du_n = dn r           dh_(t-1) = dh z + ...
//
//   dh_(t-1) += du w_hh     dx = da w_ih     dw_ih = sum da x^T     dw_hh = sum du h_(t-1)^T
//
// where da = du but for the GRU's n. The sums run over all steps of all sequences at once.
//
// Variants, in kernels of their own (rnn_variant_*):
//   peephole (3, H), LSTM      i f see peephole[0..1] c_(t-1), o sees peephole[2] c (Gers et al. 2002)
//   w_hr (P, H), LSTM          h = w_hr (o tanh(c)) (Sak, Senior, Beaufays 2014)
//   norm_ih norm_hh (G H)      the two products are normalised before their biases are added:
//                              norm_ih LN(w_ih x) + b_ih, norm_hh LN(w_hh h) + b_hh, over all gates
//                              together; the GRU's n by itself (Ba, Kiros, Hinton 2016, appendix)
//   recurrent dropout          the h that w_hh sees is multiplied by a mask / (1 - p) that is drawn
//                              once for a sequence (Gal, Ghahramani 2016): word n P + p of the call
//   zoneout                    h and c keep their old value with probability p (Krueger et al. 2017):
//                              word (n T + t) P + p of call + 1, (n T + t) H + j of call + 2; or both
//                              are mixed as expected, p old + (1 - p) new
//
// What forward saves. Rows are the steps of all sequences, first those of step 0, within a step the
// longer sequences first, `gate_stride` numbers apart (an odd number of cache lines: what is a power
// of two apart falls on the same cache sets).
//
//   gates   LSTM i f g o; GRU r z n u_n; the variants of RNN h before zoneout, else RNN nothing: y
//           tells all
//   cells   LSTM c
//   norms   of layer norm: LN(w_ih x) and LN(w_hh h), G H numbers each, then 1 / deviation of each
//           group, norm_stride numbers apart
#pragma once

#include "context.h"

namespace hl {

enum class RnnCell { kTanh, kRelu, kLstm, kGru, kGruBefore };
enum class Zoneout { kNone, kDraw, kExpect };

struct RnnShape {
  int64_t N, T, I, H, P;
  int64_t rows;   // the sum of the lengths
  int64_t steps;  // the longest
  int64_t gate_stride, norm_stride;
  RnnCell cell;
  bool reverse, saves;
  bool peephole, projects, layer_norm;
  Zoneout zoneout;
  double eps;                                       // of layer norm
  double drop, zone_h, zone_c;                      // probabilities
  uint64_t drop_below, zone_h_below, zone_c_below;  // times 2^32
  uint64_t seed, call;
};

template <class T>
struct RnnInputs {
  const int64_t* lengths;
  const T *x, *h0, *c0;
  const T *w_ih, *w_hh, *b_ih, *b_hh;
  const T *peephole, *w_hr, *norm_ih, *norm_hh;
};

// Written by forward, read by backward; null in a forward that saves nothing.
template <class T>
struct RnnSaved {
  T *gates, *cells, *norms;
};

// Outputs of backward; null where not wanted. b_ih, b_hh and what follows come together or not at all.
template <class T>
struct RnnGradients {
  T *x, *h0, *c0;
  T *w_ih, *w_hh, *b_ih, *b_hh;
  T *peephole, *w_hr, *norm_ih, *norm_hh;
};

template <class T>
using rnn_forward_t = void(Ctx&, const RnnShape&, const RnnInputs<T>&, const RnnSaved<T>&, T* y,
                           T* hn, T* cn);
template <class T>
using rnn_backward_t = void(Ctx&, const RnnShape&, const T* dy, const T* dhn, const T* dcn,
                            const RnnInputs<T>&, const RnnSaved<T>&, const T* y,
                            const RnnGradients<T>&);
template <class T>
using rnn_variant_forward_t = rnn_forward_t<T>;
template <class T>
using rnn_variant_backward_t = rnn_backward_t<T>;

}  // namespace hl
