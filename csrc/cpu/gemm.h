// Blocked matrix product around the register tile (after Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", ACM TOMS 34(3), 2008).
//
//   for each block of KC steps of k
//     pack   the block's panels of A and of B, in parallel          (skipped for direct operands)
//     multiply groups of row panels by groups of column panels, in parallel
//
// A group of B (256 columns in float32) stays in the second-level cache while the row panels, one at
// a time in the first level, run over it. All block sizes follow from the shape, never from the
// machine or the thread count, so the order of every sum is fixed.
#pragma once

#include "cpu/gemm_pack.h"
#include "cpu/gemm_tile.h"
#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

template <class T>
constexpr int kTileColumns = kTileVectors * kLanes<T>;

// How one product is cut.
struct GemmCut {
  int64_t M, N, K;
  int64_t mr, nr;         // panel height and width
  int64_t kc;             // steps of k packed at a time
  int64_t mb, nb;         // rows and columns packed at a time
  int64_t rows, columns;  // panels per task
  int64_t splits;         // K is cut into this many partial products (1: none)
  int64_t a_bytes, b_bytes, c_bytes;
};

constexpr int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

// n cut into equal parts of at most `most`, each a multiple of `unit`.
constexpr int64_t even_part(int64_t n, int64_t most, int64_t unit) {
  if (n <= most) return max64(n, 1);
  return round_up(ceil_div(n, ceil_div(n, most)), unit);
}

template <class T>
GemmCut gemm_cut(int64_t M, int64_t N, int64_t K, bool a_direct, bool b_direct) {
  constexpr int64_t size = sizeof(T);
  GemmCut g = {};
  g.M = M, g.N = N, g.K = K;
  g.mr = even_part(M, kTileRows, 1);
  g.nr = kTileColumns<T>;
  // 2 KB along k: a row panel is then at most 28 KB, a column panel of AVX-512 64 KB.
  g.kc = even_part(K, 2048 / size, 8);
  g.mb = even_part(M, 4096, g.mr);
  g.nb = even_part(N, 4096, g.nr);
  const int64_t row_panels = ceil_div(g.mb, g.mr), column_panels = ceil_div(g.nb, g.nr);
  g.columns = min64(column_panels, max64(1, 256 / g.nr));
  // A task's first row panel waits for its columns to arrive in the second-level cache, so tasks are
  // tall: up to 32 row panels, as long as there are eight of them to share out.
  g.rows = max64(1, min64(32, row_panels * ceil_div(column_panels, g.columns) / 8));
  g.rows = ceil_div(row_panels, ceil_div(row_panels, g.rows));
  g.splits = 1;
  if (ceil_div(M, g.mr) * ceil_div(N, g.nr) < 8 && K >= 4 * g.kc) {
    g.splits = min64(32, K / (2 * g.kc));
  }
  if (!a_direct) g.a_bytes = round_up((row_panels * g.mr * g.kc + kLanes<T>)*size, 64);
  if (!b_direct) g.b_bytes = round_up(column_panels * g.nr * g.kc * size, 64);
  if (g.splits > 1) g.c_bytes = g.splits * M * N * size;
  return g;
}

inline int64_t gemm_shared_bytes(const GemmCut& g) {
  return g.splits > 1 ? g.c_bytes : g.a_bytes + g.b_bytes;
}
inline int64_t gemm_worker_bytes(const GemmCut& g) {
  return g.splits > 1 ? g.a_bytes + g.b_bytes : 0;
}

// Where the result goes.
template <class T>
struct Output {
  T* c;
  int64_t rs, cs;
  T alpha, beta;
};

// What is done with a piece of C once it is finished, while it is still in the cache: rows
// [row, row + rows) and columns [column, column + columns) of the product.
struct Epilogue {
  void (*apply)(const void* self, int64_t row, int64_t rows, int64_t column, int64_t columns);
  const void* self;
};

