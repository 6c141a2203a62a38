// Products with at most sixteen rows: each number of the large matrix is used so few times that only
// reading it matters, so both kernels stream it once, front to back, and never pack it.
//
//   C[s, n] = alpha * sum_k X[s, k] W[n, k] + beta * C[s, n]      s < S, n < N
//
//   dot   W is contiguous along k: eight lines of W at a time against one to four rows of X
//   axpy  W is contiguous along n: eight steps of k at a time are added to a strip of sums
//
// Long sums are cut into pieces of k (a function of K alone) whose results are added in order.
#pragma once

#include "cpu/gemm.h"

namespace hl::cpu::HL_ISA {

struct GemvCut {
  int64_t S, N, K;
  int64_t kc, pieces;  // steps of k per piece
  int64_t nc;          // lines per task
};

constexpr int64_t kDotRows = 4;    // most rows of X for dot
constexpr int64_t kAxpyRows = 16;  // and for axpy

inline GemvCut gemv_cut(int64_t S, int64_t N, int64_t K, bool dot) {
  GemvCut g = {S, N, K, 0, 0, 0};
  // Few columns leave few tasks, so there long sums are cut finer: 64 Ki numbers a piece where rows are read.
  const int64_t most = dot ? 1 << 13 : max64(64, (1 << 16) / max64(1, N));
  g.kc = even_part(K, N >= 1024 ? 1 << 16 : most, 64);
  g.pieces = max64(1, ceil_div(K, g.kc));
  g.nc = dot ? 64 : even_part(N, 1024, 64);
  return g;
}

template <class T>
int64_t gemv_shared_bytes(const GemvCut& g) {
  return (g.pieces * g.S * g.N + g.S * g.K) * int64_t(sizeof(T)) + 64;
}

// R lines of W against S rows of X, both contiguous along k; sums[s * stride + r].
template <class T, int S, int R>
HL_INLINE void dot_lines(const T* x, int64_t x_rs, const T* w, int64_t w_rs, int64_t K, T* sums,
                         int64_t stride) {
  constexpr int L = kLanes<T>;
  Vec<T> acc[S][R];
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc[s][r] = zero<T>();
  }
  int64_t k = 0;
  for (; k + L <= K; k += L) {
    Vec<T> xv[S];
#pragma GCC unroll 4
    for (int s = 0; s < S; ++s) xv[s] = load(x + s * x_rs + k);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      Vec<T> wv = load(w + r * w_rs + k);
#pragma GCC unroll 4
      for (int s = 0; s < S; ++s) acc[s][r] = fma(wv, xv[s], acc[s][r]);
    }
  }
  if (k < K) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      Vec<T> wv = load_n(w + r * w_rs + k, K - k);
#pragma GCC unroll 4
      for (int s = 0; s < S; ++s) acc[s][r] = fma(wv, load_n(x + s * x_rs + k, K - k), acc[s][r]);
    }
  }
#pragma GCC unroll 4
  for (int s = 0; s < S; ++s) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sums[s * stride + r] = hsum(acc[s][r]);
  }
}

template <class T, int S>
void dot_block(const T* x, int64_t x_rs, const T* w, int64_t w_rs, int64_t lines, int64_t K,
               T* sums, int64_t stride) {
  constexpr int R = S == 1 ? 8 : S == 2 ? 4 : 2;
  int64_t n = 0;
  for (; n + R <= lines; n += R) {
    dot_lines<T, S, R>(x, x_rs, w + n * w_rs, w_rs, K, sums + n, stride);
  }
  for (; n < lines; ++n) dot_lines<T, S, 1>(x, x_rs, w + n * w_rs, w_rs, K, sums + n, stride);
}

// sums[0:n] += sum over k of x[k * x_ks] * w[k * w_ks + 0:n]
template <class T>
HL_INLINE void axpy_rows(const T* x, int64_t x_ks, const T* w, int64_t w_ks, int64_t K, int64_t n,
                         T* sums) {
  constexpr int L = kLanes<T>, U = 8;
  Vec<T> xv[U];
#pragma GCC unroll 8
  for (int u = 0; u < U; ++u) xv[u] = set1(u < K ? x[u * x_ks] : T(0));
  if (K >= U) {
    int64_t j = 0;
    for (; j + L <= n; j += L) {
      Vec<T> y = load(sums + j);
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) y = fma(xv[u], load(w + u * w_ks + j), y);
      store(sums + j, y);
    }
    if (j < n) {
      Vec<T> y = load_n(sums + j, n - j);
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) y = fma(xv[u], load_n(w + u * w_ks + j, n - j), y);
      store_n(sums + j, y, n - j);
    }
    return;
  }
  for (int64_t u = 0; u < K; ++u) {
    const Vec<T> xu = set1(x[u * x_ks]);
    for (int64_t j = 0; j < n; j += L) {
      const int64_t m = min64(L, n - j);
      store_n(sums + j, fma(xu, load_n(w + u * w_ks + j, m), load_n(sums + j, m)), m);
    }
  }
}

