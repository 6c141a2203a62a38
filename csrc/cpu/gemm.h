// Blocked matrix product around the register tile (after Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", ACM TOMS 34(3), 2008).
//
//   for each block of KC steps of k
//     pack   the block's panels of A and of B, in parallel          (skipped for direct operands)
//     multiply groups of row panels by groups of column panels, in parallel
//
// A group of B (256 columns in float32) stays in the second-level cache while the row panels, one at
// a time in the first level, run over it. Where A has few rows, B is used too seldom to be worth a
// trip to memory and back: each task then packs and multiplies columns of its own (gemm_narrow). All
// block sizes follow from the shape, never from the machine or the thread count, so the order of
// every sum is fixed.
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
  bool narrow;            // few rows: each task packs columns of its own
  int64_t a_bytes, b_bytes, c_bytes;
};

// n cut into equal parts of at most `most`, each a multiple of `unit`.
constexpr int64_t even_part(int64_t n, int64_t most, int64_t unit) {
  if (n <= most) return max64(n, 1);
  return round_up(ceil_div(n, ceil_div(n, most)), unit);
}

// A has at most four row panels and is small; B is large and wide enough to share out. Sums of a few steps
// are not worth packing B for.
template <class T>
constexpr bool is_narrow(int64_t M, int64_t N, int64_t K) {
  constexpr int64_t size = sizeof(T);
  return K >= 8 && M <= 4 * kTileRows && M * K * size <= (8 << 20) && K * N * size >= (1 << 18) &&
         N >= 8 * kTileColumns<T>;
}

template <class T>
GemmCut narrow_cut(int64_t M, int64_t N, int64_t K, bool a_direct, bool b_along_k) {
  constexpr int64_t size = sizeof(T);
  GemmCut g = {};
  g.M = g.mb = M, g.N = g.nb = N, g.K = K;
  g.splits = 1;
  g.narrow = true;
  g.mr = even_part(M, kTileRows, 1);
  g.nr = kTileColumns<T>;
  g.rows = ceil_div(M, g.mr);
  // Half a megabyte, in the runs that memory likes best: 2 KB along k, or 4 KB along the columns.
  g.kc = even_part(K, (b_along_k ? 2048 : 512) / size, 8);
  g.columns = max64(1, min64((b_along_k ? 1024 : 4096) / size, N / 4) / g.nr);
  if (!a_direct) g.a_bytes = round_up((g.rows * g.mr * round_up(K, g.kc) + kLanes<T>)*size, 64);
  g.b_bytes = g.columns * g.nr * g.kc * size;
  return g;
}

// Few numbers in C and a long sum, as in the gradient of a layer's weights over many rows: the sum is what
// there is to share out, and both sides are read once.
template <class T>
constexpr bool is_long(int64_t M, int64_t N, int64_t K) {
  const bool few_tiles = ceil_div(M, kTileRows) * ceil_div(N, kTileColumns<T>) < 8;
  if (few_tiles) return K >= 8192 / int64_t(sizeof(T));
  return M * N * int64_t(sizeof(T)) <= (128 << 10) && K >= 32 * max64(M, N);
}

template <class T>
GemmCut gemm_cut(int64_t M, int64_t N, int64_t K, bool a_direct, bool b_direct) {
  constexpr int64_t size = sizeof(T);
  GemmCut g = {};
  g.M = M, g.N = N, g.K = K;
  g.mr = even_part(M, kTileRows, 1);
  g.nr = kTileColumns<T>;
  // A row panel of AVX-512 is then at most 28 KB, in float64 43 KB, a column panel 64 KB and 48 KB. C goes
  // through the caches once a block.
  g.kc = even_part(K, size == 8 ? 384 : 512, 8);
  g.mb = even_part(M, 4096, g.mr);
  g.nb = even_part(N, 8192 / size, g.nr);
  const int64_t row_panels = ceil_div(g.mb, g.mr), column_panels = ceil_div(g.nb, g.nr);
  g.columns = min64(column_panels, max64(1, 256 / g.nr));
  // A task's first row panel waits for its columns to arrive in the second-level cache, so tasks are
  // tall: up to 32 row panels, as long as there are eight of them to share out.
  g.rows = max64(1, min64(32, row_panels * ceil_div(column_panels, g.columns) / 16));
  g.rows = ceil_div(row_panels, ceil_div(row_panels, g.rows));
  g.splits = 1;
  if (is_long<T>(M, N, K)) {
    // A quarter of a megabyte of both sides stays in the second-level cache from tile to tile.
    g.kc = even_part(K, max64(64, min64(2048, (256 << 10) / (M + N)) / size), 8);
    g.splits = max64(1, min64(16, K / (2 * g.kc)));
  }
  if (!a_direct) g.a_bytes = round_up((row_panels * g.mr * g.kc + kLanes<T>)*size, 64);
  if (!b_direct) g.b_bytes = round_up(column_panels * g.nr * g.kc * size, 64);
  if (g.splits > 1) g.c_bytes = g.splits * M * N * size;
  return g;
}

