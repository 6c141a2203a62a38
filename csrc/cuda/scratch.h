// Device memory for the kernels of one call, where its plan cannot know how much: it is freed behind
// them in the stream.
#pragma once

#include "context.h"
#include "cuda/gpu.h"
#include "cuda/graph.h"

namespace hl::cuda {

class Scratch {
 public:
  Scratch(const Ctx& ctx, int64_t bytes) : stream_(static_cast<cudaStream_t>(ctx.stream)) {
    if (take_graph_memory(ctx.stream, bytes, &memory_)) return;
    HL_CHECK(cudaMallocAsync(&memory_, size_t(bytes), stream_));
  }
  ~Scratch() {
    if (memory_ && !give_back_graph_memory(memory_)) HL_CHECK(cudaFreeAsync(memory_, stream_));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `bytes`; null if there is no memory: nothing can be launched then.
  template <class T>
  T* take(int64_t count) {
    if (!memory_) return nullptr;
    T* at = reinterpret_cast<T*>(static_cast<unsigned char*>(memory_) + used_);
    used_ += aligned(count * int64_t(sizeof(T)));
    return at;
  }

 private:
  cudaStream_t stream_;
  void* memory_ = nullptr;
  int64_t used_ = 0;
};

}  // namespace hl::cuda
