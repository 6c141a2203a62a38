// How recurrent networks go through their steps on a GPU: a product and a few functions of elements a
// step, over all sequences; those that have ended are passed over on the card, so that the host need
// not know their lengths. What does not wait for the step before is one product for a chunk of steps,
// whose rows are (t - t0) N + n. Plain cells are variants without extras.
#pragma once

#include "cuda/philox.h"
#include "cuda/sums.h"
#include "ops/rnn/rnn.h"

namespace hl::cuda {

// Of what is kept for a chunk. In the emulator so few that tests come to a second one.
#ifdef HL_EMULATOR
constexpr int64_t kChunkBytes = int64_t(32) << 10;
#else
constexpr int64_t kChunkBytes = int64_t(64) << 20;
#endif

inline int64_t product_gates(RnnCell cell) {  // G
  return cell == RnnCell::kLstm ? 4 : cell == RnnCell::kGru || cell == RnnCell::kGruBefore ? 3 : 1;
}

// Scratch, from the front.
struct Taker {
  unsigned char* at;
  int64_t used;
  template <class T>
  T* take(int64_t n) {
    T* p = reinterpret_cast<T*>(at + used);
    used += ceil_div(n * int64_t(sizeof(T)), int64_t(16)) * 16;
    return p;
  }
};

// Steps of a chunk of rows of `numbers`.
inline int64_t chunk_of(const RnnShape& s, int64_t numbers, int64_t size) {
  const int64_t step = s.N * numbers * size, fits = kChunkBytes / (step > 0 ? step : 1);
  const int64_t most = s.steps > 0 ? s.steps : 1;
  return fits < 1 ? 1 : fits < most ? fits : most;
}

// Where step t of sequence n is.
struct Walk {
  RnnShape s;
  Draw draw;
  const int64_t *lengths, *first, *rank;

  __device__ int64_t length(int64_t n) const { return lengths ? lengths[n] : s.T; }
  __device__ bool live(int64_t n, int64_t t) const { return t < length(n); }
  // In x and y, in steps.
  __device__ int64_t place(int64_t n, int64_t t) const {
    return n * s.T + (s.reverse ? length(n) - 1 - t : t);
  }
  // In what is saved.
  __device__ int64_t row(int64_t n, int64_t t) const {
    return lengths ? first[t] + rank[n] : t * s.N + n;
  }
  // h before the step.
  template <class T>
  __device__ T h_before(const T* y, const T* h0, int64_t n, int64_t t, int64_t p) const {
    if (t > 0) return y[place(n, t - 1) * s.P + p];
    return h0 ? h0[n * s.P + p] : T(0);
  }
  __device__ Draw drawn(int which) const {
    return {draw.seed, draw.call + uint64_t(which), draw.moved};
  }
  // The share of the old h (c) that a step keeps, by zoneout.
  template <class T>
  __device__ T kept_of_h(int64_t n, int64_t t, int64_t p) const {
    if (s.zoneout != Zoneout::kDraw) return T(s.zoneout == Zoneout::kNone ? 0 : s.zone_h);
    return philox_word(drawn(1), place(n, t) * s.P + p) < s.zone_h_below ? T(1) : T(0);
  }
  template <class T>
  __device__ T kept_of_c(int64_t n, int64_t t, int64_t j) const {
    if (s.zoneout != Zoneout::kDraw) return T(s.zoneout == Zoneout::kNone ? 0 : s.zone_c);
    return philox_word(drawn(2), place(n, t) * s.H + j) < s.zone_c_below ? T(1) : T(0);
  }
};

// What is saved lies by steps, within a step the longer sequences first.
inline Walk make_walk(const Ctx& ctx, const RnnShape& s, const int64_t* lengths, Taker& scratch) {
  int64_t *first = scratch.take<int64_t>(s.T + 1), *rank = scratch.take<int64_t>(s.N);
  if (lengths && ctx.shared) {
    each(ctx, s.T, [=] __device__(int64_t t) {
      int64_t before = 0;
      for (int64_t n = 0; n < s.N; ++n) before += lengths[n] < t ? lengths[n] : t;
      first[t] = before;
    });
    each(ctx, s.N, [=] __device__(int64_t n) {
      int64_t longer = 0;
      for (int64_t m = 0; m < s.N; ++m) {
        longer += lengths[m] > lengths[n] || (lengths[m] == lengths[n] && m < n);
      }
      rank[n] = longer;
    });
  }
  // Its random numbers are three calls, and a graph counts each.
  const Draw draw = draw_of(s.seed, s.call);
  draw_of(s.seed, s.call + 1), draw_of(s.seed, s.call + 2);
  return {s, draw, lengths, first, rank};
}

// What w_hh sees of each number of h: (N, P), or null without dropout.
template <class T>
const T* make_mask(const Ctx& ctx, const RnnShape& s, Taker& scratch) {
  if (!(s.drop > 0)) return nullptr;
  T* mask = scratch.take<T>(s.N * s.P);
  const T kept = s.drop < 1 ? T(1 / (1 - s.drop)) : T(0);
  const Draw draw = draw_of(s.seed, s.call);
  if (ctx.shared) {
    each(ctx, s.N * s.P, [=] __device__(int64_t i) {
      mask[i] = philox_word(draw, i) < s.drop_below ? T(0) : kept;
    });
  }
  return mask;
}

// Which gates are normalised together: all, but for the GRU's n. Group g begins at begin[g].
struct NormGroups {
  int count;
  int64_t begin[3];
};
inline NormGroups norm_groups(const RnnShape& s) {
  const int64_t G = product_gates(s.cell);
  return G == 3 ? NormGroups{2, {0, 2 * s.H, 3 * s.H}} : NormGroups{1, {0, G * s.H, 0}};
}

// Saved norms of a row: both sides' normalised products, of w_ih x and w_hh h, then 1 / deviation of
// their groups.
template <class T>
struct NormRow {
  T* row;
  int64_t width;
  __device__ T* values(int side) const { return row + side * width; }
  __device__ T* scale(int side) const { return row + 2 * (width + side); }
};

}  // namespace hl::cuda
