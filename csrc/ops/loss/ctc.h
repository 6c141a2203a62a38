// Connectionist temporal classification (Graves and others 2006): the probability that per-step
// classes, read with repeats and blanks left out, spell a target.
//
// logp (N, T, C), of sample n the first lengths[n] steps; target (N, S), of it the first
// sizes[n] labels. With l' the target with a blank before, between and behind its labels
// (2 size + 1 places), in logarithms, skip(s) where l'[s] is no blank and not l'[s - 2]:
//
//   alpha[t, s] = logp[t, l'[s]] + logsum(alpha[t-1, s], alpha[t-1, s-1], alpha[t-1, s-2] if skip(s))
//   beta[t, s]  = logsum(b[t+1, s], b[t+1, s+1], b[t+1, s+2] if skip(s + 2)), b = beta + logp[., l']
//   L           = -logsum(alpha[end, last], alpha[end, last - 1])
//   dlogp[t, c] = -d S_(s: l'[s] = c) exp(alpha[t, s] + beta[t, s] + L)
//
// alpha[0] may begin at s = 0 or 1, beta[end] is 0 at the last two places. Of no steps, L is 0 for
// an empty target. A target that does not fit has L = inf and gradients NaN, or both 0 with
// zero_infinity. mean: each L by its size (at least 1), then S / N, as PyTorch; d accordingly.
//
// saved: (N, T, 2 S + 3) alpha in double, two places of -inf before each row, then (N) L. Steps past
// an end are not written. Logarithms, not scaled probabilities: a path that is hopeless beside the
// others for a thousand steps may be the only one that fits.
#pragma once

#include "ops/loss/loss.h"

namespace hl {

struct CtcShape {
  int64_t N, T, C, S;
  int64_t blank;
  Reduction reduction;
  bool zero_infinity;
};

template <class T>
using ctc_loss_forward_t = void(Ctx&, const CtcShape&, const T* logp, const int64_t* target,
                                const int64_t* lengths, const int64_t* sizes, T* loss,
                                double* saved);
template <class T>
using ctc_loss_backward_t = void(Ctx&, const CtcShape&, const T* dy, const T* logp,
                                 const int64_t* target, const int64_t* lengths,
                                 const int64_t* sizes, const double* saved, T* dlogp);

}  // namespace hl
