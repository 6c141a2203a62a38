// One step of an optimiser over all parameters, in place: one call, whatever the number of tensors.
//
// The tensors follow each other in one flat index space, and chunks are cut from that. Every
// formula is PyTorch's (torch/optim, the single-tensor path); w parameter, g gradient, t this
// tensor's step number from 1, and first of all   g <- -g if maximize,   g <- g + weight_decay w
// (L2)   or, decoupled, w <- w (1 - lr weight_decay):  AdamW and Lion always, NAdam and RAdam where
// asked for. lerp(a, b, c) = a + c (b - a).
//
//   sgd       v = momentum v + (1 - dampening) g   (t = 1: v = g)
//             w -= lr v,  nesterov: w -= lr (g + momentum v),  without momentum: w -= lr g
//   adagrad   s += g^2;  w -= lr / (1 + (t - 1) lr_decay) g / (sqrt s + eps)
//   rmsprop   s = alpha s + (1 - alpha) g^2;  centered: a = lerp(a, g, 1 - alpha)
//             d = g / (sqrt(s [- a^2]) + eps);  momentum: v = momentum v + d, w -= lr v;  else w -=
//             lr d
//   adam(w)   m = lerp(m, g, 1 - beta1);  s = beta2 s + (1 - beta2) g^2;  amsgrad: s' = max(s', s)
//             w -= lr / (1 - beta1^t) m / (sqrt(s or s') / sqrt(1 - beta2^t) + eps)
//   adadelta  s = rho s + (1 - rho) g^2;  d = g sqrt(u + eps) / sqrt(s + eps)
//             u = rho u + (1 - rho) d^2;  w -= lr d
//   adamax    m = lerp(m, g, 1 - beta1);  u = max(beta2 u, |g| + eps);  w -= lr / (1 - beta1^t) m /
//   u nadam     mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  M_t = mu_1 ... mu_t;  m and s as
//   in Adam
//             w -= lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_t mu_(t+1)) m)
//                  / (sqrt(s / (1 - beta2^t)) + eps)
//   radam     m and s as in Adam;  rho_inf = 2 / (1 - beta2) - 1
//             rho = rho_inf - 2 t beta2^t / (1 - beta2^t);   rho <= 5: w -= lr m / (1 - beta1^t),
//             else w -= lr m / (1 - beta1^t) sqrt(1 - beta2^t) / (sqrt s + eps)
//                  sqrt((rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho))
//   lion      w -= lr sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g   (Chen et al.
//   2023)
//
// Papers: Polyak 1964, Nesterov 1983, Duchi et al. 2011, Tieleman and Hinton 2012, Kingma and Ba
// 2015, Reddi et al. 2018, Loshchilov and Hutter 2019, Zeiler 2012, Dozat 2016, Liu et al. 2020.
//
// The numbers that a user may change between steps are read through a pointer to the step-state
// block `hyper`. Its first three are lr, weight_decay and maximize (0 or 1) for every kind; the
// rest:
//   sgd momentum dampening nesterov     adagrad lr_decay eps     rmsprop alpha eps momentum
//   centered adam, adamw beta1 beta2 eps amsgrad     adadelta rho eps     adamax beta1 beta2 eps
//   nadam beta1 beta2 eps momentum_decay decoupled     radam beta1 beta2 eps decoupled
//   lion beta1 beta2
// `progress` of a tensor is its step number and M_t, both in-out: 0 and 1 before the first step.
#pragma once

#include "context.h"

namespace hl {

enum class OptimKind {
  kSgd,
  kAdagrad,
  kRmsprop,
  kAdam,
  kAdamw,
  kAdadelta,
  kAdamax,
  kNadam,
  kRadam,
  kLion
};
constexpr int kOptimKinds = 10;
constexpr int kOptimHyper = 8;   // doubles in the step-state block
constexpr int kOptimStates = 3;  // arrays of state, at most

struct OptimShape {
  OptimKind kind;
  int64_t tensors;
  int64_t total;  // elements of all tensors
};

template <class T>
struct OptimTensor {
  T* param;                // in-out
  const T* grad;           // in
  T* state[kOptimStates];  // in-out; null where the kind and its options need none
  double* progress;        // in-out: step number, M_t
  int64_t begin, size;     // place in the flat index space
};

template <class T>
using optim_step_t = void(Ctx&, const OptimShape&, const double* hyper,
                          const OptimTensor<T>* tensors);

}  // namespace hl
