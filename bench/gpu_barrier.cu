// How long all blocks of a grid wait for each other: the floor of a recurrent kernel that stays on the
// card for all time steps. bench/gpu_check.py compiles and runs it; one line of JSON.
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <stdio.h>

#include "cuda/cooperative.h"

void hl::cuda::note_failure(cudaError_t, const char*, const char*, int) {}

namespace {

// The barrier of recurrent layers.
__global__ void by_counter(unsigned* counter, int rounds) {
  const hl::cuda::GridBarrier barrier = {counter, gridDim.x};
  for (int r = 1; r <= rounds; ++r) {
    barrier.arrive();
    barrier.wait(unsigned(r));
  }
}

__global__ void by_groups(unsigned*, int rounds) {
  for (int r = 0; r < rounds; ++r) cooperative_groups::this_grid().sync();
}

bool check(cudaError_t e) {
  if (e != cudaSuccess) printf("{\"error\": \"%s\"}\n", cudaGetErrorString(e));
  return e == cudaSuccess;
}

// Nanoseconds of one barrier, the shortest of five runs; negative: it failed.
double measure(const void* kernel, int blocks, unsigned* counter) {
  int rounds = 2000;
  void* args[] = {&counter, &rounds};
  cudaEvent_t start, stop;
  cudaEventCreate(&start), cudaEventCreate(&stop);
  float best = 1e30f;
  for (int run = 0; run < 6; ++run) {
    cudaMemset(counter, 0, sizeof *counter);
    cudaEventRecord(start);
    if (!check(cudaLaunchCooperativeKernel(kernel, dim3(blocks), dim3(256), args, 0, nullptr))) {
      return -1;
    }
    cudaEventRecord(stop);
    if (!check(cudaEventSynchronize(stop))) return -1;
    float ms = 0;
    cudaEventElapsedTime(&ms, start, stop);
    if (run > 0 && ms < best) best = ms;
  }
  return double(best) * 1e6 / rounds;
}

}  // namespace

int main() {
  int multiprocessors = 0;
  unsigned* counter = nullptr;
  if (!check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0)) ||
      !check(cudaMalloc(&counter, sizeof *counter))) {
    return 1;
  }
  const double own = measure(reinterpret_cast<const void*>(&by_counter), multiprocessors, counter);
  const double theirs =
      measure(reinterpret_cast<const void*>(&by_groups), multiprocessors, counter);
  printf("{\"blocks\": %d, \"counter_ns\": %.0f, \"grid_sync_ns\": %.0f}\n", multiprocessors, own,
         theirs);
  return own < 0 || theirs < 0;
}
