#include "ops/peak.h"

#include "cuda/item.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

// A chunk is a block: every thread has chains of its own.
template <class T>
Plan fma_peak_plan(const PeakShape& s) {
  return {"registers",
          nullptr,
          {1, 1, 1},
          0,
          0,
          2.0 * double(s.chunks) * double(s.steps) * kPeakChains * kThreads,
          0};
}

template <class T>
void fma_peak(Ctx& ctx, const PeakShape& s, T* sink) {
  each_row(ctx, s.chunks, [=] __device__(int64_t chunk, void* room) {
    T sum[kPeakChains];
#pragma unroll
    for (int i = 0; i < kPeakChains; ++i) sum[i] = T(i) + T(threadIdx.x);
    const T x = T(0.999), y = T(0.001);
    for (int64_t k = 0; k < s.steps; ++k) {
#pragma unroll
      for (int i = 0; i < kPeakChains; ++i) sum[i] = fma(sum[i], x, y);
    }
    T all = 0;
#pragma unroll
    for (int i = 0; i < kPeakChains; ++i) all += sum[i];
    all = block_reduce(all, static_cast<T*>(room), Plus());
    if (threadIdx.x == 0) sink[chunk] = all;
  });
}

template <class T>
Plan stream_plan(const StreamShape& s) {
  const double bytes = double(s.n) * sizeof(T) * (s.kind == Stream::kCopy ? 2 : 1);
  return {"stream", nullptr, {1, 1, 1}, 0, 0, 0, bytes};
}

// 16 bytes at a time; what n leaves over is left out, as on the CPU.
template <class T>
void stream(Ctx& ctx, const StreamShape& s, const T* x, T* y, T* sink) {
  const Bytes16* from = reinterpret_cast<const Bytes16*>(x);
  Bytes16* to = reinterpret_cast<Bytes16*>(y);
  const Stream kind = s.kind;
  each(ctx, s.n * int64_t(sizeof(T)) / 16, [=] __device__(int64_t i) {
    if (kind == Stream::kCopy) {
      to[i] = from[i];
    } else if (kind == Stream::kWrite) {
      to[i] = {};
    } else {
      const Bytes16 v = from[i];
      if (v.half[0] == ~v.half[1]) *sink = T(i);  // so that the reading is not left out
    }
  });
}

HL_CUDA_KERNEL(fma_peak);
HL_CUDA_KERNEL(stream);

}  // namespace
}  // namespace hl::cuda
