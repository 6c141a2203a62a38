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

constexpr int kGpuAbi = 3;

struct GpuInfo {
  char name[256];
  int major, minor;  // compute capability
  int multiprocessors;
  int64_t memory;       // bytes
  int driver, runtime;  // CUDA versions, 13000 = 13.0
};

// The product of 16-bit matrices, as cuda/gemm16.h defines it.
struct Gemm16 {
  enum Type { kBf16, kF16, kFloat32 };
  enum Activation { kNone, kRelu, kGelu };
  Type type;    // of a, b and residual
  Type c_type;  // the same, or kFloat32
  Activation activation;
  int64_t M, N, K;
  const void *a, *b;
  const float* bias;     // N numbers, or null
  const void* residual;  // M x N numbers, or null
  void* c;
};

// What a capture came to.
struct GraphSummary {
  int64_t nodes;
  int64_t
      lost_draws;  // draws of random numbers that no kernel asked for, so that replays repeat them
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

  // What this thread queues on `stream` from begin to end is recorded, not run; launches run it. Memory
  // that is allocated on it stays with the graph. `home` is the stream that launches come after.
  int (*graph_begin)(int device, void* home, void** stream);
  // Null where nothing was recorded, draws were lost, or it is not to be kept.
  int (*graph_end)(int keep, void** graph, GraphSummary* what);
  int (*graph_launch)(int device, void* graph, void* stream);
  int (*graph_check)(int device, void* graph, void* stream);  // kGpuBadIndex, of an earlier launch
  int (*graph_destroy)(int device, void* graph);
  // While one is recorded: words of its memory; a draw of random numbers whose seed and call are moved on
  // by the two words at `words`; a copy from the host that replays repeat; where the last call put what
  // it uploaded.
  int (*graph_words)(int64_t count, void** words);
  int (*graph_draw)(uint64_t seed, uint64_t call, void* words, int must_follow);
  int (*graph_copy)(void* to, const void* from, int64_t bytes);
  // out = index where it is in [0, limit) or `allowed`, else `allowed`, of which graph_check tells.
  int (*graph_guard)(const int64_t* index, int64_t count, int64_t limit, int64_t allowed,
                     int64_t* out);
  void* (*graph_uploaded)(void);
  // Until it is called with null, this thread's calls only renew what they uploaded, at `to`.
  void (*graph_refresh)(void* to);

  int (*gemm16)(int device, void* stream, const Gemm16* g);  // compute capability 8.0 on

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
constexpr int kGpuCapturing = 900;  // and 901: what a capture does not allow
constexpr int kGpuBadIndex = -1;

}  // namespace hl

extern "C" const hl::GpuApi* hl_cuda_api(int abi);
