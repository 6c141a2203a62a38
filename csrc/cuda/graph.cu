#include "cuda/graph.h"

#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/loop.h"
#include "cuda/philox.h"
#include "cuda/runtime.h"

namespace hl::cuda {
namespace {

constexpr int64_t kRound = 512;  // bytes that sizes of blocks are multiples of

// The blocks that a graph works in. They come from the stream that the capture stands beside, and stay
// until the graph is gone and nobody holds an array in them.
struct Memory {
  int device;
  cudaStream_t home;
  std::vector<void*> blocks;
  std::multimap<int64_t, void*> unused;  // what the capture gave back and may have again
  int64_t held = 0;
  bool has_graph = true;
  int* bad_index = nullptr;  // not 0 after an index out of range; null where none is looked at
};

struct Capture {
  cudaStream_t stream;
  Memory* memory;
  // Where a draw of random numbers finds how far replays have moved it on, and whether a kernel asked.
  struct Moved {
    const uint64_t* words;
    bool followed;
  };
  std::map<std::pair<uint64_t, uint64_t>, Moved> draws;
  void* uploaded = nullptr;
};

struct Graph {
  cudaGraphExec_t exec;
  cudaEvent_t done;
  Memory* memory;
  int* bad_index;  // the host's copy, pinned: as it was some launches ago
};

struct Owner {
  Memory* memory;
  int64_t bytes;
};

std::mutex g_lock;
// Never destroyed: arrays may go after the static objects.
std::unordered_map<void*, Owner>& owners() {
  static auto& map = *new std::unordered_map<void*, Owner>;
  return map;
}
thread_local Capture* t_capture = nullptr;
thread_local void* t_refresh = nullptr;

#define HL_TRY(call)                    \
  do {                                  \
    HL_CHECK(call);                     \
    if (status() != 0) return status(); \
  } while (0)

// A block of its own, which no call of the capture has had before.
void* fresh(Memory& m, int64_t bytes) {
  const Aside aside;
  void* block = nullptr;
  const cudaError_t error = cudaMallocAsync(&block, size_t(bytes), m.home);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    note_failure(error, "cudaMallocAsync", __FILE__, __LINE__);
    return nullptr;
  }
  const std::lock_guard<std::mutex> held(g_lock);
  m.blocks.push_back(block);
  owners()[block] = {&m, bytes};
  return block;
}

void free_if_unused(Memory* m) {
  if (m->has_graph || m->held > 0) return;
  const Aside aside;
  HL_CHECK(cudaSetDevice(m->device));
  for (void* block : m->blocks) {
    owners().erase(block);
    HL_CHECK(cudaFreeAsync(block, m->home));
  }
  delete m;
}

void let_go(Memory* m) {
  const std::lock_guard<std::mutex> held(g_lock);
  m->has_graph = false;
  m->unused.clear();
  free_if_unused(m);
}

int graph_begin(int device, void* home, void** stream) {
  cudaStream_t s = nullptr;
  *stream = nullptr;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  HL_CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
  if (status() != 0) {
    (void)cudaStreamDestroy(s);
    return status();
  }
  t_capture =
      new Capture{s, new Memory{device, static_cast<cudaStream_t>(home), {}, {}}, {}, nullptr};
  *stream = s;
  return 0;
}

// Instantiates what was captured; null where it cannot be.
Graph* instantiate(cudaGraph_t captured, Memory* memory) {
  cudaGraphExec_t exec = nullptr;
  cudaEvent_t done = nullptr;
  HL_CHECK(cudaGraphInstantiate(&exec, captured, 0));
  if (status() != 0) return nullptr;
  HL_CHECK(cudaEventCreate(&done));
  int* bad_index = nullptr;
  if (memory->bad_index) {
    HL_CHECK(cudaMallocHost(reinterpret_cast<void**>(&bad_index), sizeof *bad_index));
    if (bad_index) *bad_index = 0;
  }
  return new Graph{exec, done, memory, bad_index};
}

int graph_end(int keep, void** graph, GraphSummary* what) {
  *graph = nullptr;
  *what = {};
  Capture* c = t_capture;
  if (!c) return 0;
  t_capture = nullptr;
  cudaGraph_t captured = nullptr;
  const cudaError_t error = cudaStreamEndCapture(c->stream, &captured);
  if (error != cudaSuccess) (void)cudaGetLastError();
  if (keep && error != cudaSuccess) {
    note_failure(error, "cudaStreamEndCapture", __FILE__, __LINE__);
  }
  if (keep && captured) {
    size_t nodes = 0;
    HL_CHECK(cudaGraphGetNodes(captured, nullptr, &nodes));
    what->nodes = int64_t(nodes);
    for (const auto& draw : c->draws) what->lost_draws += !draw.second.followed;
    if (nodes > 0 && what->lost_draws == 0) *graph = instantiate(captured, c->memory);
  }
  if (captured) HL_CHECK(cudaGraphDestroy(captured));
  HL_CHECK(cudaStreamDestroy(c->stream));
  if (!*graph) let_go(c->memory);
  delete c;
  return status();
}

int graph_launch(int device, void* graph, void* stream) {
  const Graph& g = *static_cast<Graph*>(graph);
  const cudaStream_t s = static_cast<cudaStream_t>(stream);
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaGraphLaunch(g.exec, s));
  if (g.bad_index) {
    HL_TRY(
        cudaMemcpyAsync(g.bad_index, g.memory->bad_index, sizeof(int), cudaMemcpyDeviceToHost, s));
  }
  HL_TRY(cudaEventRecord(g.done, s));
  return 0;
}

