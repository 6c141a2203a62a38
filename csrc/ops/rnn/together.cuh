// A recurrent layer's steps in one launch: what forward and backward share.
//
// The blocks stay on the card for all steps of a chunk. Each owns some hidden units and keeps the rows of
// the recurrent weights that these need in its shared memory. In a step it multiplies them by what all
// blocks told in the step before (h, or the gradients of the gates), which comes from the second-level
// cache; does what is left to do for its own units; tells the result and waits for the others.
//
// The product is weights (kRows) by sequences (8 kN), its sum over k shared out among the warps: then
// each number that was told is read by one warp alone and goes from the cache straight into the registers
// where it is multiplied. The 16-byte chunk that lane 4 g + t reads of a row is chunk t of 4; a fragment
// wants words t and t + 4 of 8. A sum does not mind in which order its terms come: words 0 and 1 of a
// chunk are taken as these for one product, words 2 and 3 for the next, in both factors alike.
#pragma once

#include <string.h>

#include "cuda/cooperative.h"
#include "cuda/kernel.h"
#include "cuda/mma_tile.h"
#include "cuda/unary.h"
#include "ops/rnn/chunks.cuh"

namespace hl::cuda {

constexpr int kTogetherWarps = kThreads / kWarp;
constexpr int kMostTiles = 4;  // of 8 kN sequences that a block goes through in a step

// float32 as it is: multiplied by plain threads, in the places where a tensor core's sums would be.
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

// A warp's share of kRows x 8 kN sums.
template <class Type, int kRows, int kN>
struct PartSums {
  static constexpr int kDown = kRows / 16, kAhead = 4;
  // Floats from a sequence to the next: 4 more than 0 modulo 16 spread a fragment over all banks.
  static constexpr int kLine = kRows + 4, kFloats = 8 * kN * kLine;
  float sum[kDown][kN][4] = {};

  static __device__ Chunk chunk(const uint32_t* tile, int row, int at) {
    return *reinterpret_cast<const Chunk*>(tile + swizzled(row, at));
  }

  // `told`: the first sequence's row; `room`: this warp's kFloats.
  __device__ void add(const uint32_t* weights, int tiles, const uint32_t* told, int64_t words,
                      float* room) {
    const int g = lane() / 4, t = lane() % 4;
    for (int first = int(threadIdx.x) / kWarp; first < tiles; first += kTogetherWarps * kAhead) {
      uint32_t b[kAhead][kN][4];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int k = first + a * kTogetherWarps;
        if (k >= tiles) break;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          load_l2(b[a][n], told + (8 * n + g) * words + k * kRowWords + t * kChunkWords);
        }
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int k = first + a * kTogetherWarps;
        if (k >= tiles) break;
        multiply(weights + k * kRows * kRowWords, b[a], reinterpret_cast<uint32_t*>(room), Type());
      }
    }
  }

  template <class Any>
  __device__ __forceinline__ void multiply(const uint32_t* tile, const uint32_t (&b)[kN][4],
                                           uint32_t*, Any) {
    const int g = lane() / 4, t = lane() % 4;
#pragma unroll
    for (int m = 0; m < kDown; ++m) {
      const Chunk low = chunk(tile, 16 * m + g, t), high = chunk(tile, 16 * m + 8 + g, t);
#pragma unroll
      for (int step = 0; step < 4; step += 2) {
        const uint32_t a[4] = {low.word[step], high.word[step], low.word[step + 1],
                               high.word[step + 1]};
#pragma unroll
        for (int n = 0; n < kN; ++n) Words<Type>::mma(sum[m][n], a, &b[n][step]);
      }
    }
  }
  // Every lane needs all 16 words of its rows: those that were told go around through `room`.
  __device__ __forceinline__ void multiply(const uint32_t* tile, const uint32_t (&b)[kN][4],
                                           uint32_t* room, Full) {
    const int g = lane() / 4, t = lane() % 4;
    sync_warp();
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      *reinterpret_cast<Chunk*>(room +
                                swizzled(8 * n + g, t)) = {{b[n][0], b[n][1], b[n][2], b[n][3]}};
    }
    sync_warp();
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      Chunk x[kN][2];
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        x[n][0] = chunk(room, 8 * n + 2 * t, c), x[n][1] = chunk(room, 8 * n + 2 * t + 1, c);
      }
#pragma unroll
      for (int m = 0; m < kDown; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const Chunk v = chunk(tile, 16 * m + 8 * half + g, c);
#pragma unroll
          for (int n = 0; n < kN; ++n) {
#pragma unroll
            for (int e = 0; e < 8; ++e) {
              sum[m][n][2 * half + e / 4] += number(v, e % 4) * number(x[n][e / 4], e % 4);
            }
          }
        }
      }
    }
  }
  static __device__ __forceinline__ float number(const Chunk& chunk, int w) {
    float v;
    memcpy(&v, &chunk.word[w], sizeof v);
    return v;
  }

  __device__ void put(float* room) const {
    const int g = lane() / 4, t = lane() % 4;
    sync_warp();  // the room may still be read by this warp
#pragma unroll
    for (int m = 0; m < kDown; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          room[(8 * n + 2 * t + e % 2) * kLine + 16 * m + 8 * (e / 2) + g] = sum[m][n][e];
        }
      }
    }
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

// ---- a launch --------------------------------------------------------------------------------------
// Shared memory of a block: weights, rooms of the warps, and numbers of each thread's own for every tile.
template <class Type, int rows, int n, int kept>
struct TogetherKind {
  static constexpr int kRows = rows, kN = n, kSequences = 8 * n;
  using Sums = PartSums<Type, rows, n>;
  static int64_t bytes(int tiles) {
    const int64_t words = int64_t(tiles) * rows * kRowWords;
    return 4 * (words + kTogetherWarps * Sums::kFloats + kept * kMostTiles * kThreads);
  }
};

