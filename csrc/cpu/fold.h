// Sums, products and extremes along a run of numbers: what reductions, softmax and losses fold
// with.
#pragma once

#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

using D = Vec<double>;

// Elements of a run that are folded in T before the result goes on in double: half of the first
// cache.
template <class T>
constexpr int64_t kRun = 16384 / int64_t(sizeof(T));

constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

template <class T>
HL_INLINE Int<Vec<T>> lane_numbers() {
  Int<Vec<T>> v{};
  for (int i = 0; i < kLanes<T>; ++i) v[i] = i;
  return v;
}
// The first n lanes of v, `other` in the rest.
template <class T>
HL_INLINE Vec<T> first_of(Vec<T> v, int64_t n, Vec<T> other) {
  const auto lane = lane_numbers<T>();
  return select(lane < lane[0] + decltype(lane[0] + 0)(n), v, other);
}

template <class T>
constexpr T kInf = T(__builtin_inf());

// A fold is a map of every element and a join of two results.
struct Same {
  template <class V>
  static HL_INLINE V map(V x) {
    return x;
  }
};
struct Magnitude {
  template <class V>
  static HL_INLINE V map(V x) {
    return abs(x);
  }
};
struct Squared {
  template <class V>
  static HL_INLINE V map(V x) {
    return x * x;
  }
};
struct CountNonZero {
  template <class V>
  static HL_INLINE V map(V x) {
    return select(x != V{}, set1(Elem<V>(1)), V{});
  }
};
struct CountZero {
  template <class V>
  static HL_INLINE V map(V x) {
    return select(x == V{}, set1(Elem<V>(1)), V{});
  }
};
struct SkipZero {  // for products
  template <class V>
  static HL_INLINE V map(V x) {
    return select(x != V{}, x, set1(Elem<V>(1)));
  }
};

// Two doubles' sum and its rounding error (Knuth): hi + lo = a + b exactly.
HL_INLINE void two_sum(D a, D b, D& hi, D& lo) {
  hi = a + b;
  const D bb = hi - a;
  lo = (a - (hi - bb)) + (b - bb);
}

struct Add {
  template <class T>
  static constexpr int kParts = sizeof(T) == 8 ? 2 : 1;
  template <class T>
  static constexpr T kNeutral = T(0);
  template <class V>
  static HL_INLINE V join(V a, V b) {
    return a + b;
  }
  template <int K>
  static HL_INLINE void merge(D (&a)[K], const D (&b)[K]) {
    if constexpr (K == 1) {
      a[0] += b[0];
    } else {
      D error;
      const D low = a[1] + b[1];
      two_sum(a[0], b[0], a[0], error);
      a[1] = low + error;
    }
  }
  template <int K>
  static HL_INLINE D total(const D (&p)[K]) {
    if constexpr (K == 1) {
      return p[0];
    } else {  // an infinite sum has NaN for its rounding error
      return select(abs(p[0]) < set1(kInf<double>), p[0] + p[1], p[0]);
    }
  }
};
struct Multiply {
  template <class T>
  static constexpr int kParts = 1;
  template <class T>
  static constexpr T kNeutral = T(1);
  template <class V>
  static HL_INLINE V join(V a, V b) {
    return a * b;
  }
  static HL_INLINE void merge(D (&a)[1], const D (&b)[1]) { a[0] *= b[0]; }
  static HL_INLINE D total(const D (&p)[1]) { return p[0]; }
};
struct Larger {
  template <class T>
  static constexpr int kParts = 1;
  template <class T>
  static constexpr T kNeutral = -kInf<T>;
  template <class V>
  static HL_INLINE V join(V a, V b) {
    return max(a, b);
  }
  static HL_INLINE void merge(D (&a)[1], const D (&b)[1]) { a[0] = max(a[0], b[0]); }
  static HL_INLINE D total(const D (&p)[1]) { return p[0]; }
};
struct Smaller {
  template <class T>
  static constexpr int kParts = 1;
  template <class T>
  static constexpr T kNeutral = kInf<T>;
  template <class V>
  static HL_INLINE V join(V a, V b) {
    return min(a, b);
  }
  static HL_INLINE void merge(D (&a)[1], const D (&b)[1]) { a[0] = min(a[0], b[0]); }
  static HL_INLINE D total(const D (&p)[1]) { return p[0]; }
};

// A run through eight accumulators: enough to hide the latency of an add. They are emptied into one
// total every kShort rounds, so that on no instruction set a sum is a long chain of roundings.
template <class T, class M, class J>
HL_INLINE T fold_run(const T* x, int64_t n) {
  constexpr int L = kLanes<T>;
  constexpr int64_t kShort = 16;
  constexpr int64_t kAhead =
      4096 / int64_t(sizeof(T));  // the next page, which the hardware waits with
  const Vec<T> neutral = set1(J::template kNeutral<T>);
  Vec<T> sum = neutral;
  int64_t i = 0;
  while (i + 8 * L <= n) {
    Vec<T> a[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) a[k] = M::map(load(x + i + k * L));
    i += 8 * L;
    const int64_t stop = least(n, i + (kShort - 1) * 8 * L);
    for (; i + 8 * L <= stop; i += 8 * L) {
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        __builtin_prefetch(x + i + k * L + kAhead);
        a[k] = J::join(a[k], M::map(load(x + i + k * L)));
      }
    }
    for (int k = 0; k < 4; ++k) a[k] = J::join(a[k], a[k + 4]);
    sum = J::join(sum, J::join(J::join(a[0], a[2]), J::join(a[1], a[3])));
  }
  for (; i + L <= n; i += L) sum = J::join(sum, M::map(load(x + i)));
  if (i < n) sum = J::join(sum, first_of<T>(M::map(load_n(x + i, n - i)), n - i, neutral));
  return fold(sum, [](Vec<T> a, Vec<T> b) __attribute__((always_inline)) { return J::join(a, b); });
}

}  // namespace hl::cpu::HL_ISA
