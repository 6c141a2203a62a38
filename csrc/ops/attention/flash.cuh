// Attention on tensor cores: the parts that forward and backward are made of.
//
// Every product here has one of two forms. A block owns some rows of one side (queries, or keys) and
// streams tiles of the other by:
//
//   dots   x = own tile^T     scores and their gradients: both sides lie along d in shared memory
//   add    sum += x other     what comes of them: x goes from the registers that hold it, as an
//                             accumulator of the first product, straight into the second as a factor
//
// so probabilities never see memory, shared or not. Queries own in forward and for dq, keys for dk and
// dv; there the scores are made transposed, and nothing else differs.
#pragma once

#include "cuda/loop.h"
#include "cuda/mma_tile.h"
#include "ops/attention/tile.cuh"

namespace hl::cuda {

constexpr int kFlashThreads = 128, kFlashRows = 16;  // a warp owns kDown times that many rows
constexpr float kLog2E = 0x1.715476p+0f, kLn2 = 0x1.62e43p-1f;

// A tile in shared memory: rows of kWidth numbers in chunks of 16 bytes, which change places by the
// row's number so that 8 neighbouring rows have the same chunk in 8 different banks (mma_tile.h).
template <class Type, int kWidth>
struct FlashTile {
  static constexpr int kWords = kWidth / Words<Type>::kEach, kChunks = kWords / kChunkWords;

  static __device__ __forceinline__ int place(int row, int chunk) {
    const int turn = kChunks % 8 == 0 ? row % 8 : row / 2 % 4;
    return row * kWords + (chunk ^ turn) * kChunkWords;
  }
  template <int kRows>
  static __device__ __forceinline__ void copy(uint32_t* tile, const uint32_t* from) {
#pragma unroll
    for (int c = int(threadIdx.x); c < kRows * kChunks; c += kFlashThreads) {
      cp_async16(tile + place(c / kChunks, c % kChunks), from + c * kChunkWords);
    }
  }
};

// The first of a thread's rows of a tile of sums; its others are 8 apart. Columns: 2 (lane % 4).
template <int kDown>
__device__ __forceinline__ int flash_row() {
  return int(threadIdx.x) / kWarp * kFlashRows * kDown + lane() / 4;
}

// Over the 4 lanes that have a row.
template <class Op>
__device__ __forceinline__ float quad_reduce(float v, Op op) {
  v = op(v, shuffle_xor(v, 1));
  return op(v, shuffle_xor(v, 2));
}

// x = the block's own rows by those of a tile.
template <class Type, int kWidth, int kDown, int kCount>
__device__ __forceinline__ void flash_dots(const uint32_t* own, const uint32_t* tile,
                                           float (&x)[kDown][kCount][4]) {
  using Tile = FlashTile<Type, kWidth>;
  const int l = anew(lane()), first = int(threadIdx.x) / kWarp * kFlashRows * kDown;
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
#pragma unroll
    for (int j = 0; j < kCount; ++j) x[i][j][0] = x[i][j][1] = x[i][j][2] = x[i][j][3] = 0;
  }
#pragma unroll
  for (int step = 0; step < Tile::kWords / 8; ++step) {
    uint32_t a[kDown][4], b[4];
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
      ldmatrix_x4(a[i], own + Tile::place(first + 16 * i + l % 16, 2 * step + l / 16));
    }
#pragma unroll
    for (int j = 0; j < kCount; j += 2) {
      ldmatrix_x4(b, tile + Tile::place(8 * j + l / 16 * 8 + l % 8, 2 * step + l / 8 % 2));
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        Words<Type>::mma(x[i][j], a[i], b);
        Words<Type>::mma(x[i][j + 1], a[i], b + 2);
      }
    }
  }
}

