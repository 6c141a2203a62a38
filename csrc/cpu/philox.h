// Philox4x32-10, a vector of counters at a time. The numbering of words is in ops/random.h.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

constexpr uint32_t kPhiloxM0 = 0xD2511F53, kPhiloxM1 = 0xCD9E8D57;  // multipliers
constexpr uint32_t kPhiloxW0 = 0x9E3779B9,
                   kPhiloxW1 = 0xBB67AE85;  // key increments: golden ratio, sqrt 3 - 1

// Words that one vector of counters gives; buffers are sized in whole groups.
constexpr int kPhiloxGroup = 4 * kLanes<double>;

template <int L>
struct PickZipLow {
  static constexpr int lane(int i) { return i / 2 + (i % 2) * L; }
};
template <int L>
struct PickZipHigh {
  static constexpr int lane(int i) { return L / 2 + i / 2 + (i % 2) * L; }
};

// Words 4 block ... 4 block + count of one call; count is rounded up to whole groups.
HL_INLINE void philox_words(uint64_t seed, uint64_t call, uint64_t block, int64_t count,
                            uint32_t* words) {
  using V = Vec<uint64_t>;
  constexpr int L = kLanes<double>;
  using F = Vec<double>;
  V lane;
  for (int i = 0; i < L; ++i) lane[i] = uint64_t(i);
  for (int64_t at = 0; at < count; at += kPhiloxGroup, block += L) {
    // A counter word lives in the low half of a 64-bit lane. Its upper half is garbage from the
    // second round on, which neither the products nor the final merge look at.
    const V index = lane + block;
    V c0 = index, c1 = index >> 32, c2 = V{} + call, c3 = V{} + (call >> 32);
    uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const V p0 = mul_low(c0, V{} + uint64_t(kPhiloxM0));
      const V p1 = mul_low(c2, V{} + uint64_t(kPhiloxM1));
      c0 = (p1 >> 32) ^ c1 ^ uint64_t(k0);
      c2 = (p0 >> 32) ^ c3 ^ uint64_t(k1);
      c1 = p1;
      c3 = p0;
      k0 += kPhiloxW0, k1 += kPhiloxW1;
    }
    const F low = as<F>((c0 & 0xffffffffu) | (c1 << 32));
    const F high = as<F>((c2 & 0xffffffffu) | (c3 << 32));
    store(reinterpret_cast<double*>(words + at), shuffle<PickZipLow<L>>(low, high));
    store(reinterpret_cast<double*>(words + at) + L, shuffle<PickZipHigh<L>>(low, high));
  }
}

typedef uint32_t HalfWords __attribute__((vector_size(kVectorBytes / 2), aligned(4), may_alias));

// The next kLanes<T> words as lanes of T's width.
HL_INLINE Vec<uint32_t> lanes_of(const uint32_t* words, float) { return load(words); }
HL_INLINE Vec<uint64_t> lanes_of(const uint32_t* words, double) {
  return __builtin_convertvector(*reinterpret_cast<const HalfWords*>(words), Vec<uint64_t>);
}

// One draw, for the rare one that has to be repeated.
HL_INLINE uint64_t philox_draw(uint64_t seed, uint64_t call, uint64_t block, int which) {
  uint32_t c0 = uint32_t(block), c1 = uint32_t(block >> 32);
  uint32_t c2 = uint32_t(call), c3 = uint32_t(call >> 32);
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(kPhiloxM0) * c0, p1 = uint64_t(kPhiloxM1) * c2;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c1 = uint32_t(p1);
    c3 = uint32_t(p0);
    k0 += kPhiloxW0, k1 += kPhiloxW1;
  }
  return which == 0 ? c0 | uint64_t(c1) << 32 : c2 | uint64_t(c3) << 32;
}

}  // namespace hl::cpu::HL_ISA
