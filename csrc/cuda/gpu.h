// What a kernel's source sees of the GPU, on a card and in the emulator alike.
//
// Kernels use CUDA's own words for threads and blocks and the wrappers of this folder for everything
// else: HL_LAUNCH instead of <<<>>>, HL_SHARED for dynamic shared memory, shuffle_xor instead of
// __shfl_xor_sync. Then g++ compiles the same text for the CPU (emulator/emulator.h), where tests run
// every kernel against the float64 oracle on a machine without a card.
#pragma once

#include <math.h>
#include <stdint.h>

#ifdef HL_EMULATOR
#include "cuda/emulator/emulator.h"
#else
#include "cuda/device.h"
#endif

namespace hl::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 256;  // of a block, where a kernel has no reason for another number
constexpr int64_t kMaxGrid = 1 << 16;  // blocks of a grid-stride loop: enough for any card

template <class A, class B>
__host__ __device__ constexpr auto ceil_div(A a, B b) {
  return (a + b - 1) / b;
}

// Bytes of scratch, so many that what follows is aligned for any type.
constexpr int64_t aligned(int64_t bytes) { return ceil_div(bytes, int64_t(256)) * 256; }

// Tells the caller of the running entry that a call failed: "<what>: <error> (file:line)". The first
// failure is kept, invoke() raises it.
void note_failure(cudaError_t error, const char* what, const char* file, int line);

// The current device, as far as a launch is fitted to it.
struct Card {
  int major, minor;  // its compute capability
  int multiprocessors;
};
Card card();

#define HL_CHECK(call)                                                                          \
  do {                                                                                          \
    const cudaError_t hl_error = (call);                                                        \
    if (hl_error != cudaSuccess) ::hl::cuda::note_failure(hl_error, #call, __FILE__, __LINE__); \
  } while (0)

}  // namespace hl::cuda