// sum += x by the rows of a tile.
template <class Type, int kWidth, int kDown, int kCount>
__device__ __forceinline__ void flash_add(const float (&x)[kDown][kCount][4], const uint32_t* tile,
                                          float (&sum)[kDown][kWidth / 8][4]) {
  using Tile = FlashTile<Type, kWidth>;
  const int l = lane();
  if constexpr (Words<Type>::kEach == 2) {
    // Lane 4 g + t has columns 2t and 2t + 1 of a group of 8, which is word t of a factor's row.
#pragma unroll
    for (int k = 0; k < kCount; k += 2) {
      uint32_t a[kDown][4], b[4];
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        a[i][0] = Words<Type>::make(&x[i][k][0]), a[i][1] = Words<Type>::make(&x[i][k][2]);
        a[i][2] = Words<Type>::make(&x[i][k + 1][0]), a[i][3] = Words<Type>::make(&x[i][k + 1][2]);
      }
#pragma unroll
      for (int d = 0; d < kWidth / 8; d += 2) {
        ldmatrix_x4_trans(b, tile + Tile::place(8 * k + l / 8 % 2 * 8 + l % 8, d + l / 16));
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
          Words<Type>::mma(sum[i][d], a[i], b);
          Words<Type>::mma(sum[i][d + 1], a[i], b + 2);
        }
      }
    }
  } else {
    // Words t and t + 4 of a factor's row: let these be columns 2t and 2t + 1. A sum does not mind in
    // which order its terms come, if both factors have the same.
    const int g = l / 4, t = l % 4;
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      uint32_t a[kDown][4], b[2];
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        a[i][0] = Words<Type>::make(&x[i][k][0]), a[i][1] = Words<Type>::make(&x[i][k][2]);
        a[i][2] = Words<Type>::make(&x[i][k][1]), a[i][3] = Words<Type>::make(&x[i][k][3]);
      }
#pragma unroll
      for (int d = 0; d < kWidth / 8; ++d) {
        b[0] = tile[Tile::place(8 * k + 2 * t, 2 * d + g / 4) + g % 4];
        b[1] = tile[Tile::place(8 * k + 2 * t + 1, 2 * d + g / 4) + g % 4];
#pragma unroll
        for (int i = 0; i < kDown; ++i) Words<Type>::mma(sum[i][d], a[i], b);
      }
    }
  }
}

// ---- a call ----------------------------------------------------------------------------------------
// What a row of softmax hands to its gradient: log2 of the sum of 2^x, or infinity where there is
// nothing, so that 2^(x - that) is 0; and delta.
struct alignas(8) RowTerms {
  float log_sum, delta;
};

struct FlashCall {
  AttentionShape s;
  Terms<float> terms;
  const uint32_t *q, *k, *v, *dy;  // rounded: (N, heads, q_rows or k_rows, kWidth)
  const RowTerms* row;             // (N, H, q_rows)
  int q_rows, k_rows;
};

// Rows [begin, end) in steps; begin is the first row of a step.
struct Steps {
  int begin, end;

  __device__ Steps(int first, int last, int size) {
    begin = (first < 0 ? 0 : first) / size * size;
    end = last > first && last > begin ? last : begin;
  }
};

// Query i sees key j if low <= j - i <= high and j < keys.
struct Sight {
  int low, high, keys;

  __device__ Sight(const FlashCall& c, int64_t n) {
    const int64_t at = c.terms.starts ? c.terms.starts[n] : c.s.shift;
    low = near(at - c.s.left), high = near(at + c.s.right);
    keys = int(c.terms.lengths ? c.terms.lengths[n] : c.s.Tk);
  }
  static __device__ int near(int64_t n) {  // farther than any key is as good as that
    constexpr int64_t kFar = int64_t(1) << 29;
    return int(n < -kFar ? -kFar : n > kFar ? kFar : n);
  }
  __device__ bool sees(int i, int j) const { return j - i >= low && j - i <= high && j < keys; }
  __device__ bool sees_all(int i0, int queries, int j0, int count) const {
    return j0 - (i0 + queries - 1) >= low && j0 + count - 1 - i0 <= high && j0 + count <= keys;
  }
  // Keys that some of `count` queries from i0 on see, and queries that see some of the keys.
  __device__ Steps keys_of(int i0, int count, int queries, int size) const {
    const int last = i0 + count < queries ? i0 + count - 1 : queries - 1, end = last + high + 1;
    return {i0 + low, end < keys ? end : keys, size};
  }
  __device__ Steps queries_of(int j0, int count, int queries, int size) const {
    const int last = j0 + count < keys ? j0 + count - 1 : keys - 1, end = last - low + 1;
    return {j0 - high, j0 >= keys ? 0 : end < queries ? end : queries, size};
  }
};

// The indices of a thread's element e of fragment (a, b) of a tile, from its own first row on.
struct Spot {
  int i, j;
};
template <bool kKeysOwn>
__device__ __forceinline__ Spot spot(int i0, int j0, int row, int a, int b, int e) {
  const int down = row + 16 * a + e / 2 * 8, across = 8 * b + lane() % 4 * 2 + e % 2;
  return kKeysOwn ? Spot{i0 + across, j0 + down} : Spot{i0 + down, j0 + across};
}