inline int64_t gemm_shared_bytes(const GemmCut& g) {
  if (g.narrow) return g.a_bytes;
  return g.splits > 1 ? g.c_bytes : g.a_bytes + g.b_bytes;
}
inline int64_t gemm_worker_bytes(const GemmCut& g) {
  if (g.narrow) return g.b_bytes;
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

// Asks for part `part` of `parts` of what is multiplied next and read where it is: `count` runs of n
// numbers, `step` apart. They come from afar, in runs too short for the hardware to foresee, while the
// present numbers are multiplied.
template <class T>
HL_INLINE void ask_for(const T* p, int64_t count, int64_t step, int64_t n, int64_t part,
                       int64_t parts) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t r = count * part / parts; r < count * (part + 1) / parts; ++r) {
    for (int64_t i = 0; i < n; i += line) __builtin_prefetch(p + r * step + i, 0, 2);
  }
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
      if (a.ks == 1 && i + 1 < i1) {
        ask_for(a.p + (i + 1) * a.panel, min64(g.mr, g.M - row - g.mr), a.rs, kc, j - j0, j1 - j0);
      }
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
        const int64_t next = block + 1 < end ? min64(g.kc, g.K - k0 - kc) : 0;
        const int64_t tiles = row_panels * column_panels;
        for (int64_t t = 0; t < tiles; ++t) {
          const int64_t i = t / column_panels, j = t % column_panels;
          if (ar.p != ap && ar.rs == 1) ask_for(ar.p + kc * ar.ks, next, ar.ks, g.M, t, tiles);
          if (br.p != bp && br.rs == 1) ask_for(br.p + kc * br.ks, next, br.ks, g.N, t, tiles);
          gemm_task(g, ar, br, kc, mine, T(block > first), 0, 0, i, i + 1, j, j + 1, nullptr);
        }
      }
    }
  });
  parallel_for(ctx, g.M, max64(1, (1 << 14) / (g.N * g.splits)), [&](int64_t r0, int64_t r1, int) {
    const int64_t begin = r0 * g.N, end = r1 * g.N;
    for (int64_t step = 1; step < g.splits; step *= 2) {
      for (int64_t s = 0; s + step < g.splits; s += 2 * step) {
        T* into = partial + s * size;
        const T* from = partial + (s + step) * size;
        for (int64_t i = begin; i < end; i += kLanes<T>) {
          const int64_t n = min64(kLanes<T>, end - i);
          store_n(into + i, load_n(into + i, n) + load_n(from + i, n), n);
        }
      }
    }
    for (int64_t i = r0; i < r1; ++i) {
      for (int64_t j = 0; j < g.N; ++j) {
        T* q = out.c + i * out.rs + j * out.cs;
        T value = out.alpha * partial[i * g.N + j];
        *q = out.beta == T(0) ? value : value + out.beta * *q;
      }
    }
  });
  if (epilogue) epilogue->apply(epilogue->self, 0, g.M, 0, g.N);
}

// Panels [p0, p1) of an operand over kc steps of k, in the order that its memory likes.
template <class T, class M>
HL_INLINE void pack_panels(const M& matrix, T* to, int64_t panel, int64_t width, int64_t line0,
                           int64_t lines, int64_t p0, int64_t p1, int64_t k0, int64_t kc) {
  const int64_t steps = matrix.pack_steps(kc);
  for (int64_t k = 0; k < kc; k += steps) {
    for (int64_t p = p0; p < p1; ++p) {
      const int64_t line = line0 + p * width;
      matrix.pack(to + p * panel + k * width, width, line, min64(width, lines - line), k0 + k,
                  min64(steps, kc - k));
    }
  }
}

// How the packing of one block is shared out: pieces of `panels` panels by `steps` steps of k.
struct PackTasks {
  int64_t panels, steps, rows, count;
};

