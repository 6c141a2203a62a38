#include "ops/layout/index.h"

#include "cuda/fold.h"
#include "cuda/item.h"
#include "cuda/kernel.h"
#include "cuda/sort.h"

namespace hl::cuda {
namespace {

// ---- rows --------------------------------------------------------------------------------------
Plan take_rows_plan(const RowsShape& s) {
  const double bytes = 2.0 * double(s.N) * double(s.D) * s.item + 8.0 * double(s.N);
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 0, bytes};
}

template <class E>
void take_rows_as(Ctx& ctx, const RowsShape& s, const void* table, const int64_t* index, void* y) {
  const E* from = static_cast<const E*>(table);
  E* to = static_cast<E*>(y);
  const int64_t D = s.D * s.item / int64_t(sizeof(E));
  each(ctx, s.N * D, [=] __device__(int64_t e) {
    int64_t n = e;
    const int64_t d = split(n, D);
    to[e] = from[index[n] * D + d];
  });
}
void take_rows(Ctx& ctx, const RowsShape& s, const void* table, const int64_t* index, void* y) {
  with_item(widest_item(s.D * s.item, table, y),
            [&](auto item) { take_rows_as<decltype(item)>(ctx, s, table, index, y); });
}

// A block per row of the table: `width` columns beside each other, the row's terms dealt to `lanes`.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_rows(RowsShape s, int width, const Item<uint64_t>* sorted, const T* dy, T* dtable) {
  HL_SHARED(Total<T>, room);
  const int tid = int(threadIdx.x), lanes = kThreads / width;
  const int column = tid % width, lane = tid / width;
  for (int64_t v = blockIdx.x; v < s.V; v += gridDim.x) {
    const int64_t first = rank_of(sorted, s.N, {uint64_t(v), 0});
    const int64_t terms = rank_of(sorted + first, s.N - first, {uint64_t(v) + 1, 0});
    for (int64_t d0 = 0; d0 < s.D; d0 += width) {
      const int64_t d = d0 + column;
      Total<T> sum = {};
      for (int64_t i = lane; d < s.D && i < terms; i += lanes) {
        sum.add(double(dy[int64_t(sorted[first + i].index) * s.D + d]));
      }
      room[tid] = sum;
      for (int half = lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) room[tid].add(room[tid + half * width]);
      }
      if (lane == 0 && d < s.D) dtable[v * s.D + d] = T(room[tid].value());
      __syncthreads();
    }
  }
}

template <class T>
Plan scatter_add_rows_plan(const RowsShape& s) {
  Plan p = {"sorted, a block per row", nullptr, {1, 1, 1}, 0, 0, double(s.N) * double(s.D), 0};
  p.shared_bytes = sort_bytes<uint64_t>(1, s.N);
  p.bytes = double(sizeof(T)) * double(s.D) * (double(s.N) + double(s.V)) + 8.0 * double(s.N);
  return p;
}
template <class T>
void scatter_add_rows(Ctx& ctx, const RowsShape& s, const T* dy, const int64_t* index, T* dtable) {
  if (s.V == 0 || s.D == 0) return;
  const auto* sorted = sort_lines<uint64_t>(
      ctx, 1, s.N, ctx.shared, [=] __device__(int64_t, int64_t n) { return uint64_t(index[n]); });
  int width = 1;
  while (width < kThreads && width < s.D) width *= 2;
  HL_LAUNCH((add_rows<T>), grid_of(s.V), kThreads, kThreads * sizeof(Total<T>), ctx.stream, s,
            width, sorted, dy, dtable);
}

// ---- along an axis -----------------------------------------------------------------------------
// The index without its axis: lines, each K elements `step` apart.
struct Lines {
  AxisShape s;
  int64_t count, K, step;

