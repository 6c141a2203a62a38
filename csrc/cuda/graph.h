// What kernels see of graphs: work that is recorded once, not run, and then replayed many times.
//
// A replay runs the same launches with the same arguments. What changes from one to the next is read
// from device memory that belongs to the graph and is written before a replay: the optimiser's numbers
// (upload(), refreshed) and how far random numbers have moved on (Draw). A capture is a state of the
// thread here as in CUDA.
#pragma once

#include "context.h"
#include "cuda/api.h"

namespace hl::cuda {

// Whether this thread's launches are being recorded.
bool recording();
// Whether this call only renews what upload() put into a graph, and launches nothing.
bool refreshing();

// `bytes` of the host where kernels of this call can read them: in the call's scratch, or, while a graph
// is recorded, in memory that stays with it. The host may forget them on return.
const void* upload(const Ctx& ctx, const void* host, int64_t bytes);

// Seed and call of random numbers as a kernel is given them (cuda/philox.h).
struct Draw;
Draw draw_of(uint64_t seed, uint64_t call);

// For runtime.cu: memory of the graph under capture, and of those that there are. take() answers false
// where the stream is not captured, give_back() where the block is no graph's.
bool take_graph_memory(void* stream, int64_t bytes, void** block);
bool give_back_graph_memory(void* block);

// Calls on other streams that a capture on this thread would refuse are fine within its scope.
class Aside {
 public:
  Aside();
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

 private:
  int mode_;
};

void add_graphs(GpuApi& api);

}  // namespace hl::cuda
