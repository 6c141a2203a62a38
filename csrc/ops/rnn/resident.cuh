// The product of a step: weights that stay in a block's shared memory by what all blocks told.
//
// It is kRows rows of weights by 8 kN sequences; its sum over k is shared out among the warps. Then each
// number that was told is read by one warp alone, and on tensor cores goes from the second-level cache
// straight into the registers where it is multiplied. Rows lie in chunks of 16 bytes; lane 4 g + t reads
// chunk t of 4 of row g.
#pragma once

#include <string.h>

#include <type_traits>

#include "cuda/cooperative.h"
#include "cuda/mma_tile.h"

namespace hl::cuda {

constexpr int kTogetherWarps = kThreads / kWarp;

// float32 as it is, multiplied by plain threads.
struct Full {
  uint32_t bits;
};
template <>
struct Words<Full> {
  static constexpr int kEach = 1;
  static __device__ uint32_t make(const float* v) {
    uint32_t word;
    memcpy(&word, v, sizeof word);
    return word;
  }
};

template <class Type>
constexpr int64_t told_words(int64_t numbers) {  // of a row, in whole tiles
  return ceil_div(numbers, int64_t(kTileDepth<Type>)) * kRowWords;
}

// Number k of a row for all blocks.
template <class Type>
__device__ __forceinline__ void tell(uint32_t* row, int64_t k, float v) {
  if constexpr (Words<Type>::kEach == 2) {
    const float pair[2] = {v, 0};
    store_l2(reinterpret_cast<uint16_t*>(row) + k, uint16_t(Words<Type>::make(pair)));
  } else {
    store_l2(row + k, Words<Type>::make(&v));
  }
}

// Weights of kRows rows as tiles of 16 words along k (mma_tile.h), to stay.
template <class Type, int kRows, class Read>
__device__ __forceinline__ void keep_weights(uint32_t* weights, int tiles, Read read) {
  constexpr int kEach = Words<Type>::kEach;
  for (int c = int(threadIdx.x); c < tiles * kRows * 4; c += kThreads) {
    const int chunk = c % 4, row = c / 4 % kRows, tile = c / (4 * kRows);
    Chunk made;
#pragma unroll
    for (int w = 0; w < kChunkWords; ++w) {
      float v[kEach];
#pragma unroll
      for (int e = 0; e < kEach; ++e) {
        v[e] = read(row, (tile * kRowWords + chunk * kChunkWords + w) * kEach + e);
      }
      made.word[w] = Words<Type>::make(v);
    }
    *reinterpret_cast<Chunk*>(weights + tile * kRows * kRowWords + swizzled(row, chunk)) = made;
  }
}

__device__ __forceinline__ Chunk chunk_of(const uint32_t* tile, int row, int chunk) {
  return *reinterpret_cast<const Chunk*>(tile + swizzled(row, chunk));
}

// Sums of a warp, by tensor cores. A fragment wants words t and t + 4 of 8 of a row. A sum does not mind
// in which order its terms come: words 0 and 1 of chunk t are taken as these for one product, words 2 and
// 3 for the next, in both factors alike.
template <class Type, int kRows, int kN>
struct MmaSums {
  static constexpr int kDown = kRows / 16;
  float sum[kDown][kN][4] = {};

  // Of a tile of weights, and of chunk t of rows g, g + 8, ... of what was told.
  __device__ __forceinline__ void multiply(const uint32_t* tile, const uint32_t (&told)[kN][4],
                                           uint32_t*) {
    const int g = lane() / 4, t = lane() % 4;
#pragma unroll
    for (int m = 0; m < kDown; ++m) {
      const Chunk low = chunk_of(tile, 16 * m + g, t), high = chunk_of(tile, 16 * m + 8 + g, t);
#pragma unroll
      for (int step = 0; step < 4; step += 2) {
        const uint32_t a[4] = {low.word[step], high.word[step], low.word[step + 1],
                               high.word[step + 1]};
#pragma unroll
        for (int n = 0; n < kN; ++n) Words<Type>::mma(sum[m][n], a, &told[n][step]);
      }
    }
  }
  // use(row, sequence, sum) for each of the warp's sums, once.
  template <class Use>
  __device__ __forceinline__ void each(Use use) const {
    const int g = lane() / 4, t = lane() % 4;
#pragma unroll
    for (int m = 0; m < kDown; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          use(16 * m + 8 * (e / 2) + g, 8 * n + 2 * t + e % 2, sum[m][n][e]);
        }
      }
    }
  }
};

