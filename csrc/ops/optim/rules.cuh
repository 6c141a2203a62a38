// The update rules for one element, and the numbers that a tensor's step number decides (optim.h).
// The numbers are made on the host, in double; a step takes the same branches on all threads.
#pragma once

#include <math.h>

#include "cuda/gpu.h"
#include "ops/optim/optim.h"

namespace hl::cuda {

template <class T>
struct OptimNumbers {
  T sign, l2, shrink;       // g = l2 w + sign g, then w *= shrink
  T rate, keep, rest, eps;  // keep and rest: of the running square
  T a, b;                   // what a rule has besides
  T weight;                 // of the first moment's lerp, torch.lerp's two forms: each is exact
  bool near_start;          // at the end that it is nearer to
  bool option, other_option;
};

inline double nadam_mu(const double* h, double t) { return h[3] * (1 - 0.5 * pow(0.96, t * h[6])); }

// h and progress: the step-state block and the tensor's (step number, M_t).
template <class T>
OptimNumbers<T> optim_numbers(OptimKind kind, const double* h, const double* progress) {
  OptimNumbers<T> n = {};
  const double lr = h[0], t = progress[0];
  const bool decoupled = kind == OptimKind::kAdamw || kind == OptimKind::kLion ||
                         (kind == OptimKind::kNadam && h[7] != 0) ||
                         (kind == OptimKind::kRadam && h[6] != 0);
  n.sign = T(h[2] != 0 ? -1 : 1);
  n.l2 = T(decoupled ? 0 : h[1]);
  n.shrink = T(decoupled ? 1 - lr * h[1] : 1);
  n.near_start = 1 - h[3] < 0.5;
  n.weight = T(n.near_start ? 1 - h[3] : -h[3]);
  n.rate = T(-lr);
  n.keep = T(h[4]), n.rest = T(1 - h[4]), n.eps = T(h[5]);  // as Adam and its kin have them
  switch (kind) {
    case OptimKind::kSgd:
      n.option = h[3] != 0, n.other_option = h[5] != 0;
      n.a = T(h[3]);
      n.rest = T(t == 1 ? 1 : 1 - h[4]), n.keep = T(t == 1 ? 0 : h[3]);
      break;
    case OptimKind::kAdagrad:
      n.rate = T(-lr / (1 + (t - 1) * h[3])), n.eps = T(h[4]);
      break;
    case OptimKind::kRmsprop:
      n.keep = T(h[3]), n.rest = T(1 - h[3]), n.eps = T(h[4]), n.a = T(h[5]);
      n.option = h[5] != 0, n.other_option = h[6] != 0;
      break;
    case OptimKind::kAdam:
    case OptimKind::kAdamw:
      n.rate = T(-lr / (1 - pow(h[3], t)));
      n.a = T(1 / sqrt(1 - pow(h[4], t)));
      n.option = h[6] != 0;
      break;
    case OptimKind::kAdadelta:
      n.keep = T(h[3]), n.rest = T(1 - h[3]), n.eps = T(h[4]);
      break;
    case OptimKind::kAdamax:
      n.rate = T(-lr / (1 - pow(h[3], t)));
      break;
    case OptimKind::kNadam: {
      const double mu = nadam_mu(h, t), next = nadam_mu(h, t + 1);
      n.rate = T(-lr * (1 - mu) / (1 - progress[1]));
      n.a = T(-lr * next / (1 - progress[1] * next));
      n.b = T(1 / (1 - pow(h[4], t)));
      break;
    }
    case OptimKind::kRadam: {
      const double decayed = pow(h[4], t), longest = 2 / (1 - h[4]) - 1;
      const double rho = longest - 2 * t * decayed / (1 - decayed);
      double rate = -lr / (1 - pow(h[3], t));
      n.option = rho > 5;
      if (n.option) {
        rate *= sqrt((1 - decayed) * (rho - 4) * (rho - 2) * longest /
                     ((longest - 4) * (longest - 2) * rho));
      }
      n.rate = T(rate);
      break;
    }
    case OptimKind::kLion:
      n.rate = T(lr), n.a = T(h[3]), n.b = T(1 - h[3]);
      break;
  }
  return n;
}

// One element: w, g and the states at s[0][i], s[1][i], s[2][i].
template <class T>
__device__ void optim_update(OptimKind kind, const OptimNumbers<T>& n, T& w, T g, T* const* s,
                             int64_t i) {
  const auto average = [&](T& m) { m = fma(n.weight, g - m, n.near_start ? m : g); };
  const auto square = [&](T& v, T x) { v = fma(n.keep, v, n.rest * x * x); };
  g = fma(n.l2, w, g * n.sign);
  w = w * n.shrink;
  switch (kind) {
    case OptimKind::kSgd:
      if (n.option) {
        T& v = s[0][i];
        v = fma(n.keep, v, n.rest * g);
        g = n.other_option ? fma(n.a, v, g) : v;
      }
      w = fma(n.rate, g, w);
      break;
    case OptimKind::kAdagrad: {
      T& v = s[0][i];
      v = fma(g, g, v);
      w = fma(n.rate, g / (sqrt(v) + n.eps), w);
      break;
    }
    case OptimKind::kRmsprop: {
      square(s[0][i], g);
      T variance = s[0][i];
      if (n.other_option) {
        average(s[2][i]);
        variance = fma(-s[2][i], s[2][i], variance);
      }
      T d = g / (sqrt(variance) + n.eps);
      if (n.option) d = s[1][i] = fma(n.a, s[1][i], d);
      w = fma(n.rate, d, w);
      break;
    }
    case OptimKind::kAdam:
    case OptimKind::kAdamw: {
      average(s[0][i]);
      square(s[1][i], g);
      T v = s[1][i];
      if (n.option) v = s[2][i] = v > s[2][i] || v != v ? v : s[2][i];
      w = fma(n.rate, s[0][i] / fma(sqrt(v), n.a, n.eps), w);
      break;
    }
    case OptimKind::kAdadelta: {
      square(s[0][i], g);
      const T d = sqrt(s[1][i] + n.eps) / sqrt(s[0][i] + n.eps) * g;
      square(s[1][i], d);
      w = fma(n.rate, d, w);
      break;
    }
    case OptimKind::kAdamax: {
      average(s[0][i]);
      const T old = n.keep * s[1][i], now = fabs(g) + n.eps;
      s[1][i] = old > now || old != old ? old : now;
      w = fma(n.rate, s[0][i] / s[1][i], w);
      break;
    }
    case OptimKind::kNadam: {
      average(s[0][i]);
      square(s[1][i], g);
      const T scale = sqrt(s[1][i] * n.b) + n.eps;
      w = fma(n.rate, g / scale, w);
      w = fma(n.a, s[0][i] / scale, w);
      break;
    }
    case OptimKind::kRadam: {
      average(s[0][i]);
      square(s[1][i], g);
      w = fma(n.rate, n.option ? s[0][i] / (sqrt(s[1][i]) + n.eps) : s[0][i], w);
      break;
    }
    case OptimKind::kLion: {
      T& m = s[0][i];
      const T update = fma(n.a, m, n.b * g);
      w -= update > 0 ? n.rate : update < 0 ? -n.rate : update;  // 0 and NaN pass through
      m = fma(n.keep, m, n.rest * g);
      break;
    }
  }
}

}  // namespace hl::cuda
