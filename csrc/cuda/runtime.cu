#include "cuda/runtime.h"

#include <stdio.h>
#include <string.h>

#include "cuda/gpu.h"
#include "cuda/graph.h"

#ifndef HL_CUDA_BUILD
#define HL_CUDA_BUILD "unknown"
#endif

namespace hl::cuda {
namespace {

thread_local int t_error = 0;
thread_local char t_message[512];

const char* last_error(int* error) {
  *error = t_error;
  if (t_error == 0) return nullptr;
  t_error = 0;
  return t_message;
}

#define HL_TRY(call)                    \
  do {                                  \
    HL_CHECK(call);                     \
    if (status() != 0) return status(); \
  } while (0)

cudaStream_t stream_of(void* s) { return static_cast<cudaStream_t>(s); }
cudaEvent_t event_of(void* e) { return static_cast<cudaEvent_t>(e); }

int device_count(int* count) {
  *count = 0;
  HL_TRY(cudaGetDeviceCount(count));
  return 0;
}

int device_info(int device, GpuInfo* info) {
  cudaDeviceProp p;
  HL_TRY(cudaGetDeviceProperties(&p, device));
  snprintf(info->name, sizeof info->name, "%s", p.name);
  info->major = p.major;
  info->minor = p.minor;
  info->multiprocessors = p.multiProcessorCount;
  info->memory = int64_t(p.totalGlobalMem);
  HL_TRY(cudaDriverGetVersion(&info->driver));
  HL_TRY(cudaRuntimeGetVersion(&info->runtime));
  return 0;
}

int memory_info(int device, int64_t* free, int64_t* total) {
  size_t f = 0, t = 0;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaMemGetInfo(&f, &t));
  *free = int64_t(f), *total = int64_t(t);
  return 0;
}

// Freed blocks stay with the driver's pool: a training loop asks for the same sizes at every step.
int keep_freed_blocks(int device) {
  static bool done[64] = {};
  if (device >= 64 || done[device]) return 0;
  cudaMemPool_t pool;
  uint64_t threshold = UINT64_MAX;
  HL_TRY(cudaDeviceGetDefaultMemPool(&pool, device));
  HL_TRY(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  done[device] = true;
  return 0;
}

int trim(int device) {
  cudaMemPool_t pool;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaDeviceSynchronize());
  HL_TRY(cudaDeviceGetDefaultMemPool(&pool, device));
  HL_TRY(cudaMemPoolTrimTo(pool, 0));
  return 0;
}

int allocate(int device, void* stream, int64_t bytes, void** block) {
  *block = nullptr;
  if (take_graph_memory(stream, bytes, block)) return status();
  HL_TRY(cudaSetDevice(device));
  if (keep_freed_blocks(device) != 0) return status();
  cudaError_t error = cudaMallocAsync(block, size_t(bytes), stream_of(stream));
  if (error == cudaErrorMemoryAllocation) {
    // Blocks of other sizes or streams may hold the room: give them back once, then ask again.
    (void)cudaGetLastError();
    if (trim(device) != 0) return status();
    error = cudaMallocAsync(block, size_t(bytes), stream_of(stream));
    if (error == cudaErrorMemoryAllocation) (void)cudaGetLastError();
  }
  if (error != cudaSuccess) note_failure(error, "cudaMallocAsync", __FILE__, __LINE__);
  return status();
}

int release(int device, void* stream, void* block) {
  if (give_back_graph_memory(block)) return status();
  const Aside aside;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaFreeAsync(block, stream_of(stream)));
  return 0;
}

int copy(int device, void* stream, void* to, const void* from, int64_t bytes) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDefault, stream_of(stream)));
  return 0;
}

int clear(int device, void* stream, void* at, int value, int64_t bytes) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaMemsetAsync(at, value, size_t(bytes), stream_of(stream)));
  return 0;
}

int use(int device) {
  HL_TRY(cudaSetDevice(device));
  return 0;
}

int stream_create(int device, void** stream) {
  cudaStream_t s;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaStreamCreate(&s));
  *stream = s;
  return 0;
}
int stream_destroy(int device, void* stream) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaStreamDestroy(stream_of(stream)));
  return 0;
}
int event_create(int device, void** event) {
  cudaEvent_t e;
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaEventCreate(&e));
  *event = e;
  return 0;
}
int event_destroy(int device, void* event) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaEventDestroy(event_of(event)));
  return 0;
}
int event_record(int device, void* event, void* stream) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaEventRecord(event_of(event), stream_of(stream)));
  return 0;
}
int event_elapsed(int device, void* start, void* stop, float* milliseconds) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaEventSynchronize(event_of(stop)));
  HL_TRY(cudaEventElapsedTime(milliseconds, event_of(start), event_of(stop)));
  return 0;
}
int stream_wait(int device, void* stream, void* for_stream) {
  void* e = nullptr;
  if (event_create(device, &e) != 0 || event_record(device, e, for_stream) != 0) return status();
  HL_CHECK(cudaStreamWaitEvent(stream_of(stream), event_of(e), 0));
  HL_CHECK(cudaEventDestroy(event_of(e)));
  return status();
}
int synchronize(int device, void* stream) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaStreamSynchronize(stream_of(stream)));
  return 0;
}

int fence(int device) {
  HL_TRY(cudaSetDevice(device));
  HL_TRY(cudaDeviceSynchronize());
  return 0;
}

}  // namespace

void note_failure(cudaError_t error, const char* what, const char* file, int line) {
  if (t_error != 0) return;
  const char* slash = strrchr(file, '/');
  t_error = int(error);
  snprintf(t_message, sizeof t_message, "%s: %s, %s (%s:%d)", what, cudaGetErrorName(error),
           cudaGetErrorString(error), slash ? slash + 1 : file, line);
}

int status() { return t_error; }

Card card() {
  int device = 0;
  Card c = {};
  HL_CHECK(cudaGetDevice(&device));
  HL_CHECK(cudaDeviceGetAttribute(&c.major, cudaDevAttrComputeCapabilityMajor, device));
  HL_CHECK(cudaDeviceGetAttribute(&c.minor, cudaDevAttrComputeCapabilityMinor, device));
  HL_CHECK(cudaDeviceGetAttribute(&c.multiprocessors, cudaDevAttrMultiProcessorCount, device));
  return c;
}

GpuApi runtime_api() {
  GpuApi api = {};
  api.build = HL_CUDA_BUILD;
#ifdef HL_EMULATOR
  api.emulated = 1;
#endif
  api.device_count = &device_count;
  api.device_info = &device_info;
  api.memory_info = &memory_info;
  api.allocate = &allocate;
  api.release = &release;
  api.trim = &trim;
  api.copy = &copy;
  api.clear = &clear;
  api.use = &use;
  api.stream_create = &stream_create;
  api.stream_destroy = &stream_destroy;
  api.stream_wait = &stream_wait;
  api.synchronize = &synchronize;
  api.fence = &fence;
  api.event_create = &event_create;
  api.event_destroy = &event_destroy;
  api.event_record = &event_record;
  api.event_elapsed = &event_elapsed;
  api.last_error = &last_error;
  add_graphs(api);
  return api;
}

}  // namespace hl::cuda
