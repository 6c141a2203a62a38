// Loops over the units of one sequence, a vector at a time.
#pragma once

#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

#define HL_LAMBDA_INLINE __attribute__((always_inline))

// f(first unit, get, put) for vectors of n units; get and put know how many there are.
template <class T, class F>
HL_INLINE void each_vector(int64_t n, const F& f) {
  constexpr int L = kLanes<T>;
  int64_t j = 0;
  for (; j + L <= n; j += L) {
    f(
        j, [](const T* p) HL_LAMBDA_INLINE { return load(p); },
        [](T* p, Vec<T> v) HL_LAMBDA_INLINE { store(p, v); });
  }
  if (const int64_t m = n - j; m > 0) {
    f(
        j, [m](const T* p) HL_LAMBDA_INLINE { return load_n(p, m); },
        [m](T* p, Vec<T> v) HL_LAMBDA_INLINE { store_n(p, v, m); });
  }
}

// to[0:n] = from[0:n], or zero where there is no from.
template <class T>
void copy_numbers(const T* from, int64_t n, T* to) {
  each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put)
                        HL_LAMBDA_INLINE { put(to + j, from ? get(from + j) : zero<T>()); });
}

}  // namespace hl::cpu::HL_ISA
