// Disjoint sets: each element points towards the root of its set, which is its first element.
#pragma once

#include "cuda/gpu.h"

namespace hl::cuda {

template <class I>
__device__ I root_of(const I* parent, I i) {
  while (parent[i] != i) i = parent[i];
  return i;
}

// With halved ways, for one thread alone.
template <class I>
__device__ I root_and_halve(I* parent, I i) {
  while (parent[i] != i) {
    parent[i] = parent[parent[i]];
    i = parent[i];
  }
  return i;
}

// Joins two sets while other threads join others: whatever their order, the sets are the same. A parent
// only ever becomes smaller, so an old one that is still seen does no harm.
__device__ inline void unite(int* parent, int a, int b) {
  while (true) {
    a = root_of(parent, a), b = root_of(parent, b);
    if (a == b) return;
    if (a < b) {
      const int t = a;
      a = b, b = t;
    }
    const int before = atomicMin(parent + a, b);
    if (before == a) return;
    a = before;  // somebody was faster: that one's set belongs with b's, too
  }
}

}  // namespace hl::cuda
