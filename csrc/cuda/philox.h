// Philox4x32-10, one counter per thread. The numbering of words is in ops/random.h.
#pragma once

#include "cuda/gpu.h"

namespace hl::cuda {

struct Words {
  uint32_t word[4];
};

// The four words of a block of one call.
__device__ inline Words philox(uint64_t seed, uint64_t call, uint64_t block) {
  uint32_t c0 = uint32_t(block), c1 = uint32_t(block >> 32);
  uint32_t c2 = uint32_t(call), c3 = uint32_t(call >> 32);
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t h0 = mul_high(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    const uint32_t h1 = mul_high(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Word `index` of a call by itself.
__device__ inline uint32_t philox_word(uint64_t seed, uint64_t call, int64_t index) {
  const Words w = philox(seed, call, uint64_t(index) / 4);
  const int at = int(index % 4);
  return at < 2 ? (at == 0 ? w.word[0] : w.word[1]) : (at == 2 ? w.word[2] : w.word[3]);
}

}  // namespace hl::cuda
