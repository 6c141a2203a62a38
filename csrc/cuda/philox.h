// Philox4x32-10, a block of four words at a time. The numbering of words is in ops/random.h.
#pragma once

#include "cuda/gpu.h"
#include "cuda/graph.h"

namespace hl::cuda {

struct PhiloxBlock {
  uint32_t word[4];
  __device__ uint64_t draw(int which) const {
    return word[2 * which] | uint64_t(word[2 * which + 1]) << 32;
  }
};

// Words 4 block ... 4 block + 3 of one call.
__device__ inline PhiloxBlock philox(uint64_t seed, uint64_t call, uint64_t block) {
  constexpr uint32_t kM0 = 0xD2511F53, kM1 = 0xCD9E8D57;  // multipliers
  constexpr uint32_t kW0 = 0x9E3779B9, kW1 = 0xBB67AE85;  // key increments
  uint32_t c0 = uint32_t(block), c1 = uint32_t(block >> 32);
  uint32_t c2 = uint32_t(call), c3 = uint32_t(call >> 32);
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = mul_high(kM0, c0), low0 = kM0 * c0;
    const uint32_t high1 = mul_high(kM1, c2), low1 = kM1 * c2;
    c0 = high1 ^ c1 ^ k0, c1 = low1;
    c2 = high0 ^ c3 ^ k1, c3 = low0;
    k0 += kW0, k1 += kW1;
  }
  return {{c0, c1, c2, c3}};
}

// Seed and call of random numbers. In a graph each replay has other numbers: what it adds to the two
// lies at `moved`, which is null elsewhere.
struct Draw {
  uint64_t seed, call;
  const uint64_t* moved;
};
__device__ inline Draw now(const Draw& d) {
  uint64_t seed = d.seed, call = d.call;  // a choice between two Draws would be one of addresses
  if (d.moved) seed += d.moved[0], call += d.moved[1];
  return {seed, call, nullptr};
}
__device__ inline PhiloxBlock philox(const Draw& d, uint64_t block) {
  const Draw n = now(d);
  return philox(n.seed, n.call, block);
}

// Word number `index` of a call.
__device__ inline uint32_t philox_word(uint64_t seed, uint64_t call, uint64_t index) {
  const PhiloxBlock b = philox(seed, call, index / 4);
  const int at = int(index % 4);
  return at == 0 ? b.word[0] : at == 1 ? b.word[1] : at == 2 ? b.word[2] : b.word[3];
}

__device__ inline uint32_t philox_word(const Draw& d, uint64_t index) {
  const Draw n = now(d);
  return philox_word(n.seed, n.call, index);
}

// x into [0, range) without favour; `draw` numbers it for the case that it must be drawn again.
__device__ inline uint64_t bounded(uint64_t seed, uint64_t call, uint64_t x, uint64_t range,
                                   int64_t draw) {
  if (x * range < range) {
    const uint64_t reject = (0 - range) % range;
    for (uint64_t t = 1; x * range < reject; ++t) {
      x = philox(seed, call, uint64_t(draw / 2) | t << 56).draw(int(draw % 2));
    }
  }
  return mul_high(x, range);
}

// ---- uniform on [0, 1), exactly --------------------------------------------------------------------
__device__ inline float unit_interval(uint32_t bits) {
  return float(int32_t(bits >> 8)) * 0x1p-24f;
}
__device__ inline double unit_interval(uint64_t bits) {
  return double(int64_t(bits >> 11)) * 0x1p-53;
}

// ---- normal ------------------------------------------------------------------------------------
// (0, 1], from the upper bits.
__device__ inline float nonzero_unit(uint32_t bits) {
  return (float(int32_t(bits >> 1)) + 0.5f) * 0x1p-31f;
}
__device__ inline double nonzero_unit(uint64_t bits) { return unit_interval(bits) + 0x1p-54; }

// The upper two bits choose a quarter of the circle, the others a place in it, from its middle.
__device__ inline float place_in_quarter(uint32_t bits) {
  return float(int32_t(bits << 2)) * (0x1.921fb6p-1f * 0x1p-31f);
}
__device__ inline double place_in_quarter(uint64_t bits) {
  return (double(int64_t((bits << 2) >> 12)) * 0x1p-52 - 0.5) * 0x1.921fb54442d18p0;
}

// Box and Muller: two normal numbers from the words (draws) of a radius and an angle.
template <class T, class U>
__device__ void normal_pair(U radius, U angle, T& first, T& second) {
  constexpr int kBits = 8 * int(sizeof(U));
  const T t = place_in_quarter(angle), sine = sin(t), cosine = cos(t);
  const bool odd = angle >> (kBits - 2) & 1, turned = angle >> (kBits - 1);
  T r = sqrt(T(-2) * log(nonzero_unit(radius)));
  if (turned) r = -r;
  first = r * (odd ? sine : cosine);
  second = r * (odd ? cosine : sine);
}

}  // namespace hl::cuda
