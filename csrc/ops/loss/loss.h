// Losses. `reduction` none gives one loss per row (cross-entropy, KL, dice) or element; mean and
// sum one number. d is dy[row] or dy[element], or dy over the mean's divisor.
//
// Cross-entropy of logits x (N, C), classes last, with class weights w (all 1 without) and
// smoothing e, where logp = x - m - log S exp(x - m), m = max x:
//
//   labels t      L = (1 - e) w[t] (-logp[t]) + e / C S_c w[c] (-logp[c]);  mean: S L / S w[t]
//                 rows with t = ignore_index count neither here nor there; none left: 0 / 0 = NaN
//   soft p        L = S_c w[c] q[c] (-logp[c]),  q = (1 - e) p + e / C;     mean: S L / N
//   backward      dx = d (A softmax(x) - B):  B[c] the factor of -logp[c] above, A = S_c B[c]
//   saved         (N, 2): m and S exp(x - m)
//
// Negative log likelihood of given logp: L = -w[t] logp[t], mean and ignore_index as above.
//
// Pointwise losses of x and t, each times a weight if there is one (mean: over all elements, but
// for mse and l1 over the sum of weights, as in PyTorch):
//
//   mse (x-t)^2     l1 |x-t|     smooth_l1 (p0 = b)  d^2/(2b) where d = |x-t| < b, else d - b/2
//   huber (p0 = b)  d^2/2 where d <= b, else b (d - b/2)
//   bce             -(t max(log x, -100) + (1-t) max(log(1-x), -100))
//   bce_with_logits (1-t) x + (1 + (pos-1) t) softplus(-x)
//   kl_div          t (log t - x), 0 where t = 0    kl_div_log  exp(t) (t - x)
//   hinge_embedding (p0 = margin)  x where t = 1, max(0, margin - x) where t = -1
//   hinge           (p0 = margin)  max(0, margin - t x)
//   focal           (p0 = a, p1 = g)  a_t (1-p_t)^g bce_with_logits(x, t), with p = sigmoid(x),
//                   1-p_t = p (1-t) + (1-p) t, a_t = a t + (1-a)(1-t), or 1 if a < 0 (Lin et al.
//                   2017)
//
// gaussian_kl: rows mu, logvar (N, M): L = S (exp(logvar) + mu^2 - 1 - logvar) / 2, the divergence
// from a standard normal (Kingma and Welling 2013, appendix B). dice: rows p, t (N, M): L = 1 - (2
// S p t + s) / (S p + S t + s) (Milletari et al. 2016, without their squares).
//
// gaussian_nll: x is the mean and v the variance of a normal distribution, t what was seen (Nix and
// Weigend 1994); c is 0, or log(2 pi) / 2 for the full likelihood:
//
//   L = (log u + (x-t)^2 / u) / 2 + c,  u = max(v, eps);  dv = (1/u - (x-t)^2 / u^2) / 2
//
// dv ignores the max, as in PyTorch: else a variance below eps could never grow again.
//
// All arrays are contiguous.
#pragma once

#include "context.h"

namespace hl {

enum class Reduction : int { kNone, kMean, kSum };

struct ClassLossShape {
  int64_t N, C;
  int64_t ignore_index;
  double smoothing;
  Reduction reduction;
};

// Exactly one of labels (N) and soft (N, C); weight (C) may be null. loss: (N) or one number.
template <class T>
using cross_entropy_forward_t = void(Ctx&, const ClassLossShape&, const T* x, const int64_t* labels,
                                     const T* soft, const T* weight, T* loss, T* saved);
template <class T>
using cross_entropy_backward_t = void(Ctx&, const ClassLossShape&, const T* dy, const T* x,
                                      const int64_t* labels, const T* soft, const T* weight,
                                      const T* saved, T* dx);
template <class T>
using nll_loss_forward_t = void(Ctx&, const ClassLossShape&, const T* logp, const int64_t* labels,
                                const T* weight, T* loss);
template <class T>
using nll_loss_backward_t = void(Ctx&, const ClassLossShape&, const T* dy, const int64_t* labels,
                                 const T* weight, T* dlogp);

enum class PointwiseLoss : int {
  kMse,
  kL1,
  kSmoothL1,
  kHuber,
  kBce,
  kBceWithLogits,
  kKlDiv,
  kKlDivLog,
  kHingeEmbedding,
  kHinge,
  kFocal,
};

// Element i of a weight is weight[i / inner % size]: along some neighbouring axes, repeated
// elsewhere.
struct WeightAxes {
  int64_t inner, size;
};

struct PointwiseLossShape {
  PointwiseLoss op;
  Reduction reduction;
  int64_t size;
  double p0, p1;
  WeightAxes weight, pos_weight;
};

template <class T>
using pointwise_loss_forward_t = void(Ctx&, const PointwiseLossShape&, const T* x, const T* t,
                                      const T* weight, const T* pos_weight, T* loss);
template <class T>
using pointwise_loss_backward_t = void(Ctx&, const PointwiseLossShape&, const T* dy, const T* x,
                                       const T* t, const T* weight, const T* pos_weight, T* dx,
                                       T* dt);

struct GaussianNllShape {
  Reduction reduction;
  int64_t size;
  double eps, constant;
};

template <class T>
using gaussian_nll_forward_t = void(Ctx&, const GaussianNllShape&, const T* x, const T* t,
                                    const T* var, T* loss);
template <class T>
using gaussian_nll_backward_t = void(Ctx&, const GaussianNllShape&, const T* dy, const T* x,
                                     const T* t, const T* var, T* dx, T* dt, T* dvar);

struct RowLossShape {
  int64_t N, M;
  Reduction reduction;
  double smooth;  // dice
};

template <class T>
using gaussian_kl_forward_t = void(Ctx&, const RowLossShape&, const T* mu, const T* logvar,
                                   T* loss);
template <class T>
using gaussian_kl_backward_t = void(Ctx&, const RowLossShape&, const T* dy, const T* mu,
                                    const T* logvar, T* dmu, T* dlogvar);
template <class T>
using dice_loss_forward_t = void(Ctx&, const RowLossShape&, const T* p, const T* t, T* loss);
template <class T>
using dice_loss_backward_t = void(Ctx&, const RowLossShape&, const T* dy, const T* p, const T* t,
                                  T* dp, T* dt);

}  // namespace hl
