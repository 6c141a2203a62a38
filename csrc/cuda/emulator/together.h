// Blocks that run at the same time and wait for each other, on the CPU: what cooperative.h calls.
//
// What a block stores for others (store_l2) they see when it has released it, at the latest moment that
// the memory model allows, one in four at once: a barrier that comes too early shows.
#pragma once

#include "cuda/emulator/emulator.h"

namespace hl::emulator {

int multiprocessors();
// How many blocks the emulated card runs at a time: two of 256 threads on a multiprocessor, if their
// memory fits, or what HANDLOOM_EMULATOR_BLOCKS says.
int resident_blocks(int threads, size_t shared_bytes);

// As run_grid, with all blocks alive at once. False also for more of them than there can be.
bool run_together(Body body, void* arg, size_t arg_bytes, dim3 grid, dim3 block,
                  size_t shared_bytes, const char* kernel);
bool takes_together(dim3 grid, dim3 block, size_t shared_bytes);

template <class F>
bool launch_together(cudaStream_t stream, F body, dim3 grid, dim3 block, size_t shared_bytes,
                     const char* kernel) {
  const auto run = [=](F f) {
    return run_together([](void* at) { (*static_cast<F*>(at))(); }, &f, sizeof f, grid, block,
                        shared_bytes, kernel);
  };
  if (!is_captured(stream)) return run(body);
  return takes_together(grid, block, shared_bytes) && record(stream, [=] { run(body); });
}

void store_later(void* to, const void* from, int bytes);  // up to 16
void load_seen(void* to, const void* from, int bytes);
void release(unsigned* counter);                       // counts one, after the block's stores
void await(const unsigned* counter, unsigned target);  // until it has come there

}  // namespace hl::emulator

// How many such grids there were in this process: tests see by it which way a call took.
extern "C" __attribute__((visibility("default"))) int hl_emulated_grids_together();

#define HL_LAUNCH_COOPERATIVE(kernel, grid, block, shared_bytes, stream, ...)                \
  do {                                                                                       \
    auto hl_body = [=] { (kernel)(__VA_ARGS__); };                                           \
    if (!::hl::emulator::launch_together(static_cast<cudaStream_t>(stream), hl_body, (grid), \
                                         (block), size_t(shared_bytes), #kernel))            \
      ::hl::cuda::note_failure(cudaErrorInvalidConfiguration, #kernel, __FILE__, __LINE__);  \
  } while (0)

namespace hl::cuda {

template <class... Params>
int resident_blocks(void (*)(Params...), int threads, int64_t shared_bytes) {
  return emulator::resident_blocks(threads, size_t(shared_bytes));
}

inline void load_l2(uint32_t (&w)[4], const uint32_t* from) {
  if (uintptr_t(from) % 16 != 0) emulator::die("a load of 16 bytes that is not aligned");
  emulator::load_seen(w, from, sizeof w);
}
inline void store_l2(uint32_t* to, uint32_t v) { emulator::store_later(to, &v, sizeof v); }
inline void store_l2(uint16_t* to, uint16_t v) { emulator::store_later(to, &v, sizeof v); }

inline void release_one(unsigned* counter) { emulator::release(counter); }
inline void await_count(const unsigned* counter, unsigned target) {
  emulator::await(counter, target);
}

}  // namespace hl::cuda
