// The one loop that is shaped by the instruction set: a tile of C held in registers.
//
//   C[0:MR, 0:NV*L] (+)= A[0:MR, 0:K] B[0:K, 0:NV*L]        L lanes a vector
//
// Each step of k loads NV vectors of B, broadcasts MR numbers of A and issues MR*NV multiply-adds. On
// AVX-512 that is 28 multiply-adds for 16 loads, so the loop runs at the speed of the multipliers as
// long as B comes from the first two cache levels. The sum over k is one chain per element, in order:
// an element's bits do not depend on where in the tile it sits or on how much of the tile is used.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

template <class T>
struct Tile {
  int64_t K;
  const T* a;          // element (i, k) at a[i * a_rs + k * a_ks]
  int64_t a_rs, a_ks;  // packed panels have a_rs = 1
  const T* b;          // row k at b[k * b_ks], NV*L numbers that may all be read
  int64_t b_ks;
  T* c;  // element (i, j) at c[i * c_rs + j * c_cs]
  int64_t c_rs, c_cs;
  int64_t n;  // columns of C that exist, 1 .. NV*L
  T alpha, beta;  // C = alpha * product + beta * C; beta = 0 never reads C
};

template <class T>
using TileFn = void (*)(const Tile<T>&);

// Any stride between the columns of C: the sums go through memory, number by number.
template <class T>
__attribute__((noinline)) void tile_scatter(const Tile<T>& t, const T* sums, int rows, int width) {
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
  Vec<T> sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) sum[i][v] = zero<T>();
  }
  if (t.c_cs == 1) {  // C arrives while the products are formed
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) __builtin_prefetch(t.c + i * t.c_rs, 1);
  }

  // x86 can add a register times 1, 2, 4 or 8 to a base, so four rows of A share one pointer and none
  // of the fourteen is spilled. Packed and unpacked A then run equally fast.
  const int64_t rs = t.a_rs, rs3 = 3 * t.a_rs, ks = t.a_ks;
  const T* a[(MR + 3) / 4];
#pragma GCC unroll 4
  for (int g = 0; g < (MR + 3) / 4; ++g) a[g] = t.a + 4 * g * rs;
  const T* b = t.b;

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
  const bool whole = t.n == NV * L;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      T* c = t.c + i * t.c_rs + v * L;
      Vec<T> y = sum[i][v] * t.alpha;
      if (whole) {
        if (t.beta != T(0)) y += load(c) * t.beta;
        store(c, y);
      } else if (int64_t n = t.n - v * L; n > 0) {
        if (n > L) n = L;
        if (t.beta != T(0)) y += load_n(c, n) * t.beta;
        store_n(c, y, n);
      }
    }
  }
}

// Tiles of every height up to kTileRows and width up to kTileVectors: M is cut into panels of nearly
// equal height, so that 16 rows are two tiles of 8 and not one of 14 and one of 2.
template <class T>
struct TileTable {
  TileFn<T> fn[kTileRows][kTileVectors];
  template <int... I>
  static constexpr TileTable make(Lanes<I...>) {
    TileTable table{};
    ((table.fn[I / kTileVectors][I % kTileVectors] =
          tile_product<T, I / kTileVectors + 1, I % kTileVectors + 1>),
     ...);
    return table;
  }
};

template <class T>
constexpr TileTable<T> kTiles =
    TileTable<T>::make(typename MakeLanes<kTileRows * kTileVectors>::type{});

}  // namespace hl::cpu::HL_ISA
