// A gradient summed over the axes along which its operand was broadcast, in one pass.
//
// As in walk.h, but the result's strides are 0 along some axes. Tiles that share a result are added
// up in an order that follows from the shape alone: rows into a pair high + low (Knuth's two-sum),
// so that a million rows lose no more than a few, in up to kPieces pieces that are added last.
#pragma once

#include "ops/elementwise/walk.h"

namespace hl::cpu::HL_ISA {

// Whether the last of `operands` is repeated along some axis.
bool sums(const ElementShape& s, int operands);

int64_t sum_walk_bytes(const ElementShape& s, int operands, int64_t item);
template <class T>
void sum_walk(Ctx& ctx, const ElementShape& s, const Walk& w);

}  // namespace hl::cpu::HL_ISA
