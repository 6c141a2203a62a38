// The three shapes of a simple kernel: a function of each element, of each row, of each sum.
#pragma once

#include "context.h"
#include "cuda/gpu.h"

namespace hl::cuda {

template <class F>
__global__ void __launch_bounds__(kThreads) each_kernel(int64_t n, F f) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

inline unsigned grid_of(int64_t blocks) {
  return unsigned(blocks < 1 ? 1 : blocks < kMaxGrid ? blocks : kMaxGrid);
}

// f(i) for every i in [0, n), each on a thread of its own.
template <class F>
void each(const Ctx& ctx, int64_t n, F f) {
  if (n <= 0) return;
  HL_LAUNCH((each_kernel<F>), grid_of(ceil_div(n, int64_t(kThreads))), kThreads, 0, ctx.stream, n,
            f);
}

// use(i, load(i)) for every i in [0, n), with the loads of a thread's next four on their way at a time: what
// reads one or two numbers for each i would otherwise wait for memory longer than it works.
template <class Load, class Use>
__global__ void __launch_bounds__(kThreads) ahead_kernel(int64_t n, Load load, Use use) {
  constexpr int kAhead = 4;
  const int64_t step = int64_t(gridDim.x) * kThreads * kAhead;
  for (int64_t first = int64_t(blockIdx.x) * kThreads * kAhead + threadIdx.x; first < n;
       first += step) {
    decltype(load(first)) got[kAhead] = {};
#pragma unroll
    for (int e = 0; e < kAhead; ++e) {
      if (first + e * kThreads < n) got[e] = load(first + e * kThreads);
    }
#pragma unroll 1  // `use` may be long
    for (int e = 0; e < kAhead; ++e) {
      if (first + e * kThreads < n) use(first + e * kThreads, got[0]);
#pragma unroll
      for (int i = 0; i + 1 < kAhead; ++i) got[i] = got[i + 1];
    }
  }
}
template <class Load, class Use>
void each_ahead(const Ctx& ctx, int64_t n, Load load, Use use) {
  if (n <= 0) return;
  HL_LAUNCH((ahead_kernel<Load, Use>), grid_of(ceil_div(n, int64_t(4 * kThreads))), kThreads, 0,
            ctx.stream, n, load, use);
}

// The last digit of `index` to the base `size`; the digits before it stay in index. A card divides
// 32 bits several times faster than 64.
__device__ inline int64_t split(int64_t& index, int64_t size) {
  if (uint64_t(index | size) >> 32 == 0) {
    const uint32_t n = uint32_t(index), base = uint32_t(size);
    index = n / base;
    return n % base;
  }
  const int64_t digit = index % size;
  index /= size;
  return digit;
}

// Where element `index`, counted along `dims` axes, lies: the sum of its digits times the strides.
__device__ inline int64_t offset_of(int dims, const int64_t* size, const int64_t* stride,
                                    int64_t index) {
  int64_t offset = 0;
  for (int d = dims - 1; d > 0; --d) offset += split(index, size[d]) * stride[d];
  return dims > 0 ? offset + index * stride[0] : offset;
}

// ---- sums of a block -------------------------------------------------------------------------------
struct Plus {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {  // NaN wins
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

template <class T, class Op>
__device__ T warp_reduce(T v, Op op) {
  for (int mask = 16; mask > 0; mask /= 2) v = op(v, shuffle_xor(v, mask));
  return v;
}

// The sum over the block's kThreads threads, known to all of them. `room` is shared memory for
// kThreads / 32 values. The tree is fixed: the result does not depend on the schedule.
template <class T, class Op>
__device__ T block_reduce(T v, T* room, Op op) {
  v = warp_reduce(v, op);
  __syncthreads();  // room may still be read from the last call
  if (lane() == 0) room[threadIdx.x / kWarp] = v;
  __syncthreads();
  T all = room[0];
  for (unsigned i = 1; i < blockDim.x / kWarp; ++i) all = op(all, room[i]);
  return all;
}

// The sum of v over the threads in front, and in `all` over the block. `room` as block_reduce's.
template <class T>
__device__ T block_scan(T v, T* room, T& all) {
  T sum = v;
  for (int by = 1; by < kWarp; by *= 2) {
    const T before = shuffle_up(sum, by);
    if (lane() >= by) sum += before;
  }
  __syncthreads();  // room may still be read from the last call
  if (lane() == kWarp - 1) room[threadIdx.x / kWarp] = sum;
  __syncthreads();
  T front = 0;
  all = 0;
  for (unsigned w = 0; w < blockDim.x / kWarp; ++w) {
    if (w < threadIdx.x / kWarp) front += room[w];
    all += room[w];
  }
  return front + sum - v;
}

// f(row) by a whole block for every row in [0, rows); f may use block_reduce and block_scan.
template <class F>
__global__ void __launch_bounds__(kThreads) rows_kernel(int64_t rows, F f) {
  HL_SHARED(unsigned char, room);
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) f(row, room);
}

// What a block of rows_kernel has for block_reduce: kThreads / 32 values of up to 16 bytes.
constexpr int kRoomBytes = kThreads / kWarp * 16;

template <class F>
void each_row(const Ctx& ctx, int64_t rows, F f) {
  if (rows <= 0) return;
  HL_LAUNCH((rows_kernel<F>), grid_of(rows), kThreads, kRoomBytes, ctx.stream, rows, f);
}

}  // namespace hl::cuda