template <class T, class M>
PackTasks pack_tasks(const M& matrix, int64_t width, int64_t panels, int64_t kc) {
  PackTasks t = {1, kc, 1, panels};
  if (panels > 0 && matrix.pack_steps(kc) < kc) {
    t.panels = max64(1, 4096 / int64_t(sizeof(T)) / width), t.steps = 64;
    t.rows = ceil_div(kc, t.steps), t.count = t.rows * ceil_div(panels, t.panels);
  }
  return t;
}

template <class T, class M>
HL_INLINE void pack_task(const M& matrix, const PackTasks& t, T* to, int64_t panel, int64_t width,
                         int64_t line0, int64_t lines, int64_t task, int64_t panels, int64_t k0,
                         int64_t kc) {
  const int64_t k = task % t.rows * t.steps, p = task / t.rows * t.panels;
  pack_panels(matrix, to + k * width, panel, width, line0, lines, p, min64(panels, p + t.panels),
              k0 + k, min64(t.steps, kc - k));
}

// Few rows: A is packed once, whole; each task packs some columns of B, multiplies them while they
// are in its second-level cache, and goes on along k.
template <class T, class A, class B>
void gemm_narrow(Ctx& ctx, const GemmCut& g, const A& a, const B& b, const Output<T>& out,
                 const Epilogue* epilogue) {
  T* ap = reinterpret_cast<T*>(ctx.shared);
  const int64_t blocks = ceil_div(g.K, g.kc), block_size = g.rows * g.mr * g.kc;
  if (g.a_bytes > 0) {
    const int64_t grain = max64(1, 8192 / max64(1, block_size));
    parallel_for(ctx, blocks, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t block = begin; block < end; ++block) {
        const int64_t k0 = block * g.kc, kc = min64(g.kc, g.K - k0);
        pack_panels(a, ap + block * block_size, g.mr * kc, g.mr, 0, g.M, 0, g.rows, k0, kc);
      }
    });
  }
  const int64_t column_panels = ceil_div(g.N, g.nr);
  parallel_for(ctx, ceil_div(column_panels, g.columns), 1,
               [&](int64_t begin, int64_t end, int worker) {
                 T* bp = worker_scratch<T>(ctx, worker);
                 for (int64_t group = begin; group < end; ++group) {
                   const int64_t n0 = group * g.columns * g.nr;
                   const int64_t panels = min64(g.columns, column_panels - group * g.columns);
                   for (int64_t block = 0; block < blocks; ++block) {
                     const int64_t k0 = block * g.kc, kc = min64(g.kc, g.K - k0);
                     const auto ar = ready<T>(a, ap + block * block_size, g.mr, 0, k0, kc);
                     const Ready<T> br = {bp, g.nr * kc, 1, g.nr};
                     pack_panels(b, bp, br.panel, g.nr, n0, g.N, 0, panels, k0, kc);
                     gemm_task(g, ar, br, kc, out, block == 0 ? out.beta : T(1), 0, n0, 0, g.rows,
                               0, panels, block + 1 == blocks ? epilogue : nullptr);
                   }
                 }
               });
}

// C = alpha * A B + beta * C, then the epilogue. K = 0 counts as a product of zeros.
template <class T, class A, class B>
void gemm(Ctx& ctx, const GemmCut& g, const A& a, const B& b, const Output<T>& out,
          const Epilogue* epilogue = nullptr) {
  if (g.M == 0 || g.N == 0) return;
  if (g.splits > 1) return gemm_split(ctx, g, a, b, out, epilogue);
  if (g.narrow) return gemm_narrow(ctx, g, a, b, out, epilogue);
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
        const PackTasks at = pack_tasks<T>(a, g.mr, pack_a, kc);
        const PackTasks bt = pack_tasks<T>(b, g.nr, pack_b, kc);
        const int64_t grain_a = 8192 / max64(1, g.mr * at.panels * at.steps);
        const int64_t pack_grain = max64(1, grain_a);
        parallel_for(ctx, at.count + bt.count, pack_grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t p = begin; p < end; ++p) {
            if (p < at.count) {
              pack_task(a, at, ap, ar.panel, g.mr, m0, g.M, p, pack_a, k0, kc);
            } else {
              pack_task(b, bt, bp, br.panel, g.nr, n0, g.N, p - at.count, pack_b, k0, kc);
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
