// Elements that are only moved: bytes of their size.
#pragma once

#include "cuda/gpu.h"

namespace hl::cuda {

struct Bytes16 {
  uint64_t half[2];
};

// f(a number of that type) for an item of so many bytes.
template <class F>
void with_item(int bytes, F f) {
  switch (bytes) {
    case 1:
      return f(uint8_t());
    case 2:
      return f(uint16_t());
    case 4:
      return f(uint32_t());
    case 8:
      return f(uint64_t());
    default:
      return f(Bytes16());
  }
}

// The longest item that `bytes` and the places of a and b are multiples of.
inline int widest_item(int64_t bytes, const void* a, const void* b) {
  const uint64_t all = uint64_t(bytes) | uint64_t(uintptr_t(a)) | uint64_t(uintptr_t(b)) | 16;
  return int(all & (~all + 1));
}

}  // namespace hl::cuda
