// Sorts lines of keys, stably: tiles in shared memory by a bitonic network, then merges of two runs
// each, in which every item finds its place by a binary search in the other run.
#pragma once

#include "cuda/loop.h"

namespace hl::cuda {

// Where two keys are equal the earlier one comes first, so that no two items are.
template <class Key>
struct Item {
  Key key, index;
};
template <class Key>
__device__ bool before(const Item<Key>& a, const Item<Key>& b) {
  return a.key < b.key || (a.key == b.key && a.index < b.index);
}

// How many of the n sorted items come before `item`.
template <class Key>
__device__ int64_t rank_of(const Item<Key>* items, int64_t n, const Item<Key>& item) {
  int64_t low = 0;
  while (n > 0) {
    const int64_t half = n / 2;
    if (before(items[low + half], item)) {
      low += half + 1, n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

constexpr int kSortTile = 1024;

// Runs of up to kSortTile items. A tile holds a run of one line, or several short lines, each in
// `width` places, a power of two.
template <class Key, class KeyOf>
__global__ void __launch_bounds__(kThreads)
    sort_tiles(int64_t lines, int64_t n, int width, KeyOf key_of, Item<Key>* sorted) {
  HL_SHARED(Item<Key>, room);
  const int64_t runs = ceil_div(n, int64_t(width)), held = kSortTile / width;
  const int64_t tiles = ceil_div(lines, held) * runs;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first = tile / runs * held, start = tile % runs * width;
    for (int e = int(threadIdx.x); e < kSortTile; e += kThreads) {
      const int64_t line = first + e / width, i = start + e % width;
      const bool there = line < lines && i < n;
      room[e] = there ? Item<Key>{key_of(line, i), Key(i)} : Item<Key>{~Key(0), ~Key(0)};
    }
    for (int size = 2; size <= width; size *= 2) {
      for (int step = size / 2; step > 0; step /= 2) {
        __syncthreads();
        for (int e = int(threadIdx.x); e < kSortTile / 2; e += kThreads) {
          const int a = e / step * 2 * step + e % step, b = a + step;
          const bool rising = (a % width & size) == 0;
          const Item<Key> x = room[a], y = room[b];
          if (before(y, x) == rising) room[a] = y, room[b] = x;
        }
      }
    }
    __syncthreads();
    for (int e = int(threadIdx.x); e < kSortTile; e += kThreads) {
      const int64_t line = first + e / width, i = start + e % width;
      if (line < lines && i < n) sorted[line * n + i] = room[e];
    }
    __syncthreads();
  }
}

template <class Key>
int64_t sort_bytes(int64_t lines, int64_t n) {
  return (n > kSortTile ? 2 : 1) * lines * n * int64_t(sizeof(Item<Key>));
}

// The items (key_of(line, i), i) of each line in order, somewhere in `scratch` of sort_bytes.
template <class Key, class KeyOf>
const Item<Key>* sort_lines(const Ctx& ctx, int64_t lines, int64_t n, void* scratch, KeyOf key_of) {
  auto* from = static_cast<Item<Key>*>(scratch);
  if (lines * n == 0) return from;
  int width = 1;
  while (width < kSortTile && width < n) width *= 2;
  const int64_t tiles = ceil_div(lines, int64_t(kSortTile / width)) * ceil_div(n, int64_t(width));
  HL_LAUNCH((sort_tiles<Key, KeyOf>), grid_of(tiles), kThreads, kSortTile * sizeof(Item<Key>),
            ctx.stream, lines, n, width, key_of, from);
  for (int64_t run = width; run < n; run *= 2) {
    const Item<Key>* source = from;
    Item<Key>* to = source == scratch ? from + lines * n : static_cast<Item<Key>*>(scratch);
    each(ctx, lines * n, [=] __device__(int64_t e) {
      const int64_t line = e / n * n, i = e - line, own = i / run, other = own ^ 1;
      const int64_t begin = other * run, left = n - begin;
      const int64_t size = left < 0 ? 0 : left < run ? left : run;
      const int64_t ahead = rank_of(source + line + begin, size, source[e]);
      to[line + own / 2 * 2 * run + i % run + ahead] = source[e];
    });
    from = to;
  }
  return from;
}

}  // namespace hl::cuda
