// Tensor cores, and copies that run beside the arithmetic: cards of compute capability 8.0 on.
//
// A tensor core multiplies small matrices that lie spread over the registers of a warp, the
// *fragments*. Lane l holds, with g = l / 4 and t = l % 4 (PTX ISA, "Matrix Fragments"), where a word
// is two 16-bit numbers of neighbouring k, the first in the low half, or one TF32:
//
//   d[4]  float   d[0], d[1] = D[g, 2t], D[g, 2t + 1];  d[2], d[3] the same of row g + 8
//   a[4]  words   a[0] = row g, word t;  a[1] = row g + 8;  a[2], a[3] = the same rows, word t + 4
//   b[2]  words   b[0] = column g, word t;  b[1] = column g, word t + 4
//
// So D (16 x 8) += A (16 rows of 8 words) B (8 columns of 8 words): k is 16 long, or 8 with TF32.
// ldmatrix fetches four blocks of 8 rows x 4 words from shared memory in just this layout: lane l
// names the address of row l % 8 of block l / 8, and r[i] gets word t of row g of block i.
//
// cp_async16 starts a copy from global to shared memory that no register takes part in. A thread's
// copies form a group at each cp_async_commit; cp_async_wait<n> returns when all but its n newest
// groups have landed. A barrier then shows them to the other threads.
//
// The wrappers are in device_mma.h, and in emulator/mma.h for the tests.
#pragma once

#include "cuda/gpu.h"

namespace hl::cuda {

struct Bf16 {  // float32 without the lower half: 8 bits of mantissa, the same range
  uint16_t bits;
};
struct F16 {  // 11 bits of mantissa, up to 65504
  uint16_t bits;
};
struct Tf32 {  // 11 bits of mantissa, the range of float32, in a word of 32 bits
  uint32_t bits;
};

}  // namespace hl::cuda

#ifdef HL_EMULATOR
#include "cuda/emulator/mma.h"
#else
#include "cuda/device_mma.h"
#endif
