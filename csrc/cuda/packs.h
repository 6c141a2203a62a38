// Numbers that a thread loads and stores together: 16 bytes in one instruction, where they are aligned.
//
// A card hides the time of a load by having many under way, about 20 KiB a multiprocessor on large
// ones: more than 2048 threads ask for with 4 bytes each.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "cuda/loop.h"

namespace hl::cuda {

template <class T, int kCount = 16 / int(sizeof(T))>
struct alignas(kCount * sizeof(T)) Pack {
  static constexpr int kSize = kCount;
  T v[kCount];

  // `whole`: the address is a multiple of the pack's size.
  static __device__ Pack load(const T* from, bool whole = true) {
    if (whole) return *reinterpret_cast<const Pack*>(from);
    Pack p;
#pragma unroll
    for (int e = 0; e < kCount; ++e) p.v[e] = from[e];
    return p;
  }
  __device__ void store(T* to, bool whole = true) const {
    if (whole) {
      *reinterpret_cast<Pack*>(to) = *this;
    } else {
#pragma unroll
      for (int e = 0; e < kCount; ++e) to[e] = v[e];
    }
  }

  // v = f(v, numbers of the others), one after the other: a long f is there once.
  template <class F, class... Packs>
  __device__ void replace(F f, Packs... others) {
#pragma unroll 1
    for (int e = 0; e < kCount; ++e) {
      push(f(v[0], others.v[0]...));
      (others.push(T(0)), ...);
    }
  }

 private:
  template <class, int>
  friend struct Pack;
  __device__ void push(T last) {
#pragma unroll
    for (int e = 0; e + 1 < kCount; ++e) v[e] = v[e + 1];
    v[kCount - 1] = last;
  }
};

// f(size of packs), as a constant: 16 bytes where rows of `columns` numbers are so many packs. (nvcc takes
// no device lambda in f, which is generic: f calls a function that has it.)
template <class T, class F>
auto with_packs(int64_t columns, F f) {
  constexpr int kSize = Pack<T>::kSize;
  if (columns % kSize == 0) return f(std::integral_constant<int, kSize>());
  return f(std::integral_constant<int, 1>());
}

// Whether all these arrays begin at multiples of 16; one that is null does.
inline bool all_aligned(std::initializer_list<const void*> arrays) {
  uintptr_t places = 0;
  for (const void* array : arrays) places |= uintptr_t(array);
  return places % 16 == 0;
}

}  // namespace hl::cuda