// Blocks: slices of the units by groups of the sequences, which know nothing of each other.
struct TogetherGrid {
  int64_t shared_bytes;
  int slices, groups, tiles_each;  // of a group
  bool fits;
};
template <class Kind, class... Params>
TogetherGrid together_grid(void (*kernel)(Params...), const RnnShape& s, int units, int tiles) {
  TogetherGrid grid = {Kind::bytes(tiles), 0, 0, 0, false};
  const int64_t most = resident_blocks(kernel, kThreads, grid.shared_bytes);
  const int64_t slices = ceil_div(s.H, int64_t(units));
  const int64_t count = ceil_div(s.N, int64_t(Kind::kSequences));
  if (slices > most) return grid;
  const int64_t groups = count < most / slices ? count : most / slices;
  const int64_t each = ceil_div(count, groups);
  // With more to do a step is work enough for launches of its own. The barrier counts to 2^31 at most.
  grid.fits = each <= kMostTiles && s.steps * slices < (int64_t(1) << 30);
  grid.slices = int(slices), grid.tiles_each = int(each), grid.groups = int(ceil_div(count, each));
  return grid;
}

// What of a launch belongs to a block and a thread: a unit, and its sequence in each of some tiles.
template <class Kind, int kUnits>
struct Part {
  int64_t N, H, begin, j;
  int tiles, unit, in_tile;

  __device__ Part(int64_t N, int64_t H, int tiles_each)
      : N(N),
        H(H),
        begin(int64_t(blockIdx.y) * tiles_each * Kind::kSequences),
        unit(int(threadIdx.x) % kUnits),
        in_tile(int(threadIdx.x) / kUnits) {
    j = int64_t(blockIdx.x) * kUnits + unit;
    const int64_t left = ceil_div(N - begin, int64_t(Kind::kSequences));
    tiles = int(left < tiles_each ? left : tiles_each);
  }
  __device__ int64_t first(int tile) const { return begin + tile * Kind::kSequences; }
  __device__ int64_t sequence(int tile) const {  // or N: none
    const int64_t n = first(tile) + in_tile;
    return in_tile < Kind::kSequences && j < H && n < N ? n : N;
  }
};

template <RnnCell kCell>
constexpr int kCellGates = kCell == RnnCell::kLstm  ? 4
                           : kCell == RnnCell::kGru ? 3
                                                    : 1;

constexpr int kCounterWords = 32;  // a counter has 128 bytes for itself

// Words and counters in scratch, behind what the plain way needs: for any precision.
struct Told {
  uint32_t* rows;  // two halves, in turns, of `sequences` rows of `words`
  unsigned* counters;
  int64_t sequences, words;

  static int64_t rows_of(int64_t N) { return ceil_div(N, int64_t(16)) * 16; }
  static int64_t bytes(int64_t N, int64_t numbers) {
    return 4 * (2 * rows_of(N) * told_words<Full>(numbers) + rows_of(N) * kCounterWords);
  }
  Told(unsigned char* memory, int64_t N, int64_t words)
      : rows(reinterpret_cast<uint32_t*>(memory)),
        counters(rows + 2 * rows_of(N) * words),
        sequences(rows_of(N)),
        words(words) {}
  __device__ uint32_t* row(int64_t step, int64_t n) const {
    return rows + ((step & 1) * sequences + n) * words;
  }
  // Of the blocks of this one's group.
  __device__ GridBarrier barrier() const {
    return {counters + blockIdx.y * kCounterWords, gridDim.x};
  }
  // The first half told: `numbers` of each sequence, null for zeros. The rest zero.
  template <class Type>
  void begin(const Ctx& ctx, int64_t N, int64_t numbers, const float* from) const {
    constexpr int kEach = Words<Type>::kEach;
    const Told told = *this;
    each(ctx, 2 * sequences * words + sequences * kCounterWords, [=] __device__(int64_t i) {
      const int64_t n = i / told.words, k = i % told.words * kEach;
      float v[kEach];
      for (int e = 0; e < kEach; ++e) {
        v[e] = from && n < N && k + e < numbers ? from[n * numbers + k + e] : 0.0f;
      }
      told.rows[i] = i < told.sequences * told.words ? Words<Type>::make(v) : 0;
    });
  }
};

inline bool together_takes(const RnnShape& s) {
  const bool plain = !s.peephole && !s.projects && !s.layer_norm && s.zoneout == Zoneout::kNone &&
                     !(s.drop > 0) && s.cell != RnnCell::kGruBefore;
  return plain && s.N > 0 && s.steps > 1 && s.H < (1 << 20) && card().major >= 8;
}

// use(Type()) for the factors' type of a call.
template <class Use>
void with_factors(const Ctx& ctx, Use use) {
  switch (ctx.precision) {
    case Precision::kTf32:
      return use(Tf32());
    case Precision::kBf16:
      return use(Bf16());
    case Precision::kF16:
      return use(F16());
    default:
      return use(Full());
  }
}
// use(cell, kN), both as constants; the plain cells with ReLU and tanh are one.
template <class Use>
void with_cell(const RnnShape& s, Use use) {
  const auto width = [&](auto cell) {
    if (s.N <= 8) {
      use(cell, std::integral_constant<int, 1>());
    } else {
      use(cell, std::integral_constant<int, 2>());
    }
  };
  if (s.cell == RnnCell::kLstm) {
    width(std::integral_constant<RnnCell, RnnCell::kLstm>());
  } else if (s.cell == RnnCell::kGru) {
    width(std::integral_constant<RnnCell, RnnCell::kGru>());
  } else {
    width(std::integral_constant<RnnCell, RnnCell::kTanh>());
  }
}

}  // namespace hl::cuda
