// Takes a strided elementwise problem apart into contiguous pieces.
//
// The two innermost axes make tiles: a run of the last axis, or, where that is short, as many whole
// runs as fit a small buffer. An operand that lies in memory just as the tile does is handed over
// in place; any other goes through a buffer on the stack (filled once only, where the operand is
// broadcast along the axes outside). Tasks for threads are cut by the shape alone.
#pragma once

#include "cpu/parallel.h"
#include "ops/elementwise.h"

namespace hl::cpu::HL_ISA {

// One operation on n contiguous elements of every operand.
using TileBody = void (*)(const void* op, void* const* operands, int64_t n);

struct Walk {
  int operands;  // inputs first, the output last: row k of the shape's strides is operand k
  void* base[kElementOperands];
  int item[kElementOperands];  // bytes of one element: 1, 4 or 8
  TileBody body;
  const void* op;
};

void walk(Ctx& ctx, const ElementShape& s, const Walk& w);

// Everything in one run: nothing to take apart.
HL_INLINE bool one_run(const ElementShape& s, int operands) {
  if (s.dims > 1) return false;
  for (int k = 0; k < operands; ++k) {
    if (s.dims == 1 && s.stride[k][0] != 1) return false;
  }
  return s.dims == 0 || s.size[0] <= 4096;
}

}  // namespace hl::cpu::HL_ISA
