// Disjoint sets: each element points towards the root of its set.
#pragma once

#include "cpu/parallel.h"

namespace hl::cpu::HL_ISA {

template <class I>
HL_INLINE I root_of(I* parent, I i) {
  while (parent[i] != i) {
    parent[i] = parent[parent[i]];
    i = parent[i];
  }
  return i;
}

}  // namespace hl::cpu::HL_ISA