// Panels of one k block, ready for the tile: packed, or a direct view of the matrix.
template <class T>
struct Ready {
  const T* p;
  int64_t panel;  // from one panel to the next
  int64_t rs, ks;
};

template <class T, class M>
HL_INLINE Ready<T> ready(const M& matrix, const T* packed, int64_t width, int64_t line, int64_t k,
                         int64_t kc) {
  if constexpr (requires { matrix.rs; }) {
    if (matrix.direct) {
      return {matrix.p + line * matrix.rs + k * matrix.ks, width * matrix.rs, matrix.rs, matrix.ks};
    }
  }
  return {packed, width * kc, 1, width};
}

// Row panels [i0, i1) by column panels [j0, j1) of one packed block whose first row and column in C
// are m0 and n0.
template <class T>
HL_INLINE void gemm_task(const GemmCut& g, const Ready<T>& a, const Ready<T>& b, int64_t kc,
                         const Output<T>& out, T beta, int64_t m0, int64_t n0, int64_t i0,
                         int64_t i1, int64_t j0, int64_t j1, const Epilogue* epilogue) {
  for (int64_t i = i0; i < i1; ++i) {
    const int64_t row = m0 + i * g.mr, rows = min64(g.mr, g.M - row);
    for (int64_t j = j0; j < j1; ++j) {
      const int64_t col = n0 + j * g.nr, n = min64(g.nr, g.N - col);
      Tile<T> t = {kc,
                   a.p + i * a.panel,
                   a.rs,
                   a.ks,
                   b.p + j * b.panel,
                   b.ks,
                   out.c + row * out.rs + col * out.cs,
                   out.rs,
                   out.cs,
                   n,
                   out.alpha,
                   beta};
      tile<T>(rows, ceil_div(n, kLanes<T>))(t);
    }
  }
  if (epilogue) {
    const int64_t row = m0 + i0 * g.mr, column = n0 + j0 * g.nr;
    epilogue->apply(epilogue->self, row, min64(g.M, m0 + i1 * g.mr) - row, column,
                    min64(g.N, n0 + j1 * g.nr) - column);
  }
}

// Few tiles, many steps of k: each split forms a partial C, and the partials are added in pairs.
template <class T, class A, class B>
void gemm_split(Ctx& ctx, const GemmCut& g, const A& a, const B& b, const Output<T>& out,
                const Epilogue* epilogue) {
  T* partial = reinterpret_cast<T*>(ctx.shared);
  const int64_t size = g.M * g.N;
  const int64_t row_panels = ceil_div(g.M, g.mr), column_panels = ceil_div(g.N, g.nr);
  const int64_t blocks = ceil_div(g.K, g.kc);
  parallel_for(ctx, g.splits, 1, [&](int64_t s0, int64_t s1, int worker) {
    T* ap = worker_scratch<T>(ctx, worker);
    T* bp = ap + g.a_bytes / int64_t(sizeof(T));
    for (int64_t s = s0; s < s1; ++s) {
      Output<T> mine = {partial + s * size, g.N, 1, T(1), T(0)};
      const int64_t first = blocks * s / g.splits, end = blocks * (s + 1) / g.splits;
      for (int64_t block = first; block < end; ++block) {
        const int64_t k0 = block * g.kc, kc = min64(g.kc, g.K - k0);
        auto ar = ready<T>(a, ap, g.mr, 0, k0, kc);
        auto br = ready<T>(b, bp, g.nr, 0, k0, kc);
        for (int64_t i = 0; ar.p == ap && i < row_panels; ++i) {
          a.pack(ap + i * ar.panel, g.mr, i * g.mr, min64(g.mr, g.M - i * g.mr), k0, kc);
        }
        for (int64_t j = 0; br.p == bp && j < column_panels; ++j) {
          b.pack(bp + j * br.panel, g.nr, j * g.nr, min64(g.nr, g.N - j * g.nr), k0, kc);
        }
        gemm_task(g, ar, br, kc, mine, T(block > first), 0, 0, 0, row_panels, 0, column_panels,
                  nullptr);
      }
    }
  });
  for (int64_t step = 1; step < g.splits; step *= 2) {
    for (int64_t s = 0; s + step < g.splits; s += 2 * step) {
      T* into = partial + s * size;
      const T* from = partial + (s + step) * size;
      for (int64_t i = 0; i < size; i += kLanes<T>) {
        const int64_t n = min64(kLanes<T>, size - i);
        store_n(into + i, load_n(into + i, n) + load_n(from + i, n), n);
      }
    }
  }
  for (int64_t i = 0; i < g.M; ++i) {
    for (int64_t j = 0; j < g.N; ++j) {
      T* q = out.c + i * out.rs + j * out.cs;
      T value = out.alpha * partial[i * g.N + j];
      *q = out.beta == T(0) ? value : value + out.beta * *q;
    }
  }
  if (epilogue) epilogue->apply(epilogue->self, 0, g.M, 0, g.N);
}

