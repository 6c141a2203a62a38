// Weights that kernels.pack() has packed.
#pragma once

#include "bind/array.h"

namespace hl::bind {

// The panels of weights (groups, lines, depth) for the present instruction set, or null for None.
const void* panels_or_null(const char* op, py::handle panels, const Array& like, int64_t groups,
                           int64_t lines, int64_t depth);

}  // namespace hl::bind
