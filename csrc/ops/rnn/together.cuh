// A recurrent layer's steps in one launch: what forward and backward share.
//
// The blocks stay on the card for all steps of a chunk. Each owns some hidden units and keeps the rows of
// the recurrent weights that these need in its shared memory. In a step it multiplies them by what all
// blocks told in the step before (h, or the gradients of the gates), which comes from the second-level
// cache; does what is left to do for its own units; tells the result and waits for the others.
#pragma once

#include "cuda/kernel.h"
#include "cuda/unary.h"
#include "ops/rnn/chunks.cuh"
#include "ops/rnn/resident.cuh"

namespace hl::cuda {

constexpr int kMostTiles = 4;  // of 8 kN sequences that a block goes through in a step

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

// Whether a call may be one for a single launch: together_grid() says whether it is.
inline bool together_takes(const RnnShape& s) {
  const bool plain = !s.peephole && !s.projects && !s.layer_norm && s.zoneout == Zoneout::kNone &&
                     !(s.drop > 0) && s.cell != RnnCell::kGruBefore;
  if (!plain || s.N <= 0 || s.steps <= 1 || s.H >= 1 << 20) return false;
  // No card runs more than 8 such blocks on a multiprocessor, of up to 16 units: where that cannot be
  // enough, no scratch is asked for.
  const Card c = card();
  const int64_t most = 8 * c.multiprocessors, sequences = 16 * kMostTiles;
  return c.major >= 8 && ceil_div(s.N, sequences) * ceil_div(s.H, int64_t(16)) <= most;
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