// x (S, K) with strides x_rs, x_ks; W's line n starts at w + n * w_rs, its step k at w + k * w_ks.
// One copy for all callers of a file.
template <class T>
__attribute__((noinline)) void gemv(Ctx& ctx, const GemvCut& g, bool dot, const T* x, int64_t x_rs,
                                    int64_t x_ks, const T* w, int64_t w_rs, int64_t w_ks,
                                    const Output<T>& out, const Epilogue* epilogue = nullptr) {
  if (g.S == 0 || g.N == 0) return;
  T* partial = reinterpret_cast<T*>(ctx.shared);
  // Lines [n0, n0 + n) of the result, whose pieces are all there.
  const auto finish = [&](int64_t n0, int64_t n) {
    for (int64_t s = 0; s < g.S; ++s) {
      T* sums = partial + s * g.N + n0;
      for (int64_t piece = 1; piece < g.pieces; ++piece) {
        const T* more = sums + piece * g.S * g.N;
        for (int64_t i = 0; i < n; ++i) sums[i] += more[i];
      }
      T* to = out.c + s * out.rs + n0 * out.cs;
      for (int64_t i = 0; i < n; ++i) {
        T* q = to + i * out.cs;
        *q = out.beta == T(0) ? out.alpha * sums[i] : out.alpha * sums[i] + out.beta * *q;
      }
    }
    if (epilogue) epilogue->apply(epilogue->self, 0, g.S, n0, n);
  };
  T* rows = partial + g.pieces * g.S * g.N;
  if (dot && x_ks != 1) {
    for (int64_t s = 0; s < g.S; ++s) {
      for (int64_t k = 0; k < g.K; ++k) rows[s * g.K + k] = x[s * x_rs + k * x_ks];
    }
    x = rows, x_rs = g.K, x_ks = 1;
  }
  const int64_t strips = ceil_div(g.N, g.nc);
  const int64_t grain = max64(1, (1 << 16) / max64(1, g.nc * g.kc));
  parallel_for(ctx, strips * g.pieces, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n0 = task % strips * g.nc, n = min64(g.nc, g.N - n0);
      const int64_t piece = task / strips, k0 = piece * g.kc, kc = min64(g.kc, g.K - k0);
      T* sums = partial + piece * g.S * g.N + n0;
      const T* from = w + n0 * w_rs + k0 * w_ks;
      if (dot) {
        const T* xp = x + k0;
        switch (g.S) {
          case 1:
            dot_block<T, 1>(xp, x_rs, from, w_rs, n, kc, sums, g.N);
            break;
          case 2:
            dot_block<T, 2>(xp, x_rs, from, w_rs, n, kc, sums, g.N);
            break;
          case 3:
            dot_block<T, 3>(xp, x_rs, from, w_rs, n, kc, sums, g.N);
            break;
          default:
            dot_block<T, 4>(xp, x_rs, from, w_rs, n, kc, sums, g.N);
            break;
        }
      } else {
        for (int64_t s = 0; s < g.S; ++s) {
          for (int64_t j = 0; j < n; ++j) sums[s * g.N + j] = T(0);
        }
        for (int64_t k = 0; k < kc;
             k += 8) {  // eight rows of W serve every row of X from the cache
          for (int64_t s = 0; s < g.S; ++s) {
            axpy_rows(x + s * x_rs + (k0 + k) * x_ks, x_ks, from + k * w_ks, w_ks, min64(8, kc - k),
                      n, sums + s * g.N);
          }
        }
      }
      if (g.pieces == 1) finish(n0, n);
    }
  });
  if (g.pieces == 1) return;
  const int64_t many = max64(1, (1 << 15) / (g.nc * g.S * g.pieces));
  parallel_for(ctx, strips, many, [&](int64_t begin, int64_t end, int) {
    finish(begin * g.nc, min64(end * g.nc, g.N) - begin * g.nc);
  });
}

}  // namespace hl::cpu::HL_ISA
