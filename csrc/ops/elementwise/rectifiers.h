// The activations that are one comparison, for kernels that compute them where their numbers stand in
// registers anyway: forward(x, slope, -), and backward(dy, saved, slope, -), where relu's gradient may
// read x as well as y.
#pragma once

#include "cpu/simd/vec.h"

namespace hl::cpu::HL_ISA {

struct Relu {
  template <class V>
  static HL_INLINE V forward(V x, V, V) {
    return greater(V{}, x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V y, V, V) {
    return select(y <= V{}, V{}, dy);
  }
};

struct LeakyRelu {
  template <class V>
  static HL_INLINE V forward(V x, V slope, V) {
    return select(x > V{}, x, slope * x);
  }
  template <class V>
  static HL_INLINE V backward(V dy, V x, V slope, V) {
    return select(x > V{}, dy, slope * dy);
  }
};

}  // namespace hl::cpu::HL_ISA
