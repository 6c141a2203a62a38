#include "ops/reduce/order.h"

#include "cuda/kernel.h"
#include "cuda/sort.h"

namespace hl::cuda {
namespace {

__device__ int64_t x_of(const OrderShape& s, int64_t line) {
  return offset_of(s.dims, s.size, s.x_stride, line);
}
__device__ int64_t y_of(const OrderShape& s, int64_t line) {
  return offset_of(s.dims, s.size, s.y_stride, line);
}

Plan plan_of(const OrderShape& s, const char* algorithm, int64_t item, int64_t scratch) {
  const double bytes = double(s.lines) * double(s.n + s.taken) * double(item);
  return {algorithm, nullptr, {1, 1, 1}, scratch, 0, 0, bytes};
}

// ---- running sums ----------------------------------------------------------------------------------
// Short lines, and lines that lie side by side, are a thread's each; any other is a block's.
bool by_threads(const OrderShape& s) {
  const int last = s.dims - 1;
  return s.n <= 32 || (s.lines >= 4096 && s.x_stride[last] == 1 && s.size[last] >= kWarp);
}

template <class T>
Plan cumsum_plan(const OrderShape& s) {
  Plan p = plan_of(s, by_threads(s) ? "a thread per line" : "a block per line", sizeof(T), 0);
  p.flops = double(s.lines) * double(s.n);
  return p;
}

template <class T>
void cumsum_lines(Ctx& ctx, const OrderShape& s, const T* x, T* y) {
  each(ctx, s.lines, [=] __device__(int64_t line) {
    const T* from = x + x_of(s, line);
    T* to = y + y_of(s, line);
    double sum = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      sum += double(from[i * s.x_step]);
      to[i * s.y_step] = T(sum);
    }
  });
}

template <class T>
void cumsum(Ctx& ctx, const OrderShape& s, const T* x, T* y) {
  if (by_threads(s)) return cumsum_lines(ctx, s, x, y);
  each_row(ctx, s.lines, [=] __device__(int64_t line, void* room) {
    const T* from = x + x_of(s, line);
    T* to = y + y_of(s, line);
    double* warps = static_cast<double*>(room);
    const int tid = int(threadIdx.x), warp = tid / kWarp;
    double carry = 0;
    for (int64_t base = 0; base < s.n; base += kThreads) {
      const int64_t i = base + tid;
      double sum = i < s.n ? double(from[i * s.x_step]) : 0;
      for (int by = 1; by < kWarp; by *= 2) {
        const double ahead = shuffle_up(sum, by);
        if (lane() >= by) sum += ahead;
      }
      __syncthreads();  // warps may still be read
      if (lane() == kWarp - 1) warps[warp] = sum;
      __syncthreads();
      double total = 0, ahead = 0;
      for (int w = 0; w < kThreads / kWarp; ++w) {
        if (w == warp) ahead = total;
        total += warps[w];
      }
      if (i < s.n) to[i * s.y_step] = T(carry + (ahead + sum));
      carry += total;
    }
  });
}

// ---- sorting ---------------------------------------------------------------------------------------
template <class T>
struct KeyType;
template <>
struct KeyType<float> {
  using Key = uint32_t;
};
template <>
struct KeyType<double> {
  using Key = uint64_t;
};
template <class T>
using KeyOf = typename KeyType<T>::Key;

// An integer in the order of the floats.
template <class T>
__device__ KeyOf<T> key_of(T x, bool descending) {
  using Key = KeyOf<T>;
  constexpr Key kSign = Key(1) << (8 * sizeof(Key) - 1);
  Key bits;
  memcpy(&bits, &x, sizeof bits);
  if (bits == kSign) bits = 0;
  Key key = bits & kSign ? ~bits : bits | kSign;
  if (x != x) key = ~Key(0);
  return descending ? ~key : key;
}

template <class T>
Plan sort_plan(const OrderShape& s) {
  return plan_of(s, "tiles, merged", sizeof(T), sort_bytes<KeyOf<T>>(s.lines, s.n));
}

template <class T>
void sort(Ctx& ctx, const OrderShape& s, const T* x, T* values, int64_t* indices) {
  const bool descending = s.descending != 0;
  const auto* sorted =
      sort_lines<KeyOf<T>>(ctx, s.lines, s.n, ctx.shared, [=] __device__(int64_t line, int64_t i) {
        return key_of(x[x_of(s, line) + i * s.x_step], descending);
      });
  each(ctx, s.lines * s.taken, [=] __device__(int64_t e) {
    const int64_t line = e / s.taken, i = e % s.taken;
    const int64_t index = int64_t(sorted[line * s.n + i].index), to = y_of(s, line) + i * s.y_step;
    values[to] = x[x_of(s, line) + index * s.x_step];
    indices[to] = index;
  });
}

// ---- back to where they came from --------------------------------------------------------------------
// Indices of sort and topk name no place twice: then every element moves by itself. Lines where one
// is named again are added up by a thread each, in order.
template <class T>
Plan scatter_lines_plan(const OrderShape& s) {
  return plan_of(s, "a thread per element", sizeof(T),
                 s.lines * (s.taken + 1) * int64_t(sizeof(int)));
}

template <class T>
void scatter_lines(Ctx& ctx, const OrderShape& s, const T* dy, const int64_t* indices, T* dx) {
  int* named = reinterpret_cast<int*>(ctx.shared);
  int* again = named + s.lines * s.taken;
  HL_CHECK(cudaMemsetAsync(named, 0, size_t(s.lines * (s.taken + 1)) * sizeof(int),
                           static_cast<cudaStream_t>(ctx.stream)));
  each(ctx, s.lines * s.n, [=] __device__(int64_t e) {
    const int64_t line = e / s.n, at = x_of(s, line) + e % s.n * s.x_step;
    if (atomicAdd(&named[line * s.taken + indices[at]], 1) > 0) again[line] = 1;
  });
  each(ctx, s.lines * s.taken, [=] __device__(int64_t e) {
    const int64_t line = e / s.taken;
    if (named[e] == 0 || again[line]) dx[y_of(s, line) + e % s.taken * s.y_step] = T(0);
  });
  each(ctx, s.lines * s.n, [=] __device__(int64_t e) {
    const int64_t line = e / s.n, at = x_of(s, line) + e % s.n * s.x_step;
    if (!again[line]) dx[y_of(s, line) + indices[at] * s.y_step] = dy[at];
  });
  each(ctx, s.lines, [=] __device__(int64_t line) {
    if (!again[line]) return;
    T* to = dx + y_of(s, line);
    for (int64_t i = 0; i < s.n; ++i) {
      const int64_t at = x_of(s, line) + i * s.x_step;
      to[indices[at] * s.y_step] += dy[at];
    }
  });
}

HL_CUDA_KERNEL(cumsum);
HL_CUDA_KERNEL(sort);
HL_CUDA_KERNEL(scatter_lines);

}  // namespace
}  // namespace hl::cuda
