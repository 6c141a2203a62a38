// Kernels of whole rows: softmax, norms, losses. A row belongs to a group of threads, a few lanes, a
// warp or a block by its length, and lies in their registers, so that it is read from memory once
// however often it is looked at. Only rows longer than a block's registers are read anew each time.
//
//   each_grouped_row<T>(ctx, rows, n, [=] __device__(auto& g, int64_t i) {
//     const auto row = g.row(x + i * n);
//     const T mean = T(g.sum([&](auto, T v) { return double(v); }, row) / double(n));
//     g.write(y + i * n, 1, [&](auto, T v) { return v - mean; }, row);
//   });
//
// A thread has packs of 16 bytes, loaded and stored whole where they are aligned. Which number belongs
// to whom follows from n alone: so do the bits.
#pragma once

#include "cuda/packs.h"

namespace hl::cuda {

// kLanes threads (up to a warp, or the block) with kPacks packs each of a row; 0: as many as it takes,
// none of them kept.
template <class T, int kLanes, int kPacks>
struct RowGroup {
  static constexpr int kPack = Pack<T>::kSize;

  int64_t n;   // numbers of the row; 0 for the groups that are left over in the last warp
  void* room;  // of a block's reductions
  bool there;

  __device__ int rank() const { return int(threadIdx.x) % kLanes; }
  // The one that writes what there is once a row.
  __device__ bool first() const { return there && rank() == 0; }

  // Numbers i ... of a row whose neighbours are `stride` apart; `other` where `from` is null.
  struct Source {
    const T* from;
    int64_t stride;
    T other;
    bool whole;  // packs are aligned

    __device__ Pack<T> pack(int64_t i, int64_t n) const {
      Pack<T> p;
      if (whole && i + kPack <= n) {
        p = Pack<T>::load(from + i);
      } else {
#pragma unroll
        for (int e = 0; e < kPack; ++e) p.v[e] = from && i + e < n ? from[(i + e) * stride] : other;
      }
      return p;
    }
  };
  struct Kept {
    Source source;
    Pack<T> packs[kPacks > 0 ? kPacks : 1];
  };

  // A row that is looked at once, such as weights.
  __device__ Source source(const T* from, int64_t stride = 1, T other = T(0)) const {
    return {from, stride, other, from && stride == 1 && uintptr_t(from) % 16 == 0};
  }
  __device__ Kept row(const T* from, int64_t stride = 1) const {
    Kept k;
    k.source = source(from, stride);
    if constexpr (kPacks > 0) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        if (place(p) < n) k.packs[p] = k.source.pack(place(p), n);
      }
    }
    return k;
  }

  // f(i, numbers of the rows at i...) for this thread's part.
  template <class F, class... Rows>
  __device__ void each(F f, const Rows&... rows) const {
    packs(
        [&](int64_t i, const auto&... pack) {
#pragma unroll
          for (int e = 0; e < kPack; ++e) {
            if (i + e < n) f(i + e, pack.v[e]...);
          }
        },
        rows...);
  }
  // to[i * stride] = f(i, numbers...)
  template <class F, class... Rows>
  __device__ void write(T* to, int64_t stride, F f, const Rows&... rows) const {
    const bool whole = stride == 1 && uintptr_t(to) % 16 == 0;
    packs(
        [&](int64_t i, const auto&... pack) {
          Pack<T> made;
#pragma unroll
          for (int e = 0; e < kPack; ++e) {
            if (i + e < n) made.v[e] = f(i + e, pack.v[e]...);
          }
          if (whole && i + kPack <= n) {
            made.store(to + i);
          } else {
#pragma unroll
            for (int e = 0; e < kPack; ++e) {
              if (i + e < n) to[(i + e) * stride] = made.v[e];
            }
          }
        },
        rows...);
  }
  // Over the group, known to all of it.
  template <class V, class Op>
  __device__ V reduce(V v, Op op) const {
    if constexpr (kLanes > kWarp) {
      return block_reduce(v, static_cast<V*>(room), op);
    } else {
#pragma unroll
      for (int mask = kLanes / 2; mask > 0; mask /= 2) v = op(v, shuffle_xor(v, mask));
      return v;
    }
  }
  // S f(i, numbers...): a pack in the type of f's results, packs in double.
  template <class F, class... Rows>
  __device__ double sum(F f, const Rows&... rows) const {
    double all = 0;
    packs(
        [&](int64_t i, const auto&... pack) {
          decltype(f(i, pack.v[0]...)) part = 0;
#pragma unroll
          for (int e = 0; e < kPack; ++e) {
            if (i + e < n) part += f(i + e, pack.v[e]...);
          }
          all += double(part);
        },
        rows...);
    return reduce(all, Plus());
  }

 private:
  __device__ int64_t place(int64_t p) const { return (p * kLanes + rank()) * kPack; }
  __device__ static Pack<T> get(const Source& s, int, int64_t i, int64_t n) { return s.pack(i, n); }
  __device__ static Pack<T> get(const Kept& k, int p, int64_t i, int64_t n) {
    if constexpr (kPacks > 0) return k.packs[p];
    return k.source.pack(i, n);
  }
  template <class F, class... Rows>
  __device__ void packs(F f, const Rows&... rows) const {
    if constexpr (kPacks > 0) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        if (place(p) < n) f(place(p), get(rows, p, place(p), n)...);
      }
    } else {
      for (int64_t i = place(0); i < n; i += kLanes * kPack) f(i, get(rows, 0, i, n)...);
    }
  }
};

template <class T, int kLanes, int kPacks, class F>
__global__ void __launch_bounds__(kThreads, 1) row_groups_kernel(int64_t rows, int64_t n, F f) {
  HL_SHARED(unsigned char, room);
  constexpr int kRows = kThreads / kLanes;
  for (int64_t at = int64_t(blockIdx.x) * kRows; at < rows; at += int64_t(gridDim.x) * kRows) {
    const int64_t row = at + int(threadIdx.x) / kLanes;
    const bool there = row < rows;
    const RowGroup<T, kLanes, kPacks> g = {there ? n : 0, room, there};
    f(g, there ? row : at);
  }
}

template <class T, int kLanes, int kPacks, class F>
void launch_groups(const Ctx& ctx, int64_t rows, int64_t n, F f) {
  HL_LAUNCH((row_groups_kernel<T, kLanes, kPacks, F>),
            grid_of(ceil_div(rows, int64_t(kThreads / kLanes))), kThreads, kRoomBytes, ctx.stream,
            rows, n, f);
}

// f(group, row) for rows of n numbers of T, by groups to fit.
template <class T, class F>
void each_grouped_row(const Ctx& ctx, int64_t rows, int64_t n, F f) {
  constexpr int64_t kPack = Pack<T>::kSize;
  if (rows <= 0) return;
  if (n <= 8 * kPack) {
    launch_groups<T, 8, 1>(ctx, rows, n, f);
  } else if (n <= 2 * kWarp * kPack) {
    launch_groups<T, kWarp, 2>(ctx, rows, n, f);
  } else if (n <= 8 * kWarp * kPack) {
    launch_groups<T, kWarp, 8>(ctx, rows, n, f);
  } else if (n <= 8 * kThreads * kPack) {
    launch_groups<T, kThreads, 8>(ctx, rows, n, f);
  } else {
    launch_groups<T, kThreads, 0>(ctx, rows, n, f);
  }
}

}  // namespace hl::cuda
