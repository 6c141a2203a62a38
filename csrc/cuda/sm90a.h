// Compute capability 9.0 and no other: tiles that a unit of the card copies by itself, and products of
// whole warpgroups with factors in shared memory.
//
// mbarrier  counts arrivals, and bytes that are on their way. It goes through phases 0, 1, 0, ...; one
//   ends when all arrivals and bytes have come. mbarrier_wait(b, p) returns once the phase of parity p
//   is over, so a new barrier lets parity 1 pass at once.
// TMA       tma_load(to, map, b, column, row) copies a box of a matrix (tma.h) to shared memory and
//   tells `b`, which must have been told to expect its bytes. All the box counts: what lies outside of
//   the matrix comes as zeros. One thread asks, nobody's registers take part.
// wgmma     four warps, a *warpgroup*, start d (+)= a b with d 64 x N in their registers, b in shared
//   memory and a in either. It runs on beside them:
//     wgmma_fence(d...)     the registers are as they should be: before the first product, and after a
//                           thread wrote to accumulators or to a factor's registers
//     wgmma(d, a, b, more)  d += a b, or d = a b without `more`
//     wgmma_commit()        closes a group of products
//     wgmma_wait<n>(d...)   all but the n newest groups are done. The accumulators that came back are
//                           named, for the compiler knows nothing of it.
//     computed(v)           v, a number that is never negative, is made before a wait that follows
//   Between issue and wait nobody may touch d, nor let the memory of a and b be written.
//   Lane l of warp w holds of d rows 16 w + l / 4 and 8 below: d[j][0], d[j][1] are columns
//   8 j + l % 4 * 2 and the next, d[j][2], d[j][3] the same of the lower row. Registers of a are those
//   of mma.h, for rows 16 w on.
// setmaxnreg  warps that only ask for copies give registers to those that multiply. All of a block's
//   must come to 65536 at most, or it waits for ever.
//
// Factors lie as TMA with the 128-byte swizzle puts them: rows of 128 bytes (64 numbers), whose chunks
// of 16 bytes change places by the row's number modulo 8; matrices start at multiples of 1024 bytes.
//
// The wrappers are in device_sm90a.h, and in emulator/sm90a.h for the tests. PTX ISA, "Asynchronous
// Warpgroup Level Matrix Instructions".
#pragma once

#include "cuda/mma.h"

namespace hl::cuda {

constexpr int kWarpgroup = 128;
constexpr int kTmaColumns = 64;  // 16-bit numbers in a row of a box: 128 bytes

}  // namespace hl::cuda

#ifdef HL_EMULATOR
#include "cuda/emulator/sm90a.h"
#else
#include "cuda/device_sm90a.h"
#endif

namespace hl::cuda {

// How wgmma finds a factor in shared memory: where it starts, how far apart groups of 8 rows are (1024
// bytes), and how they are swizzled.
__device__ __forceinline__ uint64_t factor_at(const void* at) {
  constexpr uint64_t kEightRows = 1024 >> 4, kSwizzle128 = 1;
  return (shared_address(at) & 0x3ffff) >> 4 | kEightRows << 32 | kSwizzle128 << 62;
}

// Rows run along k, from number k of each on. (Nothing is read of the distance between blocks; 1 is what
// others put there.)
__device__ __forceinline__ uint64_t factor_along(const void* rows, int k) {
  return (factor_at(rows) | uint64_t(1) << 16) + uint64_t(k * 2 >> 4);
}

// Rows run across k, row number k is the first: b of N numbers, in blocks of 64 that are `block` bytes
// apart.
__device__ __forceinline__ uint64_t factor_across(const void* rows, int k, int block) {
  return (factor_at(rows) | uint64_t(block >> 4) << 16) + uint64_t(k * 128 >> 4);
}

}  // namespace hl::cuda
