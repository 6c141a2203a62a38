#include "cuda/emulator/capture.h"

#include <utility>
#include <vector>

#include "cuda/emulator/emulator.h"

struct EmulatedGraph {
  std::vector<std::function<void()>> nodes;
};
struct EmulatedStream {
  EmulatedGraph* graph = nullptr;  // while it is captured
  bool spoilt = false;
  bool destroyed = false;
};

namespace hl::emulator {
namespace {
thread_local EmulatedStream* t_capturing = nullptr;
thread_local cudaStreamCaptureMode t_mode = cudaStreamCaptureModeGlobal;
}  // namespace

// Up to 2 a handle is the legacy or the thread's default stream.
bool is_captured(cudaStream_t stream) {
  if (uintptr_t(stream) <= 2) return false;
  if (stream->destroyed) die("a stream that was destroyed is used");
  return stream->graph;
}

bool record(cudaStream_t stream, std::function<void()> work) {
  if (!is_captured(stream)) return false;
  stream->graph->nodes.push_back(std::move(work));
  return true;
}

cudaError_t unless_captured(cudaStream_t stream) {
  if (!is_captured(stream)) return cudaSuccess;
  stream->spoilt = true;
  return answer(cudaErrorStreamCaptureUnsupported);
}

cudaError_t unless_capturing() {
  if (!t_capturing || t_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  t_capturing->spoilt = true;
  return answer(cudaErrorStreamCaptureUnsupported);
}

}  // namespace hl::emulator

using hl::emulator::answer;
using hl::emulator::t_capturing;
using hl::emulator::t_mode;

cudaError_t cudaStreamCreate(cudaStream_t* s) {
  *s = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return cudaStreamCreate(s); }
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  hl::emulator::is_captured(s);
  s->destroyed = true;  // kept, to tell of a use
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (const cudaError_t e = hl::emulator::unless_captured(s)) return e;
  return hl::emulator::unless_capturing();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  if (!s) return answer(cudaErrorStreamCaptureUnsupported);
  if (s->graph) return answer(cudaErrorIllegalState);
  s->graph = new EmulatedGraph;
  s->spoilt = false;
  t_capturing = s;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!s || !s->graph) return answer(cudaErrorIllegalState);
  EmulatedGraph* made = std::exchange(s->graph, nullptr);
  t_capturing = nullptr;
  if (s->spoilt) {
    delete made;
    return answer(cudaErrorStreamCaptureInvalidated);
  }
  *graph = made;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, t_mode);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = graph->nodes.size();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (const cudaError_t e = hl::emulator::unless_captured(stream)) return e;
  for (const auto& node : exec->nodes) node();
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return cudaGraphDestroy(exec); }
