// A rectangle of an operand, and its way into and out of a buffer.
#pragma once

#include "cpu/simd/vec.h"
#include "ops/elementwise/elementwise.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kTileElements = 512;  // buffers of four operands of doubles: 16 KB

typedef uint32_t Word4 __attribute__((may_alias));
typedef uint64_t Word8 __attribute__((may_alias));

// Where one operand is in the tile.
struct TileView {
  char* p;
  int64_t outer, inner;  // strides in elements
  int64_t rows, n;
  int item;
};

HL_INLINE bool lies_as_tile(const TileView& v) {
  return (v.inner == 1 || v.n == 1) && (v.rows == 1 || v.outer == v.n);
}

template <class E, class Move>
HL_INLINE void each_element(const TileView& v, void* buffer, const Move& move) {
  E* at = static_cast<E*>(buffer);
  E* p = reinterpret_cast<E*>(v.p);
  for (int64_t r = 0; r < v.rows; ++r, p += v.outer, at += v.n) {
    for (int64_t i = 0; i < v.n; ++i) move(p[i * v.inner], at[i]);
  }
}

template <class Move>
HL_INLINE void each_element(const TileView& v, void* buffer, const Move& move) {
  if (v.item == 4) return each_element<Word4>(v, buffer, move);
  if (v.item == 8) return each_element<Word8>(v, buffer, move);
  each_element<unsigned char>(v, buffer, move);
}

inline void gather(const TileView& v, void* buffer) {
  each_element(v, buffer, [](const auto& there, auto& here) { here = there; });
}
inline void scatter(const TileView& v, void* buffer) {
  each_element(v, buffer, [](auto& there, const auto& here) { there = here; });
}

// Buffers for the operands that do not lie as the tile does.
struct TileBuffers {
  alignas(64) char data[kElementOperands][kTileElements * 8];
  const char* held[kElementOperands];  // what is in them
  int64_t count[kElementOperands];
};

// Where operand k can be read contiguously. A buffer is filled anew only if it holds something
// else.
HL_INLINE void* readable(const TileView& v, int k, TileBuffers& buffers) {
  if (lies_as_tile(v)) return v.p;
  if (v.p != buffers.held[k] || v.rows * v.n > buffers.count[k]) {
    gather(v, buffers.data[k]);
    buffers.held[k] = v.p, buffers.count[k] = v.rows * v.n;
  }
  return buffers.data[k];
}

}  // namespace hl::cpu::HL_ISA
