// Exponentials along a run: what softmax and cross-entropy share.
#pragma once

#include "cpu/fold.h"
#include "cpu/simd/math.h"

namespace hl::cpu::HL_ISA {

// f(i, n, load) for each whole vector and the tail of a run: i its start, n its lanes.
template <class T, class F>
HL_INLINE void for_vectors(int64_t n, F f) {
  constexpr int L = kLanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) f(i, int64_t(L));
  if (i < n) f(i, n - i);
}
template <class T>
HL_INLINE Vec<T> load_some(const T* p, int64_t n) {
  return n == kLanes<T> ? load(p) : load_n(p, n);
}
template <class T>
HL_INLINE void store_some(T* p, Vec<T> v, int64_t n) {
  n == kLanes<T> ? store(p, v) : store_n(p, v, n);
}

// Sum of f(i, lanes) over a run. Lanes beyond the run must come out as 0: see first_of.
template <class T, class F>
HL_INLINE double sum_over(int64_t n, F f) {
  constexpr int L = kLanes<T>;
  double total = 0;
  for (int64_t start = 0; start < n; start += kRun<T>) {
    const int64_t stop = least(n, start + kRun<T>);
    Vec<T> s[4] = {};
    int64_t i = start;
    for (; i + 4 * L <= stop; i += 4 * L) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) s[k] += f(i + k * L, int64_t(L));
    }
    for (; i + L <= stop; i += L) s[0] += f(i, int64_t(L));
    if (i < stop) s[1] += f(i, stop - i);
    total += double(hsum((s[0] + s[2]) + (s[1] + s[3])));
  }
  return total;
}

// Sum of exp(x - m).
template <class T>
HL_INLINE double sum_exp(const T* x, int64_t n, T m) {
  const Vec<T> shift = set1(m);
  return sum_over<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    if (lanes == kLanes<T>) return exp(load(x + i) - shift);
    return first_of<T>(exp(load_n(x + i, lanes) - shift), lanes, Vec<T>{});
  });
}

template <class T>
HL_INLINE T log_of(double x) {
  return T(log(set1(x))[0]);
}

}  // namespace hl::cpu::HL_ISA