// Dots to what softmax takes the powers of 2 of; -inf where a query does not see a key. Without kTerms
// there is neither mask, bias, slopes nor dropout.
template <bool kKeysOwn, bool kTerms, int kDown, int kCount>
__device__ __forceinline__ void flash_scores(const FlashCall& c, const Sight& sight, int64_t n,
                                             int64_t h, int i0, int j0,
                                             float (&x)[kDown][kCount][4]) {
  constexpr int kOwn = 4 * kFlashRows * kDown, kOther = 8 * kCount;
  const float scale = float(c.s.scale) * kLog2E;
  const bool all =
      !kTerms && sight.sees_all(i0, kKeysOwn ? kOther : kOwn, j0, kKeysOwn ? kOwn : kOther);
  const int row = anew(flash_row<kDown>());
  const unsigned char* mask =
      c.terms.mask ? c.terms.mask + n * c.s.mask[0] + h * c.s.mask[1] : nullptr;
  const float* bias = c.terms.bias ? c.terms.bias + n * c.s.bias[0] + h * c.s.bias[1] : nullptr;
#pragma unroll
  for (int a = 0; a < kDown; ++a) {
#pragma unroll
    for (int b = 0; b < kCount; ++b) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& v = x[a][b][e];
        v *= scale;
        if (all) continue;
        const Spot at = spot<kKeysOwn>(i0, j0, row, a, b, e);
        bool seen = sight.sees(at.i, at.j);
        if (kTerms && seen && at.i < c.s.Tq) {
          if (mask) seen = mask[at.i * c.s.mask[2] + at.j * c.s.mask[3]] != 0;
          float more = bias ? bias[at.i * c.s.bias[2] + at.j * c.s.bias[3]] : 0.0f;
          if (c.terms.slopes) {
            const int64_t here = at.i + (c.terms.starts ? c.terms.starts[n] : c.s.shift);
            more -= c.terms.slopes[n * c.s.slope[0] + h * c.s.slope[1]] * fabsf(float(at.j - here));
          }
          v += more * kLog2E;
        }
        if (!seen) v = -INFINITY;
      }
    }
  }
}

// What dropout keeps of a thread's part of a tile: a bit for x[a][b][e], counted up in this order.
template <bool kKeysOwn, int kDown, int kCount>
__device__ __forceinline__ uint64_t flash_kept(const FlashCall& c, int64_t n, int64_t h, int i0,
                                               int j0) {
  if (c.s.threshold == 0) return ~uint64_t(0);
  const int row = flash_row<kDown>();
  uint64_t bits = 0;
#pragma unroll 1
  for (int m = 0; m < kDown * kCount * 4; ++m) {
    const Spot at = spot<kKeysOwn>(i0, j0, row, m / (4 * kCount), m / 4 % kCount, m % 4);
    const int64_t word = ((n * c.s.H + h) * c.s.Tq + at.i) * c.s.Tk + at.j;
    bits |= uint64_t(philox_word(c.terms.draw, uint64_t(word)) >= c.s.threshold) << m;
  }
  return bits;
}
// The factor for bit number m of these.
__device__ __forceinline__ float flash_factor(const FlashCall& c, uint64_t bits, int m) {
  return c.s.threshold == 0 ? 1.0f : bits >> m & 1 ? float(c.s.keep) : 0.0f;
}

// Rows of sums, each times its factor, to a result of `rows` rows of `columns`, `stride` apart.
template <int kDown, int kCount>
__device__ __forceinline__ void flash_store(const float (&sum)[kDown][kCount][4],
                                            const float (&factor)[kDown][2], int64_t rows,
                                            int columns, int64_t stride, float* to) {
  const bool pairs = (uintptr_t(to) % 8 | stride % 2 | columns % 2) == 0;
  const int row = flash_row<kDown>(), col = lane() % 4 * 2;
#pragma unroll
  for (int a = 0; a < kDown; ++a) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + 16 * a + 8 * half;
      if (r >= rows) continue;
      float* line = to + r * stride;
#pragma unroll
      for (int b = 0; b < kCount; ++b) {
        const int d = 8 * b + col;
        const float first = sum[a][b][2 * half] * factor[a][half];
        const float second = sum[a][b][2 * half + 1] * factor[a][half];
        if (pairs) {
          if (d < columns) *reinterpret_cast<Pair*>(line + d) = {first, second};
        } else {
          if (d < columns) line[d] = first;
          if (d + 1 < columns) line[d + 1] = second;
        }
      }
    }
  }
}

}  // namespace hl::cuda
