// Arrays of float32 on their way to a product on tensor cores: rounded once, into chunks of 16 bytes that
// cp.async copies whole, zero behind what there is.
#pragma once

#include "cuda/mma_tile.h"

namespace hl::cuda {

// Numbers of a type in a chunk.
template <class Type>
constexpr int kChunkNumbers = kChunkWords * Words<Type>::kEach;

template <class Type>
__device__ __forceinline__ Chunk make_chunk(const float* v) {
  Chunk made;
#pragma unroll
  for (int w = 0; w < kChunkWords; ++w)
    made.word[w] = Words<Type>::make(v + w * Words<Type>::kEach);
  return made;
}

// Those at `from`, of which there are `left`, maybe none. `fours`: from is a multiple of 16.
template <class Type>
__device__ __forceinline__ Chunk round_chunk(const float* from, int64_t left, bool fours) {
  alignas(16) float v[kChunkNumbers<Type>];
#pragma unroll
  for (int e = 0; e < kChunkNumbers<Type>; e += 4) {
    if (fours && e + 4 <= left) {
      *reinterpret_cast<Chunk*>(v + e) = *reinterpret_cast<const Chunk*>(from + e);
    } else {
#pragma unroll
      for (int f = e; f < e + 4; ++f) v[f] = f < left ? from[f] : 0.0f;
    }
  }
  return make_chunk<Type>(v);
}

}  // namespace hl::cuda
