// Captures of the emulated card: what a captured stream is asked to do is kept, not done.
#pragma once

#include <functional>

#include "cuda/emulator/cudart.h"

namespace hl::emulator {

// The error, also left for cudaGetLastError().
cudaError_t answer(cudaError_t e);

bool is_captured(cudaStream_t stream);
// Whether `work` was put into the graph of a capture, instead of being done now.
bool record(cudaStream_t stream, std::function<void()> work);
// What a captured stream does not do, and what a thread may not do during its capture: the error, which
// spoils the capture. The second is allowed in relaxed mode.
cudaError_t unless_captured(cudaStream_t stream);
cudaError_t unless_capturing();

}  // namespace hl::emulator