// C = alpha * A B + beta * C, then the epilogue. K = 0 counts as a product of zeros.
template <class T, class A, class B>
void gemm(Ctx& ctx, const GemmCut& g, const A& a, const B& b, const Output<T>& out,
          const Epilogue* epilogue = nullptr) {
  if (g.M == 0 || g.N == 0) return;
  if (g.splits > 1) return gemm_split(ctx, g, a, b, out, epilogue);
  T* ap = reinterpret_cast<T*>(ctx.shared);
  T* bp = reinterpret_cast<T*>(ctx.shared + g.a_bytes);
  for (int64_t n0 = 0; n0 < g.N; n0 += g.nb) {
    const int64_t column_panels = ceil_div(min64(g.nb, g.N - n0), g.nr);
    for (int64_t k0 = 0; k0 == 0 || k0 < g.K; k0 += g.kc) {
      const int64_t kc = min64(g.kc, g.K - k0);
      const T beta = k0 == 0 ? out.beta : T(1);
      const bool last = k0 + kc >= g.K;
      for (int64_t m0 = 0; m0 < g.M; m0 += g.mb) {
        const int64_t row_panels = ceil_div(min64(g.mb, g.M - m0), g.mr);
        auto ar = ready<T>(a, ap, g.mr, m0, k0, kc);
        auto br = ready<T>(b, bp, g.nr, n0, k0, kc);
        const int64_t pack_a = ar.p == ap ? row_panels : 0;
        const int64_t pack_b = br.p == bp && m0 == 0 ? column_panels : 0;
        // 32 KB of packing, or a quarter of a million multiply-adds, are worth waking a thread for.
        const int64_t pack_grain = max64(1, 8192 / max64(1, g.nr * kc));
        parallel_for(ctx, pack_a + pack_b, pack_grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t p = begin; p < end; ++p) {
            if (p < pack_a) {
              const int64_t line = m0 + p * g.mr;
              a.pack(ap + p * ar.panel, g.mr, line, min64(g.mr, g.M - line), k0, kc);
            } else {
              const int64_t line = n0 + (p - pack_a) * g.nr;
              b.pack(bp + (p - pack_a) * br.panel, g.nr, line, min64(g.nr, g.N - line), k0, kc);
            }
          }
        });
        const int64_t row_tasks = ceil_div(row_panels, g.rows);
        const int64_t column_tasks = ceil_div(column_panels, g.columns);
        const int64_t grain =
            max64(1, (int64_t(1) << 18) / max64(1, g.rows * g.mr * g.columns * g.nr * kc));
        parallel_for(ctx, row_tasks * column_tasks, grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; ++task) {
            const int64_t i = task % row_tasks * g.rows, j = task / row_tasks * g.columns;
            gemm_task(g, ar, br, kc, out, beta, m0, n0, i, min64(i + g.rows, row_panels), j,
                      min64(j + g.columns, column_panels), last ? epilogue : nullptr);
          }
        });
      }
    }
  }
}

}  // namespace hl::cpu::HL_ISA
