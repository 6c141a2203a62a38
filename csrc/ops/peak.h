// What the machine can do at best: the denominators of every benchmark.
//
// fma_peak  independent multiply-adds on registers, on every thread at once
// stream    reads, writes or copies n bytes; stores past the caches, as the elementwise kernels do
//           for results of this size
#pragma once

#include "context.h"

namespace hl {

struct PeakShape {
  int64_t chunks, steps;  // every chunk is kPeakChains vector multiply-adds, `steps` times
};
constexpr int kPeakChains = 12;

enum class Stream { kCopy, kRead, kWrite };
struct StreamShape {
  Stream kind;
  int64_t n;  // elements
};

template <class T>
using fma_peak_t = void(Ctx&, const PeakShape&, T* sink);  // sink: one number a chunk
template <class T>
using stream_t = void(Ctx&, const StreamShape&, const T* x, T* y, T* sink);  // sink: one a chunk

constexpr int64_t kStreamGrain = int64_t(1) << 18;

}  // namespace hl
