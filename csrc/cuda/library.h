// The CUDA library at run time: found, opened and asked once; absent on most machines.
#pragma once

#include "cuda/api.h"

namespace hl {

// Opens the library at `path`. Null, or why it cannot be used; asking again answers the same.
const char* gpu_load(const char* path);
// The table of the library, null before gpu_load() or without one.
const GpuApi* gpu();

// The calling thread's stream on a device: one of the library's own, made at first use and ordered
// with the legacy default stream of other libraries, unless set_gpu_stream() chose another.
// Null, with gpu()->last_error() to ask, where it cannot be made.
void* gpu_stream(int device);
void set_gpu_stream(int device, void* stream);  // null: the library's own again
void* own_gpu_stream(int device);
// Whether a thread's kernels go to this stream now, so that it is there. Streams of other libraries, and
// those that end with their Python object, may be gone later.
bool gpu_stream_in_use(int device, void* stream);

constexpr int kMaxGpus = 16;

}  // namespace hl
