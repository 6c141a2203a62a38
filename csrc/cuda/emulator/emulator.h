// CUDA kernels on one CPU thread, one fiber per CUDA thread.
//
// What makes mistakes show:
//   - fibers of a block run in a seeded random order and warps run ahead of others, so that a missing
//     barrier gives wrong numbers
//   - shared memory starts as NaN; a barrier that not every thread reaches is reported as a deadlock
//   - "device" memory cannot be touched while no kernel or copy runs: host code that reads a device
//     pointer dies here as it would on a card, and so does a kernel that reads a host's
//   - asynchronous copies land at the latest legal moment, some at the earliest; products of warpgroups
//     (sm90a.h) at the latest
//   - built with the address sanitizer, a read outside every array, too
//
// What it cannot see: a wrong reading of PTX layouts (it has ours), memory order between blocks but for
// together.h, bank conflicts, speed. HANDLOOM_EMULATOR_SEED picks the schedule; 0 is thread order.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#include "cuda/emulator/capture.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__

namespace hl::emulator {

// Runs `body(arg)` once per thread of the grid. False, with a message left for the caller: the
// configuration is one that a card would refuse.
using Body = void (*)(void* arg);
bool run_grid(Body body, void* arg, size_t arg_bytes, dim3 grid, dim3 block, size_t shared_bytes,
              const char* kernel);
bool card_takes(dim3 grid, dim3 block, size_t shared_bytes);

// A launch on a stream: the arguments in `body` are those of now, whenever it runs.
template <class F>
bool launch(cudaStream_t stream, F body, dim3 grid, dim3 block, size_t shared_bytes,
            const char* kernel) {
  const auto run = [=](F f) {
    return run_grid([](void* at) { (*static_cast<F*>(at))(); }, &f, sizeof f, grid, block,
                    shared_bytes, kernel);
  };
  if (!is_captured(stream)) return run(body);
  return card_takes(grid, block, shared_bytes) && record(stream, [=] { run(body); });
}

struct Thread {
  dim3 index;
  int linear;  // in its block
};
struct Block {
  dim3 index, size, grid;
  unsigned char* shared;  // at a multiple of 1024
  uint64_t number;        // differs from that of every other block that ever ran
};
const Thread& thread();
const Block& block();
void sync_threads(const char* where);
void sync_warp(const char* where);
// Meets `threads` threads that name the same of 16 barriers; 0 is that of sync_threads. arrive_at() does
// not stay for the others.
void meet_at(int barrier, int threads, const char* where);
void arrive_at(int barrier, int threads);
// Returns when ready(what). Whoever makes it so need not say.
void wait_until(bool (*ready)(const void*), const void* what, const char* where);
// Work beside the threads, done once none of them can move, in any order, or now and then before.
void do_later(std::function<void()> work);
// Meets the other lanes of the warp: each leaves up to 32 bytes, then reads those of any lane.
void exchange(const void* mine, size_t bytes);
void read_lane(int lane, void* to, size_t bytes);
void end_exchange();

// Copies of this thread: queued, closed into a group, landed but for the newest groups.
void copy_later(void* to, const void* from, int bytes);
void commit_copies();
void await_copies(int newest_groups);

[[noreturn]] void die(const char* what);
// Dies unless `bytes` at `p` are the block's shared memory, and aligned to their number.
void check_shared(const void* p, size_t bytes, const char* who);

}  // namespace hl::emulator

#define threadIdx (::hl::emulator::thread().index)
#define blockIdx (::hl::emulator::block().index)
#define blockDim (::hl::emulator::block().size)
#define gridDim (::hl::emulator::block().grid)

inline void __syncthreads() { hl::emulator::sync_threads("__syncthreads"); }

#define HL_SHARED(T, name) T* const name = reinterpret_cast<T*>(::hl::emulator::block().shared)

#define HL_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                            \
  do {                                                                                       \
    auto hl_body = [=] { (kernel)(__VA_ARGS__); };                                           \
    if (!::hl::emulator::launch(static_cast<cudaStream_t>(stream), hl_body, (grid), (block), \
                                size_t(shared_bytes), #kernel))                              \
      ::hl::cuda::note_failure(cudaErrorInvalidConfiguration, #kernel, __FILE__, __LINE__);  \
  } while (0)

namespace hl::cuda {

void note_failure(cudaError_t error, const char* what, const char* file, int line);

inline int lane() { return int(threadIdx.x & 31); }

template <class T>
T shuffle_from(T v, int source) {
  emulator::exchange(&v, sizeof v);
  emulator::read_lane(source & 31, &v, sizeof v);
  emulator::end_exchange();
  return v;
}
template <class T>
T shuffle_xor(T v, int mask) {
  return shuffle_from(v, lane() ^ mask);
}
template <class T>
T shuffle_up(T v, int by) {
  return shuffle_from(v, lane() >= by ? lane() - by : lane());
}
inline unsigned ballot(bool flag) {
  unsigned all = 0;
  emulator::exchange(&flag, sizeof flag);
  for (int i = 0; i < 32; ++i) {
    bool theirs = false;
    emulator::read_lane(i, &theirs, sizeof theirs);
    all |= unsigned(theirs) << i;
  }
  emulator::end_exchange();
  return all;
}
inline void sync_warp() { emulator::sync_warp("__syncwarp"); }

inline uint32_t mul_high(uint32_t a, uint32_t b) { return uint32_t((uint64_t(a) * b) >> 32); }
inline uint64_t mul_high(uint64_t a, uint64_t b) {
  return uint64_t((static_cast<unsigned __int128>(a) * b) >> 64);
}

inline float product(float a, float b) { return a * b; }
inline double product(double a, double b) { return a * b; }

inline int anew(int v) { return v; }

inline float fast_exp2(float v) { return v < -126 ? 0 : ::exp2f(v); }

}  // namespace hl::cuda

inline int atomicAdd(int* at, int v) {
  const int before = *at;
  *at += v;
  return before;
}
inline unsigned atomicAdd(unsigned* at, unsigned v) {
  const unsigned before = *at;
  *at += v;
  return before;
}
inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long v) {
  const unsigned long long before = *at;
  *at += v;
  return before;
}
inline int atomicMin(int* at, int v) {
  const int before = *at;
  if (v < before) *at = v;
  return before;
}
inline int atomicMax(int* at, int v) {
  const int before = *at;
  if (v > before) *at = v;
  return before;
}
inline unsigned long long atomicMax(unsigned long long* at, unsigned long long v) {
  const unsigned long long before = *at;
  if (v > before) *at = v;
  return before;
}