int graph_check(int device, void* graph, void* stream) {
  const Graph& g = *static_cast<Graph*>(graph);
  const cudaStream_t s = static_cast<cudaStream_t>(stream);
  if (!g.bad_index || *static_cast<volatile int*>(g.bad_index) == 0) return 0;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaStreamSynchronize(s));  // no copy is under way that would tell of it again
  HL_TRY(cudaMemsetAsync(g.memory->bad_index, 0, sizeof(int), s));
  *g.bad_index = 0;
  return kGpuBadIndex;
}

int graph_destroy(int device, void* graph) {
  Graph* g = static_cast<Graph*>(graph);
  {
    const Aside aside;
    HL_CHECK(cudaSetDevice(device));
    HL_CHECK(cudaStreamWaitEvent(g->memory->home, g->done, 0));  // before the blocks are free
    HL_CHECK(cudaGraphExecDestroy(g->exec));
    HL_CHECK(cudaEventDestroy(g->done));
    if (g->bad_index) {
      HL_CHECK(cudaStreamSynchronize(g->memory->home));
      HL_CHECK(cudaFreeHost(g->bad_index));
    }
  }
  let_go(g->memory);
  delete g;
  return status();
}

int graph_words(int64_t count, void** words) {
  *words = fresh(*t_capture->memory, count * int64_t(sizeof(uint64_t)));
  return status();
}

int graph_draw(uint64_t seed, uint64_t call, void* words, int must_follow) {
  t_capture->draws[{seed, call}] = {static_cast<const uint64_t*>(words), !must_follow};
  return 0;
}

// From the host into a block of the graph's own, now and not when it is replayed.
void* kept_copy(const void* from, int64_t bytes) {
  void* block = fresh(*t_capture->memory, bytes);
  if (!block) return nullptr;
  const Aside aside;
  HL_CHECK(
      cudaMemcpyAsync(block, from, size_t(bytes), cudaMemcpyHostToDevice, t_capture->memory->home));
  return block;
}

int graph_copy(void* to, const void* from, int64_t bytes) {
  void* kept = kept_copy(from, bytes);
  if (!kept) return status();
  HL_TRY(cudaMemcpyAsync(to, kept, size_t(bytes), cudaMemcpyDeviceToDevice, t_capture->stream));
  return 0;
}

int graph_guard(const int64_t* index, int64_t count, int64_t limit, int64_t allowed, int64_t* out) {
  Memory& m = *t_capture->memory;
  if (!m.bad_index) {
    const int none = 0;
    m.bad_index = static_cast<int*>(kept_copy(&none, sizeof none));
    if (!m.bad_index) return status();
  }
  int* bad = m.bad_index;
  Ctx ctx = {};
  ctx.stream = t_capture->stream;
  each(ctx, count, [=] __device__(int64_t i) {
    const bool good = uint64_t(index[i]) < uint64_t(limit) || index[i] == allowed;
    out[i] = good ? index[i] : allowed;
    if (!good) atomicMax(bad, 1);
  });
  return status();
}

void* graph_uploaded() { return t_capture ? t_capture->uploaded : nullptr; }
void graph_refresh(void* to) { t_refresh = to; }

}  // namespace

Aside::Aside() {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  HL_CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
  mode_ = int(mode);
}
Aside::~Aside() {
  cudaStreamCaptureMode mode = cudaStreamCaptureMode(mode_);
  HL_CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
}

bool recording() { return t_capture != nullptr; }
bool refreshing() { return t_refresh != nullptr; }

const void* upload(const Ctx& ctx, const void* host, int64_t bytes) {
  if (recording()) return t_capture->uploaded = kept_copy(host, bytes > 0 ? bytes : 1);
  void* to = refreshing() ? t_refresh : ctx.shared;
  if (bytes > 0) {
    HL_CHECK(cudaMemcpyAsync(to, host, size_t(bytes), cudaMemcpyDefault,
                             static_cast<cudaStream_t>(ctx.stream)));
  }
  return to;
}

Draw draw_of(uint64_t seed, uint64_t call) {
  if (!recording()) return {seed, call, nullptr};
  const auto found = t_capture->draws.find({seed, call});
  if (found == t_capture->draws.end()) return {seed, call, nullptr};
  found->second.followed = true;
  return {seed, call, found->second.words};
}

bool take_graph_memory(void* stream, int64_t bytes, void** block) {
  if (!t_capture || t_capture->stream != stream) return false;
  Memory& m = *t_capture->memory;
  const int64_t wanted = ceil_div(bytes, kRound) * kRound;
  const auto found = m.unused.lower_bound(wanted);
  if (found != m.unused.end() && found->first <= 2 * wanted) {
    *block = found->second;
    m.unused.erase(found);
  } else {
    *block = fresh(m, wanted);
  }
  if (*block) {
    const std::lock_guard<std::mutex> held(g_lock);
    ++m.held;
  }
  return true;
}

bool give_back_graph_memory(void* block) {
  const std::lock_guard<std::mutex> held(g_lock);
  if (owners().empty()) return false;
  const auto found = owners().find(block);
  if (found == owners().end()) return false;
  const Owner owner = found->second;
  Memory* m = owner.memory;
  --m->held;
  // What dies after the capture stays as it is: replays go on writing there.
  if (t_capture && t_capture->memory == m) m->unused.insert({owner.bytes, block});
  free_if_unused(m);
  return true;
}

void add_graphs(GpuApi& api) {
  api.graph_begin = &graph_begin;
  api.graph_end = &graph_end;
  api.graph_launch = &graph_launch;
  api.graph_check = &graph_check;
  api.graph_destroy = &graph_destroy;
  api.graph_words = &graph_words;
  api.graph_draw = &graph_draw;
  api.graph_copy = &graph_copy;
  api.graph_guard = &graph_guard;
  api.graph_uploaded = &graph_uploaded;
  api.graph_refresh = &graph_refresh;
}

}  // namespace hl::cuda
