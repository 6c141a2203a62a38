// Many tensors as one index space: chunks are cut from it alone, so that a hundred small tensors
// cost as little as one large one, and the cuts depend on the sizes only.
#pragma once

#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kFlatGrain = 1 << 14;  // elements of a chunk

// f(tensor, first element, one past the last) for all that lies in [begin, end) of the flat space.
template <class Tensor, class F>
HL_INLINE void each_piece(const Tensor* tensors, int64_t count, int64_t begin, int64_t end,
                          const F& f) {
  int64_t low = 0, high = count - 1;  // the last tensor that begins at or before `begin`
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (tensors[middle].begin <= begin) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  for (; low < count && tensors[low].begin < end; ++low) {
    const Tensor& t = tensors[low];
    const int64_t from = begin > t.begin ? begin - t.begin : 0;
    const int64_t to = end - t.begin < t.size ? end - t.begin : t.size;
    if (from < to) f(t, from, to);
  }
}

}  // namespace hl::cpu::HL_ISA
