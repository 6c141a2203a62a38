// One block's step of a product on tensor cores: two tiles in shared memory, multiplied by 8 warps.
//
// A tile has kRows rows (rows of A, columns of B) of 64 bytes, which run along k: 32 numbers of 16 bits
// or 16 of TF32. All types share the code below, for it moves words of 4 and chunks of 16 bytes.
//
// Where a chunk lies. Shared memory has 32 banks of 4 bytes, so 8 chunks at a time are read or written
// in one go if they fall on different eighths of 128 bytes, and two rows fill 128 bytes. ldmatrix reads
// the same chunk c of 8 neighbouring rows: lying plainly, rows 0, 2, 4, 6 would meet in one eighth.
// Chunk c of row r lies at place c ^ (r / 2 % 4) of its row instead: for the four pairs of rows these are
// four different places, and the two rows of a pair are in different halves. The same holds for 8
// threads that write a chunk each of 8 neighbouring rows, and for 32 that write two whole rows.
#pragma once

#include "cuda/mma.h"

namespace hl::cuda {

constexpr int kRowWords = 16, kChunkWords = 4;
struct alignas(16) Chunk {
  uint32_t word[kChunkWords];
};
struct alignas(8) Pair {
  float first, second;
};

// Words from the start of a tile to chunk number `chunk` of a row.
__device__ __forceinline__ int swizzled(int row, int chunk) {
  return row * kRowWords + (chunk ^ (row / 2 % 4)) * kChunkWords;
}

// What a type is to the tile: how many numbers a word has, how they are made, who multiplies them.
template <class Type>
struct Words;
template <>
struct Words<Bf16> {
  static constexpr int kEach = 2;
  static __device__ uint32_t make(const float* v) { return pack_bf16(v[0], v[1]); }
  static __device__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
    mma_bf16(d, a, b);
  }
};
template <>
struct Words<F16> {
  static constexpr int kEach = 2;
  static __device__ uint32_t make(const float* v) { return pack_f16(v[0], v[1]); }
  static __device__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
    mma_f16(d, a, b);
  }
};
template <>
struct Words<Tf32> {
  static constexpr int kEach = 1;
  static __device__ uint32_t make(const float* v) { return to_tf32(v[0]).bits; }
  static __device__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
    mma_tf32(d, a, b);
  }
};

template <class Type>
constexpr int kTileDepth = kRowWords * Words<Type>::kEach;

// The sums of a tile of C of kRows x kColumns: the warps stand 2 x 4, each has kRows / 2 x kColumns / 4
// of it.
template <class Type, int kRows, int kColumns = kRows>
struct TileSums {
  static constexpr int kDown = kRows / 2 / 16, kAcross = kColumns / 4 / 8;
  float sum[kDown][kAcross][4] = {};

  static __device__ int first_row() { return int(threadIdx.x) / kWarp / 4 * (kRows / 2); }
  static __device__ int first_column() { return int(threadIdx.x) / kWarp % 4 * (kColumns / 4); }

  // += the product of two tiles.
  __device__ void add(const uint32_t* a, const uint32_t* b) {
    const int l = lane(), i0 = first_row(), j0 = first_column();
#pragma unroll
    for (int step = 0; step < 2; ++step) {  // 8 words of k each
      uint32_t x[kDown][4], y[kAcross / 2][4];
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        ldmatrix_x4(x[i], a + swizzled(i0 + 16 * i + l % 16, 2 * step + l / 16));
      }
#pragma unroll
      for (int j = 0; j < kAcross / 2; ++j) {  // two fragments of 8 columns at once
        ldmatrix_x4(y[j], b + swizzled(j0 + 16 * j + l / 16 * 8 + l % 8, 2 * step + l / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
          Words<Type>::mma(sum[i][j], x[i], &y[j / 2][j % 2 * 2]);
        }
      }
    }
  }

  // use(i, j, sum) for every element of the tile, each once, neighbouring threads at neighbouring j.
  // The sums go through shared memory, half a tile at a time: kRows * kColumns / 2 floats at
  // `room`, where nothing else may be needed any more. A row's groups of 8 change places by its number,
  // as otherwise the four rows that 16 lanes write at once would meet in the same banks.
  template <class Use>
  __device__ void each(float* room, Use use) const {
    constexpr int kHalf = kRows / 2;
    const auto place = [](int i, int j) { return i * kColumns + (j ^ (i % 4 * 8)); };
    const int i0 = lane() / 4, j0 = first_column() + lane() % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      __syncthreads();
      if (first_row() == half * kHalf) {
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
#pragma unroll
          for (int j = 0; j < kAcross; ++j) {
#pragma unroll
            for (int e = 0; e < 4; e += 2) {  // rows g and g + 8
              float* to = room + place(i0 + 16 * i + 4 * e, j0 + 8 * j);
              *reinterpret_cast<Pair*>(to) = {sum[i][j][e], sum[i][j][e + 1]};
            }
          }
        }
      }
      __syncthreads();
#pragma unroll 1
      for (int e = int(threadIdx.x); e < kHalf * kColumns; e += kThreads) {
        use(half * kHalf + e / kColumns, e % kColumns, room[place(e / kColumns, e % kColumns)]);
      }
    }
  }
};

}  // namespace hl::cuda
