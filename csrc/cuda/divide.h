// Division by numbers that a launch knows: a multiplication in place of some seventy instructions.
//
// With 2^l >= d and magic = ceil(2^(63 + l) / d), n / d = magic n / 2^(63 + l), rounded down, for every
// 0 <= n < 2^63 (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994).
#pragma once

#include "cuda/gpu.h"

namespace hl::cuda {

struct Divider {
  int64_t by;
  uint64_t magic;
  int shift;
};

// By one where d is 0: nothing is divided then, the array is empty.
inline Divider divide_by(int64_t d) {
  if (d <= 1) return {1, 0, 0};
  int l = 0;
  while ((uint64_t(1) << l) < uint64_t(d)) ++l;
  const unsigned __int128 numerator = static_cast<unsigned __int128>(1) << (63 + l);
  return {d, uint64_t((numerator + uint64_t(d) - 1) / uint64_t(d)), l - 1};
}

__device__ inline int64_t quotient(int64_t n, const Divider& d) {
  return d.by == 1 ? n : int64_t(mul_high(uint64_t(n), d.magic) >> d.shift);
}

// The remainder of n, which becomes the quotient: the last index of a number that counts places.
__device__ inline int64_t last_index(int64_t& n, const Divider& d) {
  const int64_t q = quotient(n, d), rest = n - q * d.by;
  n = q;
  return rest;
}

// Places in a block of three axes, numbered in C order.
struct Block3 {
  Divider size[3];
};
inline Block3 block_of(int64_t d, int64_t h, int64_t w) {
  return {{divide_by(d), divide_by(h), divide_by(w)}};
}
inline Block3 block_of(const int64_t (&size)[3]) { return block_of(size[0], size[1], size[2]); }

// The block in which place number n is, and the place `at` in it.
__device__ inline int64_t place_in(const Block3& b, int64_t n, int64_t (&at)[3]) {
#pragma unroll
  for (int i = 2; i >= 0; --i) at[i] = last_index(n, b.size[i]);
  return n;
}

}  // namespace hl::cuda