  explicit Lines(const AxisShape& s) : s(s), count(1), K(s.size[s.axis]), step(1) {
    for (int d = 0; d < s.ndim; ++d) {
      if (d != s.axis) count *= s.size[d];
      if (d > s.axis) step *= s.size[d];
    }
  }
  __device__ int64_t start(int64_t line) const {  // in the index
    return line / step * step * K + line % step;
  }
  __device__ int64_t base(int64_t line) const {  // in x
    int64_t offset = 0;
    for (int d = s.ndim - 1; d >= 0; --d) {
      if (d != s.axis) offset += split(line, s.size[d]) * s.stride[d];
    }
    return offset;
  }
};

Plan axis_plan(const AxisShape& s, const char* algorithm, int64_t item) {
  const Lines l(s);
  return {algorithm, nullptr, {1, 1, 1}, 0, 0, 0, double(l.count * l.K) * (8 + 2.0 * double(item))};
}

template <class E>
void gather_as(Ctx& ctx, const AxisShape& s, const void* x, const int64_t* index, void* y) {
  const E* from = static_cast<const E*>(x);
  E* to = static_cast<E*>(y);
  const Lines l(s);
  each(ctx, l.count * l.K, [=] __device__(int64_t e) {
    int64_t rest = e, offset = index[e] * s.stride[s.axis];
    for (int d = s.ndim - 1; d >= 0; --d) {
      const int64_t at = split(rest, s.size[d]);
      if (d != s.axis) offset += at * s.stride[d];
    }
    to[e] = from[offset];
  });
}

Plan gather_axis_plan(const AxisShape& s) { return axis_plan(s, "a thread per element", s.item); }
void gather_axis(Ctx& ctx, const AxisShape& s, const void* x, const int64_t* index, void* y) {
  with_item(s.item, [&](auto item) { gather_as<decltype(item)>(ctx, s, x, index, y); });
}

// Few long lines are sorted, so that every sum has a thread of its own.
bool sorts(const Lines& l) { return l.K > 64 && l.count < 4096; }

template <class T>
Plan scatter_add_axis_plan(const AxisShape& s) {
  const Lines l(s);
  Plan p = axis_plan(s, sorts(l) ? "sorted lines" : "a thread per line", sizeof(T));
  if (sorts(l)) p.shared_bytes = sort_bytes<uint64_t>(l.count, l.K);
  p.bytes += double(s.total) * sizeof(T);
  return p;
}

template <class T>
void scatter_add_axis(Ctx& ctx, const AxisShape& s, const T* dy, const int64_t* index, T* dx) {
  HL_CHECK(
      cudaMemsetAsync(dx, 0, size_t(s.total) * sizeof(T), static_cast<cudaStream_t>(ctx.stream)));
  const Lines l(s);
  const int64_t step = s.stride[s.axis];
  if (!sorts(l)) {
    each(ctx, l.count, [=] __device__(int64_t line) {
      const int64_t from = l.start(line);
      T* to = dx + l.base(line);
      for (int64_t k = 0; k < l.K; ++k) {
        to[index[from + k * l.step] * step] += dy[from + k * l.step];
      }
    });
    return;
  }
  const auto* sorted =
      sort_lines<uint64_t>(ctx, l.count, l.K, ctx.shared, [=] __device__(int64_t line, int64_t k) {
        return uint64_t(index[l.start(line) + k * l.step]);
      });
  each(ctx, l.count * l.K, [=] __device__(int64_t e) {
    const int64_t line = e / l.K;
    int64_t k = e % l.K;
    const uint64_t key = sorted[e].key;
    if (k > 0 && sorted[e - 1].key == key) return;
    Total<T> sum = {};
    for (int64_t i = e; k < l.K && sorted[i].key == key; ++i, ++k) {
      sum.add(double(dy[l.start(line) + int64_t(sorted[i].index) * l.step]));
    }
    dx[l.base(line) + int64_t(key) * step] = T(sum.value());
  });
}

HL_CUDA_RAW_KERNEL(take_rows);
HL_CUDA_KERNEL(scatter_add_rows);
HL_CUDA_RAW_KERNEL(gather_axis);
HL_CUDA_KERNEL(scatter_add_axis);

}  // namespace
}  // namespace hl::cuda
