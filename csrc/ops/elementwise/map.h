// A lambda over vectors, applied along a row. Loads come before the store, so that y may be an
// input.
#pragma once

#include "cpu/simd/vec.h"
#include "ops/elementwise/rows.h"

namespace hl::cpu::HL_ISA {

template <class V>
HL_INLINE V number(double x) {
  return set1(Elem<V>(x));
}

// y[i] = f(in[i]...)
template <class T, class F, class... In>
HL_INLINE void map_row(T* y, int64_t n, const F& f, const In*... in) {
  constexpr int L = kLanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) store(y + i, f(load(in + i)...));
  if (i < n) store_n(y + i, f(load_n(in + i, n - i)...), n - i);
}

// Op::forward(x, p0, p1) and Op::backward(dy, saved, p0, p1) as rows.
template <class Op, class T>
void forward_row(const T* x, T* y, int64_t n, double p0, double p1) {
  using V = Vec<T>;
  const V a = set1(T(p0)), b = set1(T(p1));
  map_row(y, n, [=](V v) __attribute__((always_inline)) { return Op::forward(v, a, b); }, x);
}
template <class Op, class T>
void backward_row(const T* dy, const T* saved, T* dx, int64_t n, double p0, double p1) {
  using V = Vec<T>;
  const V a = set1(T(p0)), b = set1(T(p1));
  auto f = [=](V d, V s) __attribute__((always_inline)) { return Op::backward(d, s, a, b); };
  map_row(dx, n, f, dy, saved);
}

template <class Op, class T>
UnaryRows<T> rows_of() {
  UnaryRows<T> r = {&forward_row<Op, T>, nullptr};
  if constexpr (requires(Vec<T> v) { Op::backward(v, v, v, v); }) r.backward = &backward_row<Op, T>;
  return r;
}

}  // namespace hl::cpu::HL_ISA