// In float32. Lane 4 g + t multiplies chunk t alone, and has all sums of every fourth row by every other
// sequence, begun by g: many sums for each chunk that is read, and 8 lanes that read at once find 8
// different banks. What the four lanes of a g have is added up at the end.
template <int kRows, int kN>
struct FmaSums {
  static constexpr int kDown = kRows / 4, kAcross = 4 * kN, kSums = kDown * kAcross;
  float sum[kSums] = {};

  __device__ __forceinline__ void multiply(const uint32_t* tile, const uint32_t (&told)[kN][4],
                                           uint32_t* room) {
    const int g = lane() / 4, t = lane() % 4;
    sync_warp();
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      *reinterpret_cast<Chunk*>(room + swizzled(8 * n + g, t)) = {
          {told[n][0], told[n][1], told[n][2], told[n][3]}};
    }
    sync_warp();
    Chunk x[kAcross];
#pragma unroll
    for (int n = 0; n < kAcross; ++n) x[n] = chunk_of(room, 2 * n + g % 2, t);
#pragma unroll
    for (int m = 0; m < kDown; ++m) {
      const Chunk v = chunk_of(tile, 4 * m + g / 2, t);
#pragma unroll
      for (int n = 0; n < kAcross; ++n) {
#pragma unroll
        for (int w = 0; w < kChunkWords; ++w) {
          sum[m * kAcross + n] += number(v.word[w]) * number(x[n].word[w]);
        }
      }
    }
  }
  static __device__ __forceinline__ float number(const uint32_t& word) {
    float v;
    memcpy(&v, &word, sizeof v);
    return v;
  }

  // A lane adds up a quarter: of each half that it keeps, it gets the other's from the lane beside it.
  template <class Use>
  __device__ __forceinline__ void each(Use use) const {
    const int g = lane() / 4, t = lane() % 4;
    float half[kSums / 2], quarter[kSums / 4];
#pragma unroll
    for (int i = 0; i < kSums / 2; ++i) {
      const float first = sum[i], second = sum[i + kSums / 2];
      half[i] = (t & 1 ? second : first) + shuffle_xor(t & 1 ? first : second, 1);
    }
#pragma unroll
    for (int i = 0; i < kSums / 4; ++i) {
      const float first = half[i], second = half[i + kSums / 4];
      quarter[i] = (t & 2 ? second : first) + shuffle_xor(t & 2 ? first : second, 2);
    }
    const int m = (t & 1) * (kDown / 2) + (t / 2) * (kDown / 4);  // a quarter is whole rows
#pragma unroll
    for (int i = 0; i < kSums / 4; ++i) {
      use(4 * (m + i / kAcross) + g / 2, 2 * (i % kAcross) + g % 2, quarter[i]);
    }
  }
};

// A warp's share of kRows x 8 kN sums, and where it leaves them for the block.
template <class Type, int kRows, int kN>
struct PartSums {
  static constexpr int kAhead = 4;  // tiles of k that are on their way
  // Floats from a sequence to the next: 4 more than 0 modulo 16 spread a fragment over all banks.
  static constexpr int kLine = kRows + 4, kFloats = 8 * kN * kLine;
  std::conditional_t<std::is_same_v<Type, Full>, FmaSums<kRows, kN>, MmaSums<Type, kRows, kN>> sums;

  // `told`: the first sequence's row; `room`: this warp's kFloats.
  __device__ void add(const uint32_t* weights, int tiles, const uint32_t* told, int64_t words,
                      float* room) {
    const int g = lane() / 4, t = lane() % 4;
    for (int first = int(threadIdx.x) / kWarp; first < tiles; first += kTogetherWarps * kAhead) {
      uint32_t ahead[kAhead][kN][4];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int k = first + a * kTogetherWarps;
        if (k >= tiles) break;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          load_l2(ahead[a][n], told + (8 * n + g) * words + k * kRowWords + t * kChunkWords);
        }
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int k = first + a * kTogetherWarps;
        if (k >= tiles) break;
        sums.multiply(weights + k * kRows * kRowWords, ahead[a], reinterpret_cast<uint32_t*>(room));
      }
    }
  }

  __device__ void put(float* room) const {
    sync_warp();  // the room may still be read by this warp
    sums.each([&](int row, int n, float v) { room[n * kLine + row] = v; });
  }
  // All warps' sums of a row and a sequence.
  static __device__ __forceinline__ float total(const float* rooms, int row, int n) {
    float all = 0;
#pragma unroll
    for (int warp = 0; warp < kTogetherWarps; ++warp) {
      all += rooms[warp * kFloats + n * kLine + row];
    }
    return all;
  }
};

}  // namespace hl::cuda
