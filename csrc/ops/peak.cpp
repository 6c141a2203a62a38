#include "ops/peak.h"

#include "cpu/parallel.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {

template <class T>
Plan fma_peak_plan(const PeakShape& s) {
  Plan p = {};
  p.algorithm = "registers";
  p.flops = 2.0 * double(s.chunks) * double(s.steps) * kPeakChains * kLanes<T>;
  return p;
}

template <class T>
void fma_peak(Ctx& ctx, const PeakShape& s, T* sink) {
  parallel_for(ctx, s.chunks, 1, [&](int64_t begin, int64_t, int) {
    Vec<T> sum[kPeakChains];
#pragma GCC unroll 12
    for (int i = 0; i < kPeakChains; ++i) sum[i] = set1(T(i));
    const Vec<T> x = set1(T(0.999)), y = set1(T(0.001));
    for (int64_t k = 0; k < s.steps; ++k) {
#pragma GCC unroll 12
      for (int i = 0; i < kPeakChains; ++i) sum[i] = fma(sum[i], x, y);
    }
    Vec<T> all = sum[0];
#pragma GCC unroll 12
    for (int i = 1; i < kPeakChains; ++i) all += sum[i];
    sink[begin] = hsum(all);
  });
}

template <class T>
Plan stream_plan(const StreamShape& s) {
  Plan p = {};
  p.algorithm = "stream";
  p.bytes = double(s.n) * sizeof(T) * (s.kind == Stream::kCopy ? 2 : 1);
  return p;
}

template <class T>
void stream(Ctx& ctx, const StreamShape& s, const T* x, T* y, T* sink) {
  constexpr int L = kLanes<T>, U = 8;
  parallel_for(ctx, s.n, kStreamGrain, [&](int64_t begin, int64_t end, int) {
    Vec<T> sum[U] = {};
    for (int64_t i = begin; i + U * L <= end; i += U * L) {
#pragma GCC unroll 8
      for (int u = 0; u < U; ++u) {
        if (s.kind == Stream::kCopy) {
          store_past_cache(y + i + u * L, load(x + i + u * L));
        } else if (s.kind == Stream::kWrite) {
          store_past_cache(y + i + u * L, sum[u]);
        } else {
          sum[u] += load(x + i + u * L);
        }
      }
    }
    store_fence();
    Vec<T> all = sum[0];
#pragma GCC unroll 8
    for (int u = 1; u < U; ++u) all += sum[u];
    sink[begin / kStreamGrain] = hsum(all);
  });
}

HL_DEFINE_KERNEL(fma_peak);
HL_DEFINE_KERNEL(stream);

}  // namespace hl::cpu::HL_ISA
