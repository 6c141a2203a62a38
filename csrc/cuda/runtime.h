// Devices, memory, streams, events and graphs behind the C table of api.h.
#pragma once

#include "cuda/api.h"

namespace hl::cuda {

// The table without the kernels.
GpuApi runtime_api();

// The number of the first failure on this thread since last_error() was asked, or 0.
int status();

}  // namespace hl::cuda
