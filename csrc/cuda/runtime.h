// Devices, memory, streams, events and graphs behind the C table of api.h.
#pragma once

#include "cuda/api.h"

namespace hl::cuda {

// The table without the kernels.
GpuApi runtime_api();

}  // namespace hl::cuda
