// A handful of queries against many keys, as in decoding with a cache: the work is reading k and v
// once, so they are used where they lie and nothing is packed. Lanes run along a key's numbers for
// the scores and along v's columns for the result.
#pragma once

#include "ops/attention/scores.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kFewRows = 4;
constexpr int kFewVectors =
    kTileRows >= 8 ? 4 : 2;  // of v's columns: with four rows, sums fit the registers

// s[i, c] = alpha sum_d q[i, d] k[c, d] for columns [first, last) and the rest of their vectors.
// q's rows are zero from D to the pitch, a multiple of the lanes. Rows of k after `last` are not
// touched.
template <class T>
void few_scores(const T* q, int64_t q_pitch, int64_t rows, int64_t D, const T* k, int64_t k_rs,
                int64_t first, int64_t last, T alpha, T* s, int64_t pitch) {
  constexpr int L = kLanes<T>;
  for (int64_t c = first / L * L; c < last; c += L) {
    const T* key[L];
    for (int i = 0; i < L; ++i) key[i] = k + min64(c + i, last - 1) * k_rs;
    const int64_t next = min64(L, last - 1 - c) * k_rs;
    for (int i = 0; i < L; ++i) {
      for (int64_t d = 0; d < D; d += 64 / int64_t(sizeof(T)))
        __builtin_prefetch(key[i] + next + d);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const T* left = q + r * q_pitch;
      Vec<T> sum[L] = {};
      int64_t d = 0;
      for (; d + L <= D; d += L) {
        const Vec<T> x = load(left + d);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) sum[i] = fma(load(key[i] + d), x, sum[i]);
      }
      if (d < D) {
        const Vec<T> x = load(left + d);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) sum[i] = fma(load_n(key[i] + d, D - d), x, sum[i]);
      }
      transpose<T>(sum);
#pragma GCC unroll 8
      for (int step = L / 2; step > 0; step /= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < step; ++i) sum[i] += sum[i + step];
      }
      store(s + r * pitch + c, sum[0] * alpha);
    }
  }
}

template <class T, int R, bool Whole>
HL_INLINE void few_columns(const T* p, int64_t pitch, const T* v, int64_t v_rs, int64_t keys,
                           int64_t columns, bool add, T* o, int64_t o_pitch) {
  constexpr int L = kLanes<T>, W = kFewVectors;
  auto get = [columns](const T* at, int w) __attribute__((always_inline)) {
    if constexpr (Whole) return load(at + w * L);
    const int64_t n = columns - w * L;
    return n <= 0 ? zero<T>() : load_n(at + w * L, n < L ? n : L);
  };
  Vec<T> sum[R][W];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) sum[r][w] = add ? load(o + r * o_pitch + w * L) : zero<T>();
  }
  for (int64_t j = 0; j < keys; ++j, v += v_rs) {
    Vec<T> x[W];
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) {
      __builtin_prefetch(v + 12 * v_rs + w * L);
      x[w] = get(v, w);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vec<T> weight = set1(p[r * pitch + j]);
#pragma GCC unroll 4
      for (int w = 0; w < W; ++w) sum[r][w] = fma(weight, x[w], sum[r][w]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < W; ++w) store(o + r * o_pitch + w * L, sum[r][w]);
  }
}

template <class T, int R>
void few_rows(const T* p, int64_t pitch, const T* v, int64_t v_rs, int64_t keys, int64_t Dv,
              bool add, T* o, int64_t o_pitch) {
  constexpr int64_t wide = kFewVectors * kLanes<T>;
  for (int64_t c = 0; c < Dv; c += wide) {
    if (Dv - c >= wide) {
      few_columns<T, R, true>(p, pitch, v + c, v_rs, keys, wide, add, o + c, o_pitch);
    } else {
      few_columns<T, R, false>(p, pitch, v + c, v_rs, keys, Dv - c, add, o + c, o_pitch);
    }
  }
}

// o[i, :] (+)= sum over keys of p[i, key] v[key, :]; o's pitch is a multiple of kFewVectors
// vectors.
template <class T>
void few_values(const T* p, int64_t pitch, int64_t rows, const T* v, int64_t v_rs, int64_t keys,
                int64_t Dv, bool add, T* o, int64_t o_pitch) {
  const auto body = rows == 1   ? &few_rows<T, 1>
                    : rows == 2 ? &few_rows<T, 2>
                    : rows == 3 ? &few_rows<T, 3>
                                : &few_rows<T, 4>;
  body(p, pitch, v, v_rs, keys, Dv, add, o, o_pitch);
}

}  // namespace hl::cpu::HL_ISA
