// Weights packed once for many products: w (groups, lines, depth), contiguous, becomes
//
//   panels (groups, ceil(lines / width), depth, width)      panels[g, p, k, i] = w[g, p width + i, k]
//
// with zeros for lines that do not exist. `width` is that of the register tile, so panels belong to one
// instruction set and type. For a convolution, depth is taps times channels.
#pragma once

#include "context.h"

namespace hl {

struct PackShape {
  int64_t groups, lines, depth;
};

// The plan's tile[1] is the width.
template <class T>
using pack_panels_t = void(Ctx&, const PackShape&, const T* w, T* panels);

}  // namespace hl
