// Many tensors as one flat run of elements: one launch for all of them.
#pragma once

#include "cuda/graph.h"
#include "cuda/loop.h"

namespace hl::cuda {

constexpr int64_t kFlatChunk = 4096;  // elements of a block's turn

// A list from the host to the device, at the beginning of the call's scratch.
template <class Row>
const Row* upload(const Ctx& ctx, const Row* rows, int64_t count) {
  return static_cast<const Row*>(
      upload(ctx, static_cast<const void*>(rows), count * int64_t(sizeof(Row))));
}

// f(row, i) for the elements of chunk number `chunk`; rows have begin and size, in order.
template <class Row, class F>
__device__ void flat_chunk(const Row* rows, int64_t count, int64_t total, int64_t chunk, F&& f) {
  const int64_t first = chunk * kFlatChunk;
  const int64_t end = total - first < kFlatChunk ? total : first + kFlatChunk;
  int64_t at = 0;  // the last row that begins at or before `first`
  for (int64_t n = count; n > 1;) {
    const int64_t half = n / 2;
    if (rows[at + half].begin <= first) {
      at += half, n -= half;
    } else {
      n = half;
    }
  }
  for (int64_t e = first + threadIdx.x; e < end; e += kThreads) {
    while (e - rows[at].begin >= rows[at].size) ++at;
    f(rows[at], e - rows[at].begin);
  }
}

template <class Row, class F>
__global__ void __launch_bounds__(kThreads)
    flat_kernel(const Row* rows, int64_t count, int64_t total, F f) {
  for (int64_t c = blockIdx.x; c * kFlatChunk < total; c += gridDim.x) {
    flat_chunk(rows, count, total, c, f);
  }
}

// f(row, i) for every element i of every row.
template <class Row, class F>
void each_flat(const Ctx& ctx, const Row* rows, int64_t count, int64_t total, F f) {
  if (total <= 0) return;
  HL_LAUNCH((flat_kernel<Row, F>), grid_of(ceil_div(total, kFlatChunk)), kThreads, 0, ctx.stream,
            rows, count, total, f);
}

}  // namespace hl::cuda
