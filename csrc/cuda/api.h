// The CUDA half as the rest sees it: a shared library of its own, loaded on first use, whose one
// symbol hl_cuda_api() answers with this table. Plain C types only: the two sides may come from
// different compilers, and where the library is absent nothing of CUDA is needed.
//
// Calls return 0, or CUDA's error number with a message left for last_error() on the same thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels.h"

namespace hl {

constexpr int kGpuAbi = 1;

struct GpuInfo {
  char name[256];
  int major, minor;  // compute capability
  int multiprocessors;
  int64_t memory;       // bytes
  int driver, runtime;  // CUDA versions, 13000 = 13.0
};

struct GpuApi {
  int abi;
  size_t table_bytes[3];  // sizeof OpTable<float>, <double>, <void>: both sides mean the same list
  const char* build;      // what it was built for: "nvcc 13.0.88, sm_80 sm_90", "emulator"
  int emulated;

  const OpTable<float>* f32;
  const OpTable<double>* f64;
  const OpTable<void>* raw;

  int (*device_count)(int* count);
  int (*device_info)(int device, GpuInfo* info);
  int (*memory_info)(int device, int64_t* free, int64_t* total);

  // Stream-ordered: a block may be freed while kernels that use it are still queued on the stream.
  int (*allocate)(int device, void* stream, int64_t bytes, void** block);
  int (*release)(int device, void* stream, void* block);
  int (*trim)(int device);  // unused blocks back to the driver
  int (*copy)(int device, void* stream, void* to, const void* from, int64_t bytes);
  int (*clear)(int device, void* stream, void* at, int value, int64_t bytes);
  int (*use)(int device);  // the calling thread's current device

  int (*stream_create)(int device, void** stream);  // blocking: ordered with the legacy stream
  int (*stream_destroy)(int device, void* stream);
  int (*stream_wait)(int device, void* stream, void* for_stream);  // by an event
  int (*synchronize)(int device, void* stream);
  int (*fence)(int device);  // all work of the device, on any stream
  int (*event_create)(int device, void** event);
  int (*event_destroy)(int device, void* event);
  int (*event_record)(int device, void* event, void* stream);
  int (*event_elapsed)(int device, void* start, void* stop, float* milliseconds);

  int (*graph_begin)(int device, void* stream);
  int (*graph_end)(int device, void* stream, void** graph);
  int (*graph_launch)(int device, void* graph, void* stream);
  int (*graph_destroy)(int device, void* graph);

  // The first failure on this thread since it was last asked, or null. `error` gets CUDA's number.
  const char* (*last_error)(int* error);

  // What can run of each kernel: fills rows, returns how many there are.
  struct Kernel {
    const char* name;
    unsigned types;
    const char* layer;  // "simt", "mma", "sm90a"
    const char* hash;   // of its source, see source_hash.py; "" where the build has none
  };
  int (*kernels)(Kernel* rows, int capacity);
  // The op tables anew, with the entries of those rows whose flag is set. Before any kernel runs.
  void (*choose)(const unsigned char* flags);
};

constexpr int kGpuOutOfMemory = 2;

}  // namespace hl

extern "C" const hl::GpuApi* hl_cuda_api(int abi);
