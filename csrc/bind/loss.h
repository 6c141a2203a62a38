// What the bindings of all losses share.
#pragma once

#include <optional>

#include "bind/array.h"
#include "ops/loss/loss.h"

namespace hl::bind {

Reduction reduction_of(const char* op, int code);

}  // namespace hl::bind
