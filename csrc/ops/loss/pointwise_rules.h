// Each pointwise loss and its derivatives with respect to x and t, on vectors.
#pragma once

#include "cpu/exp_run.h"
#include "ops/loss/loss.h"

namespace hl::cpu::HL_ISA {

// One vector of inputs; pos is 1 without a pos_weight.
template <class V>
struct LossAt {
  V x, t, pos;
};
template <class V>
struct LossSlope {
  V x, t;
};
// p0 and p1 of the shape.
template <class V>
struct LossOptions {
  V p0, p1;
};

template <class V>
HL_INLINE V number(double x) {
  return set1(Elem<V>(x));
}
template <class V>
HL_INLINE V sign_of(V x) {
  return select(x > V{}, number<V>(1), select(x < V{}, number<V>(-1), x));  // 0 and NaN stay
}
template <class V>
HL_INLINE V softplus(V x) {
  return max(x, V{}) + log1p(exp(-abs(x)));
}

struct MseRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>&) {
    return (e.x - e.t) * (e.x - e.t);
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>&) {
    const V d = number<V>(2) * (e.x - e.t);
    return {d, -d};
  }
};

struct L1Rule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>&) {
    return abs(e.x - e.t);
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>&) {
    const V d = sign_of(e.x - e.t);
    return {d, -d};
  }
};

struct SmoothL1Rule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>& o) {
    const V d = abs(e.x - e.t), half = number<V>(0.5);
    return select(d < o.p0, half * d * d / o.p0, d - half * o.p0);
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>& o) {
    const V d = e.x - e.t;
    const V g = select(abs(d) < o.p0, d / o.p0, sign_of(d));
    return {g, -g};
  }
};

struct HuberRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>& o) {
    const V d = abs(e.x - e.t), half = number<V>(0.5);
    return select(d <= o.p0, half * d * d, o.p0 * (d - half * o.p0));
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>& o) {
    const V d = e.x - e.t;
    const V g = select(abs(d) <= o.p0, d, o.p0 * sign_of(d));
    return {g, -g};
  }
};

// PyTorch's bounds: a log no lower than -100, a divisor no smaller than 1e-12.
struct BceRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>&) {
    const V low = number<V>(-100);
    const V yes = max(log(e.x), low), no = max(log1p(-e.x), low);
    return (e.t - number<V>(1)) * no - e.t * yes;
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>&) {
    const V one = number<V>(1), low = number<V>(-100);
    const V below = max((one - e.x) * e.x, number<V>(1e-12));
    return {(e.x - e.t) / below, max(log1p(-e.x), low) - max(log(e.x), low)};
  }
};

struct BceWithLogitsRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>&) {
    const V one = number<V>(1);
    return fma(fma(e.pos - one, e.t, one), softplus(-e.x), (one - e.t) * e.x);
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>&) {
    const V one = number<V>(1);
    const V yes = fma(e.pos - one, e.t, one);
    const V more = select(e.pos == one, V{}, (e.pos - one) * softplus(-e.x));  // 0 inf is no number
    return {(one - e.t) - yes * sigmoid(-e.x), more - e.x};
  }
};

struct KlDivRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>&) {
    return select(e.t == V{}, V{}, e.t * (log(e.t) - e.x));
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>&) {
    return {-e.t, log(e.t) + number<V>(1) - e.x};
  }
};

struct KlDivLogRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>&) {
    return exp(e.t) * (e.t - e.x);
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>&) {
    const V p = exp(e.t);
    return {-p, p * (e.t - e.x + number<V>(1))};
  }
};

struct HingeEmbeddingRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>& o) {
    const V one = number<V>(1);
    const V far = select(e.t != one, max(o.p0 - e.x, V{}), V{});
    return far + select(e.t != -one, e.x, V{});
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>& o) {
    const V one = number<V>(1);
    const V far = select((e.t != one) & (o.p0 - e.x >= V{}), -one, V{});
    return {far + select(e.t != -one, one, V{}), V{}};
  }
};

struct HingeRule {
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>& o) {
    return max(o.p0 - e.t * e.x, V{});
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>& o) {
    const auto inside = o.p0 - e.t * e.x >= V{};
    return {select(inside, -e.t, V{}), select(inside, -e.x, V{})};
  }
};

struct FocalRule {
  template <class V>
  struct Parts {
    V p, miss, ce, power, alpha;  // sigmoid(x), 1 - p_t, cross-entropy, miss^g, a_t
  };
  template <class V>
  static HL_INLINE Parts<V> parts(const LossAt<V>& e, const LossOptions<V>& o) {
    const V one = number<V>(1);
    Parts<V> r;
    r.p = sigmoid(e.x);
    r.miss = fma(r.p, one - e.t, sigmoid(-e.x) * e.t);
    r.ce = softplus(-e.x) + (one - e.t) * e.x;
    r.power = raise(r.miss, o.p1);
    r.alpha = select(o.p0 < V{}, one, fma(o.p0, e.t, (one - o.p0) * (one - e.t)));
    return r;
  }
  template <class V>
  static HL_INLINE V raise(V base, V power) {
    const V one = number<V>(1);
    return select(power == number<V>(2), base * base,
                  select(power == V{}, one, exp(power * log(base))));
  }
  template <class V>
  static HL_INLINE V loss(const LossAt<V>& e, const LossOptions<V>& o) {
    const Parts<V> r = parts(e, o);
    return r.alpha * r.power * r.ce;
  }
  template <class V>
  static HL_INLINE LossSlope<V> slope(const LossAt<V>& e, const LossOptions<V>& o) {
    const V one = number<V>(1), two = number<V>(2);
    const Parts<V> r = parts(e, o);
    // g miss^(g-1) ce, and 0 where g is
    const V bend = select(o.p1 == V{}, V{}, o.p1 * raise(r.miss, o.p1 - one) * r.ce);
    const V dx = r.power * (r.p - e.t) + bend * r.p * sigmoid(-e.x) * (one - two * e.t);
    const V dalpha = select(o.p0 < V{}, V{}, two * o.p0 - one);
    const V dt = bend * (one - two * r.p) - r.power * e.x;
    return {r.alpha * dx, fma(r.alpha, dt, dalpha * r.power * r.ce)};
  }
};

}  // namespace hl::cpu::HL_ISA
