// What convolution's products by plain threads read and write, as gemm_plain() asks for it (gemm.h): by
// what gather.cuh keeps of a row and of k. A thread reads the same rows of A throughout, at a k that moves
// on; of B it reads rows of k, in the same column.
#pragma once

#include "cuda/gemm.h"
#include "cuda/unary.h"
#include "ops/conv/gather.cuh"

namespace hl::cuda {

// ---- forward and backward to the input -------------------------------------------------------------
using Units = Gather<uint64_t>;

template <class T>
struct GatheredRows {  // A: pixels of the source
  Units gather;
  const T* x;
};
template <class T>
struct Share<T, OfBatch<GatheredRows<T>>> {
  static constexpr int kMost = sizeof(T) == 4 ? 4 : 2;  // rows of a thread
  const GatheredRows<T>& a;
  GatherPhase<uint64_t> phase;
  GatherRow<uint64_t> row[kMost];
  GatherWalk<uint64_t> walk;

  __device__ Share(const OfBatch<GatheredRows<T>>& f, int64_t i, int64_t k, int64_t, int64_t,
                   int down, int)
      : a(f.f), phase(a.gather, f.batch), walk(a.gather, phase, int(k)) {
#pragma unroll
    for (int e = 0; e < kMost; ++e) row[e] = {a.gather, phase, i + e * down};
  }
  template <int Loads>
  __device__ void load(T* next, int, int by) {
    static_assert(Loads <= kMost);
    const bool there = walk.there(phase);
#pragma unroll
    for (int e = 0; e < Loads; ++e) {
      const bool seen = there && walk.sees(a.gather, row[e]);
      next[e] = seen ? a.x[row[e].base + walk.x + unsigned(walk.c)] : T(0);
    }
    walk.advance(a.gather, phase, by);
  }
};

template <class T>
struct GatheredWeights {  // B, where columns are neighbours
  Units gather;
  const T* w;
  int64_t group, unit;  // from a group to the next, from a unit of k to the next
};
template <class T>
struct Share<T, OfBatch<GatheredWeights<T>>> {
  const GatheredWeights<T>& b;
  GatherPhase<uint64_t> phase;
  GatherWalk<uint64_t> walk;
  const T* w;
  int down;
  bool inside;

  __device__ Share(const OfBatch<GatheredWeights<T>>& f, int64_t k, int64_t j, int64_t,
                   int64_t columns, int down, int)
      : b(f.f),
        phase(b.gather, f.batch),
        walk(b.gather, phase, int(k)),
        w(b.w + phase.group * b.group + j),
        down(down),
        inside(j < columns) {}
  template <int Loads>  // the step after this one begins `down` below its last row
  __device__ void load(T* next, int, int) {
#pragma unroll
    for (int e = 0; e < Loads; ++e) {
      next[e] = inside && walk.there(phase) ? w[walk.w + uint64_t(walk.c) * b.unit] : T(0);
      walk.advance(b.gather, phase, down);
    }
  }
};

// act(sum + b) of pixels, phase by phase.
template <class T>
struct PixelStore {
  Units gather;
  bool cut;                   // into more than one phase
  int64_t columns, channels;  // of a group, of all
  const T* b;
  T *y, *z;
  int activation;
  double p0, p1;

  struct Phase {
    const PixelStore& s;
    GatherPhase<uint64_t> phase;
    __device__ void operator()(int64_t i, int64_t j, T sum) const {
      const int64_t pixel = s.cut ? GatherRow<uint64_t>(s.gather, phase, i).pixel : i;
      if (pixel < 0) return;
      const int64_t o = phase.group * s.columns + j, at = pixel * s.channels + o;
      const T total = s.b ? sum + s.b[o] : sum;
      if (s.z) s.z[at] = total;
      s.y[at] = activate(s.activation, total, s.p0, s.p1);
    }
  };
  __device__ Phase of(int64_t batch) const { return {*this, {gather, batch}}; }
};

// ---- backward to the weights -----------------------------------------------------------------------
template <class T>
struct PartMatrix {  // a part's pixels
  const T* data;
  int64_t rs, cs, count;
};
template <class T>
struct PartChannels {  // A: channels of dy, neighbours, by pixels
  const T* dy;
  int64_t K, k_group, length, pixels;
  Divider parts;
  int64_t rs, cs;  // of what of() gives
  __device__ PartMatrix<T> of(int64_t batch) const {
    const int64_t first = last_index(batch, parts) * length;
    return {dy + first * K + batch * k_group, rs, cs, pixels - first};
  }
};
template <class T>
struct Share<T, PartMatrix<T>> : Share<T, typename Strided<const T>::Matrix> {
  using Whole = Share<T, typename Strided<const T>::Matrix>;
  __device__ Share(const PartMatrix<T>& f, int64_t i, int64_t k, int64_t rows, int64_t depth,
                   int down, int right)
      : Whole({f.data, f.rs, f.cs}, i, k, rows, depth < f.count ? depth : f.count, down, right) {}
};

template <class T>
struct TapPixels {  // B: what a tap sees of x, by pixels of dy
  Pixels pixels;    // that move as far as a thread's rows are apart
  const T* x;
  int64_t C, c_group, length, count;
  Divider parts, channels;
};
template <class T>
struct Share<T, OfBatch<TapPixels<T>>> {
  const TapPixels<T>& b;
  PixelWalk walk;
  const T* x;
  int64_t left;  // pixels of the part
  int down;

  __device__ Share(const OfBatch<TapPixels<T>>& f, int64_t k, int64_t j, int64_t depth,
                   int64_t columns, int down, int)
      : b(f.f), down(down) {
    int64_t group = f.batch, tap = j;
    const int64_t first = last_index(group, b.parts) * b.length, c = last_index(tap, b.channels);
    walk = {b.pixels, first + k, tap};
    x = b.x + group * b.c_group + c;
    left = j < columns ? (depth < b.count - first ? depth : b.count - first) - k : 0;
  }
  template <int Loads>  // as with GatheredWeights
  __device__ void load(T* next, int, int) {
#pragma unroll
    for (int e = 0; e < Loads; ++e) {
      uint64_t pixel;
      const bool seen = walk.look(b.pixels, pixel) && left > 0;
      next[e] = seen ? x[pixel * uint64_t(b.C)] : T(0);
      walk.advance(b.pixels);
      left -= down;
    }
  }
};

template <class T>
struct PartStore {
  T* to;  // (parts, K, taps and channels)
  int64_t weights, k_group, depth;
  Divider parts;
  __device__ void operator()(int64_t batch, int64_t i, int64_t j, T sum) const {
    int64_t group = batch;
    const int64_t part = last_index(group, parts);
    to[part * weights + (group * k_group + i) * depth + j] = sum;
  }
};

}  // namespace hl::cuda
