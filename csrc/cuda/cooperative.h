// Blocks that run at the same time and wait for each other.
//
// HL_LAUNCH_COOPERATIVE is HL_LAUNCH for a kernel whose blocks all run at once: a grid with more of them
// than resident_blocks() is refused, as they would wait for blocks that never begin. A block may have all
// the shared memory that the card gives one.
//
// What blocks tell each other goes through the second-level cache, by load_l2 and store_l2: the first
// level is each multiprocessor's own. release_one() counts one when all that its thread, and those it has
// met at a barrier of the block, stored before can be seen; await_count() returns when the counter is
// there, and what was released can then be read.
#pragma once

#include "cuda/gpu.h"

#ifdef HL_EMULATOR
#include "cuda/emulator/together.h"
#else
#include "cuda/device_cooperative.h"
#endif

namespace hl::cuda {

// `blocks` wait for each other, any number of times: for round r = 1, 2, ... each arrives, does what the
// others need not see, and waits. The counter, zero at first, is never set back.
struct GridBarrier {
  unsigned* counter;
  unsigned blocks;

  __device__ void arrive() const {
    __syncthreads();
    if (threadIdx.x == 0) release_one(counter);
  }
  __device__ void wait(unsigned round) const {
    if (threadIdx.x == 0) await_count(counter, round * blocks);
    __syncthreads();
  }
};

}  // namespace hl::cuda
