#include "cuda/emulator/cudart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chrono>

#include "cuda/emulator/capture.h"
#include "cuda/emulator/memory.h"
#include "cuda/emulator/together.h"

// Everything runs at once and in order, so streams and events have nothing to do, unless a stream is
// captured: see capture.cpp.
struct EmulatedEvent {
  std::chrono::steady_clock::time_point at;
};
struct EmulatedPool {};

namespace {
constexpr int kMultiprocessors = 4;
thread_local cudaError_t t_last = cudaSuccess;
EmulatedPool g_pool;
}  // namespace

namespace hl::emulator {
int capability() {
  const char* text = getenv("HANDLOOM_EMULATOR_CAPABILITY");
  int major = 8, minor = 0;
  if (text) sscanf(text, "%d.%d", &major, &minor);
  return 10 * major + minor;
}

cudaError_t answer(cudaError_t e) {
  if (e != cudaSuccess) t_last = e;
  return e;
}
}  // namespace hl::emulator
namespace hl::emulator {
int multiprocessors() { return kMultiprocessors; }
}  // namespace hl::emulator
using hl::emulator::answer;

const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorIllegalState:
      return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaErrorInvalidValue";
  }
}
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorIllegalState:
      return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return "invalid argument";
  }
}
cudaError_t cudaGetLastError() {
  const cudaError_t e = t_last;
  t_last = cudaSuccess;
  return e;
}

cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device != 0) return answer(cudaErrorInvalidDevice);
  snprintf(p->name, sizeof p->name, "emulated on the CPU");
  p->major = hl::emulator::capability() / 10, p->minor = hl::emulator::capability() % 10;
  p->multiProcessorCount = kMultiprocessors;
  p->totalGlobalMem = hl::emulator::capacity();
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int device) {
  if (device != 0) return answer(cudaErrorInvalidDevice);
  const int capability = hl::emulator::capability();
  *value = what == cudaDevAttrMultiProcessorCount      ? kMultiprocessors
           : what == cudaDevAttrComputeCapabilityMinor ? capability % 10
                                                       : capability / 10;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : answer(cudaErrorInvalidDevice);
}
cudaError_t cudaDriverGetVersion(int* v) {
  *v = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return hl::emulator::unless_capturing(); }

// A card would make allocations and frees on a captured stream nodes of the graph. handloom has memory
// of its own for graphs, so here they are mistakes.
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  *p = nullptr;
  if (const cudaError_t e = hl::emulator::unless_captured(stream)) return e;
  *p = hl::emulator::allocate(bytes);
  return *p ? cudaSuccess : answer(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  if (const cudaError_t e = hl::emulator::unless_captured(stream)) return e;
  if (p && !hl::emulator::release(p)) {
    fprintf(stderr, "emulator: a kernel wrote past the end of its array\n");
    __builtin_trap();
  }
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  if (const cudaError_t e = hl::emulator::unless_capturing()) return e;
  *p = malloc(bytes);
  return *p ? cudaSuccess : answer(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  free(p);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = hl::emulator::capacity();
  *free = *total - hl::emulator::in_use();
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = &g_pool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return hl::emulator::unless_capturing(); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const bool on_to = hl::emulator::owns(to), on_from = hl::emulator::owns(from);
  const bool want_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool want_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && (on_to != want_to || on_from != want_from)) {
    return answer(cudaErrorInvalidValue);
  }
  const auto work = [=] {
    const hl::emulator::MemoryOpen open;
    memmove(to, from, bytes);  // a host address is read when this runs, as it is by a card
  };
  if (hl::emulator::record(stream, work)) return cudaSuccess;
  work();
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* at, int value, size_t bytes, cudaStream_t stream) {
  if (!hl::emulator::owns(at)) return answer(cudaErrorInvalidValue);
  const auto work = [=] {
    const hl::emulator::MemoryOpen open;
    memset(at, value, bytes);
  };
  if (hl::emulator::record(stream, work)) return cudaSuccess;
  work();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
  return hl::emulator::unless_captured(stream);
}
cudaError_t cudaEventCreate(cudaEvent_t* e) {
  *e = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream) {
  if (const cudaError_t refused = hl::emulator::unless_captured(stream)) return refused;
  e->at = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return hl::emulator::unless_capturing(); }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) {
  *ms = std::chrono::duration<float, std::milli>(b->at - a->at).count();
  return cudaSuccess;
}
