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
  int64_t n;      // columns of C that exist, 1 .. NV*L
  T alpha, beta;  // C = alpha * product + beta * C; beta = 0 never reads C
  // The sum may run over several stretches of K steps, each somewhere else: that is how a convolution
  // reads its image in place.
  int64_t stretches = 1;
  int64_t a_step = 0, b_step = 0;  // from one to the next, unless
  const int64_t* a_at = nullptr;   // A or B has places of its own
  const int64_t* b_at = nullptr;
  const T* start = nullptr;  // what the sums of each column start from: n numbers, or zeros
};

template <class T>
using TileFn = void (*)(const Tile<T>&);

// Tiles of every height up to kTileRows and width up to kTileVectors: M is cut into panels of nearly
// equal height, so that 16 rows are two tiles of 8 and not one of 14 and one of 2. They are compiled
// once, in ops/matmul/tiles.cpp.
template <class T>
TileFn<T> tile(int64_t rows, int64_t vectors);
template <>
TileFn<float> tile<float>(int64_t rows, int64_t vectors);
template <>
TileFn<double> tile<double>(int64_t rows, int64_t vectors);

}  // namespace hl::cpu::HL_ISA
