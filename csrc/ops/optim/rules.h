// The update rules, a vector at a time. Each has the number and use of its states, set(hyper,
// progress) for what a tensor's step number decides, and step(w, g, state) for the formula of
// optim.h.
#pragma once

#include "cpu/simd/vec.h"
#include "ops/optim/optim.h"

namespace hl::cpu::HL_ISA {

HL_INLINE double power(double x, double n) { return __builtin_pow(x, n); }

// torch.lerp's two forms: each is exact at the end that it is nearer to.
template <class V>
struct Lerp {
  V weight;
  bool near_start;

  HL_INLINE void set(double w) {
    using T = Elem<V>;
    near_start = w < 0.5;
    weight = set1(near_start ? T(w) : T(-(1 - w)));
  }
  HL_INLINE V operator()(V a, V b) const { return fma(weight, b - a, near_start ? a : b); }
};

// What most rules share: the gradient as it is used. `shrink` is 1 unless the decay is decoupled.
template <class T>
struct Decay {
  Vec<T> sign, l2, shrink;

  HL_INLINE void set(const double* h, bool decoupled) {
    sign = set1(T(h[2] != 0 ? -1 : 1));
    l2 = set1(T(decoupled ? 0 : h[1]));
    shrink = set1(T(decoupled ? 1 - h[0] * h[1] : 1));
  }
  HL_INLINE void apply(Vec<T>& w, Vec<T>& g) const {
    g = fma(l2, w, g * sign);
    w = w * shrink;
  }
};

enum class Momentum { kNone, kPlain, kNesterov };

template <class T, Momentum momentum>
struct Sgd {
  static constexpr int kStates = momentum == Momentum::kNone ? 0 : 1;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  V lr, mu, keep, carry;

