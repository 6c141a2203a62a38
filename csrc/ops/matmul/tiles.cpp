// The register tile of cpu/gemm_tile.h, in every height and width.
#include "cpu/gemm_tile.h"

namespace hl::cpu::HL_ISA {
namespace {

// C stored by columns (a product that is computed transposed): blocks of the sums are turned in
// registers. Any other stride: number by number. Either way the sums come through memory.
template <class T>
__attribute__((noinline)) void tile_scatter(const Tile<T>& t, const T* sums, int rows, int width) {
  constexpr int L = kLanes<T>;
  if (t.c_rs == 1) {
    for (int64_t j0 = 0; j0 < t.n; j0 += L) {
      for (int i0 = 0; i0 < rows; i0 += L) {
        const int64_t n = rows - i0 < L ? rows - i0 : L;
        Vec<T> block[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
          block[i] = i < n ? load(sums + (i0 + i) * width + j0) : zero<T>();
        }
        transpose<T>(block);
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) {
          if (j0 + j >= t.n) continue;
          T* c = t.c + i0 + (j0 + j) * t.c_cs;
          Vec<T> y = block[j] * t.alpha;
          if (t.beta != T(0)) y += load_n(c, n) * t.beta;
          store_n(c, y, n);
        }
      }
    }
    return;
  }
  for (int64_t j = 0; j < t.n; ++j) {
    for (int i = 0; i < rows; ++i) {
      T* q = t.c + i * t.c_rs + j * t.c_cs;
      T value = t.alpha * sums[i * width + j];
      *q = t.beta == T(0) ? value : value + t.beta * *q;
    }
  }
}

template <class T, int MR, int NV>
__attribute__((noinline)) void tile_product(const Tile<T>& t) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[MR][NV], start[NV];
#pragma GCC unroll 4
  for (int v = 0; v < NV; ++v) {
    const int64_t n = t.n - v * L;
    start[v] = t.start && n > 0 ? load_n(t.start + v * L, n < L ? n : L) : zero<T>();
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sum[i][v] = start[v];
  }
  if (t.c_cs == 1) {  // C arrives while the products are formed
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) __builtin_prefetch(t.c + i * t.c_rs + v * L, 1);
    }
  }

  // x86 can add a register times 1, 2, 4 or 8 to a base, so four rows of A share one pointer and none
  // of the fourteen is spilled. Packed and unpacked A then run equally fast.
  const int64_t rs = t.a_rs, rs3 = 3 * t.a_rs, ks = t.a_ks;
  for (int64_t stretch = 0; stretch < t.stretches; ++stretch) {
    const T* a[(MR + 3) / 4];
#pragma GCC unroll 4
    for (int g = 0; g < (MR + 3) / 4; ++g) {
      a[g] = t.a + 4 * g * rs + (t.a_at ? t.a_at[stretch] : stretch * t.a_step);
    }
    const T* b = t.b + (t.b_at ? t.b_at[stretch] : stretch * t.b_step);

    for (int64_t k = t.K; k > 0; --k) {
      Vec<T> bv[NV];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) bv[v] = load(b + v * L);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        Vec<T> x = set1(a[i / 4][i % 4 == 3 ? rs3 : (i % 4) * rs]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) sum[i][v] = fma(x, bv[v], sum[i][v]);
      }
#pragma GCC unroll 4
      for (int g = 0; g < (MR + 3) / 4; ++g) a[g] += ks;
      b += t.b_ks;
    }
  }

  if (t.c_cs != 1) {
    T sums[MR * NV * L];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) store(sums + (i * NV + v) * L, sum[i][v]);
    }
    tile_scatter(t, sums, MR, NV * L);
    return;
  }
  // What a store could change for all the compiler knows is read before the first one.
  T* const c = t.c;
  const int64_t c_rs = t.c_rs, columns = t.n;
  const T alpha = t.alpha, beta = t.beta;
  const auto each = [&](auto put) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) put(c + i * c_rs + v * L, sum[i][v] * alpha, v);
    }
  };
  if (columns == NV * L && beta == T(0)) {
    each([](T* to, Vec<T> y, int) __attribute__((always_inline)) { store(to, y); });
  } else if (columns == NV * L) {
    each([=](T* to, Vec<T> y, int)
             __attribute__((always_inline)) { store(to, y + load(to) * beta); });
  } else {
    each([=](T* to, Vec<T> y, int v) __attribute__((always_inline)) {
      int64_t n = columns - v * L;
      if (n <= 0) return;
      if (n > L) n = L;
      if (beta != T(0)) y += load_n(to, n) * beta;
      store_n(to, y, n);
    });
  }
}

template <class T>
struct Table {
  TileFn<T> fn[kTileRows][kTileVectors];
};

template <class T, int... I>
constexpr Table<T> table(Lanes<I...>) {
  Table<T> t = {};
  ((t.fn[I / kTileVectors][I % kTileVectors] =
        tile_product<T, I / kTileVectors + 1, I % kTileVectors + 1>),
   ...);
  return t;
}

template <class T>
constexpr Table<T> all_tiles() {
  return table<T>(typename MakeLanes<kTileRows * kTileVectors>::type{});
}

constinit const Table<float> f32 = all_tiles<float>();
constinit const Table<double> f64 = all_tiles<double>();

}  // namespace

template <>
TileFn<float> tile<float>(int64_t rows, int64_t vectors) {
  return f32.fn[rows - 1][vectors - 1];
}
template <>
TileFn<double> tile<double>(int64_t rows, int64_t vectors) {
  return f64.fn[rows - 1][vectors - 1];
}

}  // namespace hl::cpu::HL_ISA
