// Numbers brought into the order of their keys; equal keys keep theirs.
//
// Least significant digits first. A block counts the digits of a chunk, one block turns all counts
// into places, and each block puts its chunk there, tile after tile, in order. No step depends on
// which thread is first.
#pragma once

#include "cuda/loop.h"

namespace hl::cuda {

constexpr int kDigits = 16, kDigitBits = 4;
constexpr int64_t kRadixChunk = 8 * kThreads;

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

// Counts (digit, chunk) become places: how many keys lie in front.
template <class N>
__global__ void __launch_bounds__(kThreads) radix_places_kernel(int64_t n, N* count) {
  HL_SHARED(N, room);
  N before = 0;
  for (int64_t i = threadIdx.x; i - int64_t(threadIdx.x) < n; i += kThreads) {
    N all = 0;
    const N front = block_scan(i < n ? count[i] : N(0), room, all);
    if (i < n) count[i] = before + front;
    before += all;
  }
}

template <class K>
__global__ void __launch_bounds__(kThreads)
    radix_count_kernel(int64_t n, int shift, const K* key, int64_t chunks, int64_t* count) {
  HL_SHARED(int, found);
  const int64_t chunk = blockIdx.x;
  if (threadIdx.x < kDigits) found[threadIdx.x] = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < kRadixChunk && chunk * kRadixChunk + i < n; i += kThreads) {
    atomicAdd(found + int(key[chunk * kRadixChunk + i] >> shift & (kDigits - 1)), 1);
  }
  __syncthreads();
  if (threadIdx.x < kDigits) count[threadIdx.x * chunks + chunk] = found[threadIdx.x];
}

template <class K>
__global__ void __launch_bounds__(kThreads)
    radix_move_kernel(int64_t n, int shift, const K* key, const int64_t* value, int64_t chunks,
                      const int64_t* place, K* key_to, int64_t* value_to) {
  constexpr int kWarps = kThreads / kWarp;
  struct Room {
    int64_t next[kDigits];
    int found[kWarps][kDigits];  // in a tile, by warp; then those of the warps in front
  };
  HL_SHARED(Room, room);
  const int64_t chunk = blockIdx.x;
  const int warp = int(threadIdx.x) / kWarp;
  if (threadIdx.x < kDigits) room->next[threadIdx.x] = place[threadIdx.x * chunks + chunk];
  for (int64_t tile = 0; tile < kRadixChunk; tile += kThreads) {
    const int64_t i = chunk * kRadixChunk + tile + threadIdx.x;
    const K k = i < n ? key[i] : 0;
    const int digit = int(k >> shift & (kDigits - 1));
    unsigned same = ballot(i < n);  // lanes with this digit
    for (int b = 0; b < kDigitBits; ++b) {
      const unsigned set = ballot(digit >> b & 1);
      same &= digit >> b & 1 ? set : ~set;
    }
    const int rank = count_bits(same & ((1u << lane()) - 1));
    __syncthreads();
    if (threadIdx.x < kWarps * kDigits)
      room->found[threadIdx.x / kDigits][threadIdx.x % kDigits] = 0;
    __syncthreads();
    if (i < n && rank == 0) room->found[warp][digit] = count_bits(same);
    __syncthreads();
    if (i < n) {
      int64_t to = room->next[digit] + rank;
      for (int w = 0; w < warp; ++w) to += room->found[w][digit];
      key_to[to] = k;
      value_to[to] = value ? value[i] : i;
    }
    __syncthreads();
    if (threadIdx.x < kDigits) {
      for (int w = 0; w < kWarps; ++w) room->next[threadIdx.x] += room->found[w][threadIdx.x];
    }
  }
}

// What sort_by_key needs beside its arrays.
inline int64_t radix_bytes(int64_t n) {
  return kDigits * ceil_div(n, kRadixChunk) * int64_t(sizeof(int64_t));
}

// Sorts n keys of at most `bits` bits, and the numbers 0 ... n - 1 with them. `key[0]` is what comes in;
// returns which of the two pairs of arrays holds the result.
template <class K>
int sort_by_key(const Ctx& ctx, int64_t n, int bits, K* const (&key)[2], int64_t* const (&value)[2],
                void* room) {
  const int64_t chunks = ceil_div(n, kRadixChunk);
  int64_t* place = static_cast<int64_t*>(room);
  int from = 0;
  for (int shift = 0; shift < bits || shift == 0; shift += kDigitBits, from = 1 - from) {
    if (n == 0) continue;
    HL_LAUNCH((radix_count_kernel<K>), unsigned(chunks), kThreads, kDigits * sizeof(int),
              ctx.stream, n, shift, key[from], chunks, place);
    HL_LAUNCH((radix_places_kernel<int64_t>), 1, kThreads, kRoomBytes, ctx.stream, kDigits * chunks,
              place);
    HL_LAUNCH((radix_move_kernel<K>), unsigned(chunks), kThreads, 1024, ctx.stream, n, shift,
              key[from], shift == 0 ? nullptr : value[from], chunks, place, key[1 - from],
              value[1 - from]);
  }
  return from;
}

inline int bits_of(uint64_t most) {
  int bits = 0;
  while (bits < 64 && most >> bits != 0) ++bits;
  return bits;
}

// The first of n sorted keys that is not below k.
template <class K>
__device__ int64_t lower_bound(const K* key, int64_t n, K k) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (key[middle] < k) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace hl::cuda