  HL_INLINE void set(const double* h, const double* progress) {
    decay.set(h, false);
    const bool first = progress[0] == 1;
    lr = set1(T(-h[0]));
    mu = set1(T(h[3]));
    keep = set1(T(first ? 1 : 1 - h[4]));
    carry = set1(T(first ? 0 : h[3]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    if constexpr (momentum != Momentum::kNone) {
      state[0] = fma(carry, state[0], keep * g);
      g = momentum == Momentum::kNesterov ? fma(mu, state[0], g) : state[0];
    }
    w = fma(lr, g, w);
  }
};

template <class T>
struct Adagrad {
  static constexpr int kStates = 1;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  V rate, eps;

  HL_INLINE void set(const double* h, const double* progress) {
    decay.set(h, false);
    rate = set1(T(-h[0] / (1 + (progress[0] - 1) * h[3])));
    eps = set1(T(h[4]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    state[0] = fma(g, g, state[0]);
    w = fma(rate, g / (sqrt(state[0]) + eps), w);
  }
};

// States: square average, momentum buffer, average of the gradient.
template <class T, bool momentum, bool centered>
struct Rmsprop {
  static constexpr int kStates = centered ? 3 : momentum ? 2 : 1;
  static constexpr bool uses(int k) { return k != 1 || momentum; }
  using V = Vec<T>;
  Decay<T> decay;
  V lr, alpha, rest, eps, mu;
  Lerp<V> average;

  HL_INLINE void set(const double* h, const double*) {
    decay.set(h, false);
    lr = set1(T(-h[0]));
    alpha = set1(T(h[3])), rest = set1(T(1 - h[3]));
    eps = set1(T(h[4])), mu = set1(T(h[5]));
    average.set(1 - h[3]);
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    state[0] = fma(alpha, state[0], rest * g * g);
    V variance = state[0];
    if constexpr (centered) {
      state[2] = average(state[2], g);
      variance = fma(-state[2], state[2], variance);
    }
    V d = g / (sqrt(variance) + eps);
    if constexpr (momentum) d = state[1] = fma(mu, state[1], d);
    w = fma(lr, d, w);
  }
};

// The running moments of Adam and its kin.
template <class T>
struct Moments {
  using V = Vec<T>;
  Lerp<V> first;
  V beta2, rest;

  HL_INLINE void set(const double* h) {
    first.set(1 - h[3]);
    beta2 = set1(T(h[4])), rest = set1(T(1 - h[4]));
  }
  HL_INLINE void apply(V g, V* state) const {
    state[0] = first(state[0], g);
    state[1] = fma(beta2, state[1], rest * g * g);
  }
};

template <class T, bool decoupled, bool amsgrad>
struct Adam {
  static constexpr int kStates = amsgrad ? 3 : 2;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  Moments<T> moments;
  V rate, root, eps;

  HL_INLINE void set(const double* h, const double* progress) {
    decay.set(h, decoupled);
    moments.set(h);
    rate = set1(T(-h[0] / (1 - power(h[3], progress[0]))));
    root = set1(T(1 / __builtin_sqrt(1 - power(h[4], progress[0]))));
    eps = set1(T(h[5]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    moments.apply(g, state);
    V square = state[1];
    if constexpr (amsgrad) square = state[2] = max(state[2], square);
    w = fma(rate, state[0] / fma(sqrt(square), root, eps), w);
  }
};

template <class T>
struct Adadelta {
  static constexpr int kStates = 2;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  V lr, rho, rest, eps;

  HL_INLINE void set(const double* h, const double*) {
    decay.set(h, false);
    lr = set1(T(-h[0]));
    rho = set1(T(h[3])), rest = set1(T(1 - h[3]));
    eps = set1(T(h[4]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    state[0] = fma(rho, state[0], rest * g * g);
    const V d = sqrt(state[1] + eps) / sqrt(state[0] + eps) * g;
    state[1] = fma(rho, state[1], rest * d * d);
    w = fma(lr, d, w);
  }
};

template <class T>
struct Adamax {
  static constexpr int kStates = 2;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  Lerp<V> first;
  V rate, beta2, eps;

  HL_INLINE void set(const double* h, const double* progress) {
    decay.set(h, false);
    first.set(1 - h[3]);
    rate = set1(T(-h[0] / (1 - power(h[3], progress[0]))));
    beta2 = set1(T(h[4])), eps = set1(T(h[5]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    state[0] = first(state[0], g);
    state[1] = max(beta2 * state[1], abs(g) + eps);
    w = fma(rate, state[0] / state[1], w);
  }
};

HL_INLINE double nadam_mu(const double* h, double t) {
  return h[3] * (1 - 0.5 * power(0.96, t * h[6]));
}

template <class T>
struct Nadam {
  static constexpr int kStates = 2;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  Moments<T> moments;
  V of_gradient, of_moment, unbias, eps;

  HL_INLINE void set(const double* h, const double* progress) {
    decay.set(h, h[7] != 0);
    moments.set(h);
    const double mu = nadam_mu(h, progress[0]), next = nadam_mu(h, progress[0] + 1);
    of_gradient = set1(T(-h[0] * (1 - mu) / (1 - progress[1])));
    of_moment = set1(T(-h[0] * next / (1 - progress[1] * next)));
    unbias = set1(T(1 / (1 - power(h[4], progress[0]))));
    eps = set1(T(h[5]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    moments.apply(g, state);
    const V scale = sqrt(state[1] * unbias) + eps;
    w = fma(of_gradient, g / scale, w);
    w = fma(of_moment, state[0] / scale, w);
  }
};

template <class T>
struct Radam {
  static constexpr int kStates = 2;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  Moments<T> moments;
  V rate, eps;
  bool rectified;

  HL_INLINE void set(const double* h, const double* progress) {
    decay.set(h, h[6] != 0);
    moments.set(h);
    const double t = progress[0], decayed = power(h[4], t);
    const double longest = 2 / (1 - h[4]) - 1, rho = longest - 2 * t * decayed / (1 - decayed);
    rectified = rho > 5;
    double r = -h[0] / (1 - power(h[3], t));
    if (rectified) {
      r *= __builtin_sqrt((1 - decayed) * (rho - 4) * (rho - 2) * longest /
                          ((longest - 4) * (longest - 2) * rho));
    }
    rate = set1(T(r));
    eps = set1(T(h[5]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    moments.apply(g, state);
    w = fma(rate, rectified ? state[0] / (sqrt(state[1]) + eps) : state[0], w);
  }
};

template <class T>
struct Lion {
  static constexpr int kStates = 1;
  static constexpr bool uses(int) { return true; }
  using V = Vec<T>;
  Decay<T> decay;
  V lr, beta1, rest1, beta2, rest2;

  HL_INLINE void set(const double* h, const double*) {
    decay.set(h, true);
    lr = set1(T(h[0]));
    beta1 = set1(T(h[3])), rest1 = set1(T(1 - h[3]));
    beta2 = set1(T(h[4])), rest2 = set1(T(1 - h[4]));
  }
  HL_INLINE void step(V& w, V g, V* state) const {
    decay.apply(w, g);
    const V update = fma(beta1, state[0], rest1 * g);
    // Zero and NaN pass through: sign(0) = 0.
    V move = select(update > T(0), lr, update);
    move = select(update < T(0), -lr, move);
    w = w - move;
    state[0] = fma(beta2, state[0], rest2 * g);
  }
};

}  // namespace hl::cpu::HL_ISA
