// Takes a strided elementwise problem apart into contiguous pieces.
//
// The two innermost axes make tiles: a run of the last axis, or, where that is short, as many whole
// runs as fit a small buffer. An operand that lies in memory just as the tile does is handed over
// in place; any other goes through a buffer on the stack (filled once only, where the operand is
// broadcast along the axes outside). Tasks for threads are cut by the shape alone.
#pragma once

#include "cpu/parallel.h"
#include "ops/elementwise/elementwise.h"

namespace hl::cpu::HL_ISA {

// One operation on n contiguous elements of every operand.
using TileBody = void (*)(const void* op, void* const* operands, int64_t n);

struct Walk {
  int operands;  // inputs first, then the output: row k of the shape's strides is operand k
  bool output;   // whether there is one
  void* base[kElementOperands];
  int item[kElementOperands];  // bytes of one element: 1, 4 or 8
  TileBody body;
  const void* op;
};

void walk(Ctx& ctx, const ElementShape& s, const Walk& w);

// Operands all of type T, the last one the output, through body(op, pointers..., n).
template <class T, class Op, class... P>
HL_INLINE Walk walk_of(const Op& op, TileBody body, P*... pointers) {
  Walk w = {int(sizeof...(P)), true, {const_cast<T*>(pointers)...}, {}, body, &op};
  for (int& item : w.item) item = int(sizeof(T));
  return w;
}

Plan walk_plan(const ElementShape& s, int operands, int64_t item);

// A short run of everything: nothing to take apart.
HL_INLINE bool one_run(const ElementShape& s, int operands) {
  if (s.dims != 1 || s.size[0] > 4096) return false;
  for (int k = 0; k < operands; ++k) {
    if (s.stride[k][0] != 1) return false;
  }
  return true;
}

}  // namespace hl::cpu::HL_ISA
