// Restricted Boltzmann machines: sampling a layer from the other one, and contrastive divergence.
//
//   E(v, h) = -b.v - c.h - h W v                   visible units that are 0 or 1
//   E(v, h) = |v - b|^2 / 2 - c.h - h W v          Gaussian ones, of variance 1
//
//   v (N, V)   h (N, H)   w (H, V)   b (V)   c (H)
//
//   p(h = 1 | v) = s(c + v W^T)                    s the sigmoid
//   p(v = 1 | h) = s(b + h W)   or   v | h ~ N(b + h W, 1)
//
// A sample of element i of a layer of N rows (i counts along rows) is made of element i of a call of
// the generator, as random.h numbers them: u_i < p_i, or mean_i + z_i.
//
// rbm_sample    one layer: mean (N, O), and sample (N, O) or null. x (N, I) are the other layer's
//               states; w is read transposed for the visible layer.
//
// rbm_contrast  k steps of Gibbs sampling and the gradient that contrastive divergence makes of them
//               (Hinton: "Training products of experts by minimizing contrastive divergence", 2002;
//               persistent: Tieleman, ICML 2008). With call number a of the shape:
//
//   p_0 = p(h | v)                          N rows
//   h_0 = chain, or a sample of p_0         C rows, call a; without a chain C = N
//   v_t ~ p(v | h_{t-1})                    call a + 2t - 1; the mean itself where means are asked for
//   p_t = p(h | v_t),  h_t ~ p_t            call a + 2t
//
//   dw = p_k^T v_k / C - p_0^T v / N      db = mean v_k - mean v      dc = mean p_k - mean p_0
//
//   (what gradient descent subtracts: minus the estimated gradient of the log-likelihood.)
//   dw, db, dc are null together: then N may be 0 beside a chain. v_k (C, V) and h_k (C, H), a sample,
//   may be null.
#pragma once

#include "context.h"

namespace hl {

enum class RbmVisible { kBernoulli, kGaussian };

struct RbmShape {
  int64_t N, V, H;
  int64_t C;  // rows of the chain
  RbmVisible visible;
  bool to_visible;     // rbm_sample: which layer is made
  bool visible_means;  // rbm_contrast: v_t is the mean
  bool chain;          // there is one
  bool need_gradients, need_h;
  int64_t steps;  // k, at least 1
  uint64_t seed, call;
};

template <class T>
using rbm_sample_t = void(Ctx&, const RbmShape&, const T* x, const T* w, const T* bias, T* mean,
                          T* sample);
template <class T>
using rbm_contrast_t = void(Ctx&, const RbmShape&, const T* v, const T* w, const T* b, const T* c,
                            const T* chain, T* dw, T* db, T* dc, T* v_k, T* h_k);

}  // namespace hl
