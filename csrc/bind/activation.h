// The activation with which a product or a convolution finishes.
#pragma once

#include "bind/array.h"
#include "ops/elementwise/elementwise.h"

namespace hl::bind {

template <class S>
void set_activation(S& shape, const char* op, int act, double p0, double p1) {
  const bool known = act >= int(UnaryOp::kElu) && act < int(UnaryOp::kCount);
  if (act != kNoActivation && (!known || act == int(UnaryOp::kHeaviside))) {
    value_error(op, "activation " + std::to_string(act) + " cannot be fused");
  }
  shape.activation = act;
  shape.p0 = p0, shape.p1 = p1;
}

}  // namespace hl::bind
