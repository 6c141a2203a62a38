// What happens before the kernels of attention on tensor cores: which of them takes a call, and its
// arrays rounded for it.
//
// The arrays are float32 of any strides. A first launch rounds them, once, into rows of kWidth numbers
// of the factors' type, zero behind D, T and the keys that there are. Each tile is read by many blocks:
// they then read half the bytes or fewer, by cp.async, in whole tiles without a bound to check.
#pragma once

#include "cuda/round.h"
#include "cuda/scratch.h"
#include "ops/attention/flash.cuh"

namespace hl::cuda {

constexpr int64_t kFlashPad = 128;  // rows of a head: a multiple of every tile

// One array on its way: (N, T, heads, D) by strides to (N, heads, rows, kWidth).
struct FlashArray {
  const float* from;
  int64_t stride[3];  // of n, t, h
  int64_t heads, T, D, rows;
  const int64_t* lengths;  // of the rows that are there; null: T
  uint32_t* to;
};
struct FlashArrays {
  FlashArray array[4];
};

template <class Type, int kWidth>
__global__ void __launch_bounds__(kThreads) flash_round(FlashArrays all, int64_t N) {
  using Tile = FlashTile<Type, kWidth>;
  const FlashArray& x = all.array[blockIdx.y];
  const int64_t chunks = N * x.heads * x.rows * Tile::kChunks;
  const bool fours =
      (uintptr_t(x.from) % 16 | x.stride[0] % 4 | x.stride[1] % 4 | x.stride[2] % 4) == 0;
  const int64_t step = int64_t(gridDim.x) * kThreads;
  for (int64_t c = int64_t(blockIdx.x) * kThreads + threadIdx.x; c < chunks; c += step) {
    int64_t head = c / Tile::kChunks;
    const int64_t d = c % Tile::kChunks * kChunkNumbers<Type>, t = split(head, x.rows);
    const int64_t h = split(head, x.heads), n = head;
    const float* from = x.from + n * x.stride[0] + t * x.stride[1] + h * x.stride[2] + d;
    const int64_t left = t < (x.lengths ? x.lengths[n] : x.T) ? x.D - d : 0;
    *reinterpret_cast<Chunk*>(x.to + c * kChunkWords) = round_chunk<Type>(from, left, fours);
  }
}

inline int flash_rows(int64_t T) { return int(ceil_div(T, kFlashPad) * kFlashPad); }

// The rounded arrays of a call; dy null: forward, which has no row terms either.
template <class Type, int kWidth>
class FlashInputs {
 public:
  FlashInputs(const Ctx& ctx, const AttentionShape& s, const Terms<float>& terms, const float* q,
              const float* k, const float* v, const float* dy)
      : call_{s,       terms,   nullptr,          nullptr,         nullptr,
              nullptr, nullptr, flash_rows(s.Tq), flash_rows(s.Tk)},
        queries_(s.N * s.H * call_.q_rows),
        keys_(s.N * s.Hk * call_.k_rows),
        scratch_(ctx, bytes(dy != nullptr)) {
    const int64_t dy_stride[3] = {s.Tq * s.H * s.Dv, s.H * s.Dv, s.Dv};
    FlashArrays all = {};
    call_.q = put(all.array[0], q, s.q, s.H, s.Tq, s.D, call_.q_rows, nullptr);
    call_.k = put(all.array[1], k, s.k, s.Hk, s.Tk, s.D, call_.k_rows, terms.lengths);
    call_.v = put(all.array[2], v, s.v, s.Hk, s.Tk, s.Dv, call_.k_rows, terms.lengths);
    if (dy) {
      call_.dy = put(all.array[3], dy, dy_stride, s.H, s.Tq, s.Dv, call_.q_rows, nullptr);
      rows_ = scratch_.template take<RowTerms>(queries_);
      call_.row = rows_;
    }
    if (!there()) return;
    const int64_t chunks = (queries_ > keys_ ? queries_ : keys_) * Tile::kChunks;
    HL_LAUNCH((flash_round<Type, kWidth>),
              dim3(grid_of(ceil_div(chunks, int64_t(kThreads))), dy ? 4 : 3), kThreads, 0,
              ctx.stream, all, s.N);
  }
  bool there() const { return call_.v != nullptr; }  // false: no memory, which has been noted
  const FlashCall& call() const { return call_; }
  RowTerms* rows() const { return rows_; }
  int64_t query_rows() const { return queries_; }

 private:
  using Tile = FlashTile<Type, kWidth>;
  FlashCall call_;
  int64_t queries_, keys_;
  RowTerms* rows_ = nullptr;
  Scratch scratch_;

  int64_t bytes(bool backward) const {
    const int64_t of_queries = aligned(queries_ * Tile::kWords * 4);
    const int64_t of_keys = aligned(keys_ * Tile::kWords * 4);
    const int64_t of_rows = aligned(queries_ * int64_t(sizeof(RowTerms)));
    return 2 * of_keys + (backward ? 2 * of_queries + of_rows : of_queries);
  }
  const uint32_t* put(FlashArray& x, const float* from, const int64_t* stride, int64_t heads,
                      int64_t T, int64_t D, int64_t rows, const int64_t* lengths) {
    uint32_t* to = scratch_.template take<uint32_t>(call_.s.N * heads * rows * Tile::kWords);
    x = {from, {stride[0], stride[1], stride[2]}, heads, T, D, rows, lengths, to};
    return to;
  }
};

// Whether a call is one for tensor cores.
inline bool flash_takes(const Ctx& ctx, const AttentionShape& s) {
  constexpr int64_t kMost = int64_t(1) << 28;  // places fit 32 bits, their differences too
  const int64_t widest = s.D > s.Dv ? s.D : s.Dv;
  return ctx.precision != Precision::kFull && card().major >= 8 && s.N > 0 && s.H > 0 && s.D > 0 &&
         s.Dv > 0 && widest <= 128 && s.Tq > 0 && s.Tq < kMost && s.Tk > 0 && s.Tk < kMost;
}

// What a kernel is compiled for.
template <class T, int width, bool terms>
struct FlashKind {
  using Type = T;
  static constexpr int kWidth = width;
  static constexpr bool kTerms = terms;
};
template <class Type, int kWidth, class Use>
void with_terms(const AttentionShape& s, Use use) {
  if (s.terms || s.threshold != 0) {
    use(FlashKind<Type, kWidth, true>());
  } else {
    use(FlashKind<Type, kWidth, false>());
  }
}
template <class Type, class Use>
void with_width(const AttentionShape& s, Use use) {
  const int64_t widest = s.D > s.Dv ? s.D : s.Dv;
  if (widest <= 32) {
    with_terms<Type, 32>(s, use);
  } else if (widest <= 64) {
    with_terms<Type, 64>(s, use);
  } else if (widest <= 96) {
    with_terms<Type, 96>(s, use);
  } else {
    with_terms<Type, 128>(s, use);
  }
}
// use(FlashKind) for a call that flash_takes().
template <class Use>
void with_flash(const Ctx& ctx, const AttentionShape& s, Use use) {
  if (ctx.precision == Precision::kTf32) {
    with_width<Tf32>(s, use);
  } else if (ctx.precision == Precision::kBf16) {
    with_width<Bf16>(s, use);
  } else {
    with_width<F16>(s, use);
  }
}

}  // namespace hl::cuda
