// What the host tells TMA of a matrix, as sm90a.h copies boxes of it.
#pragma once

#include "cuda/sm90a.h"

namespace hl::cuda {

// A matrix of 16-bit numbers in device memory.
struct TmaMatrix {
  const void* at;
  int64_t rows, columns;
  int64_t stride;  // numbers from a row to the next

  bool operator==(const TmaMatrix&) const = default;
};

// TMA wants rows that begin at multiples of 16 bytes, and counts in 32 bits.
inline bool tma_takes(const TmaMatrix& m) {
  constexpr int64_t kMost = INT32_MAX;
  return uintptr_t(m.at) % 16 == 0 && m.stride % 8 == 0 && m.stride <= kMost &&
         m.columns <= m.stride && m.rows > 0 && m.rows <= kMost && m.columns > 0;
}

#ifdef HL_EMULATOR
inline bool encode_tensor_map(TensorMap* map, const TmaMatrix& m, int box_rows) {
  *map = {static_cast<const uint16_t*>(m.at), m.rows, m.columns, m.stride, box_rows};
  return true;
}
#else
inline void* find_encoder() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult how;
  HL_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                            cudaEnableDefault, &how));
  return found;
}
// By the driver, which is asked for the function: the library does not link it.
inline bool encode_tensor_map(TensorMap* map, const TmaMatrix& m, int box_rows) {
  static const auto encode = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(find_encoder());
  if (!encode) {
    note_failure(cudaErrorNotSupported, "cuTensorMapEncodeTiled", __FILE__, __LINE__);
    return false;
  }
  const cuuint64_t sizes[2] = {cuuint64_t(m.columns), cuuint64_t(m.rows)};
  const cuuint64_t strides[1] = {cuuint64_t(m.stride) * 2};
  const cuuint32_t box[2] = {kTmaColumns, cuuint32_t(box_rows)}, steps[2] = {1, 1};
  const CUresult error =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, const_cast<void*>(m.at), sizes, strides, box,
             steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error != CUDA_SUCCESS) {
    note_failure(cudaErrorInvalidValue, "cuTensorMapEncodeTiled", __FILE__, __LINE__);
  }
  return error == CUDA_SUCCESS;
}
#endif

// The map of a matrix that tma_takes(), for boxes of 64 columns and up to 256 rows. A training loop asks
// for the same ones at every step: each thread keeps the last few. False: the failure has been noted.
inline bool make_tensor_map(TensorMap* map, const TmaMatrix& m, int box_rows) {
  struct Kept {
    TmaMatrix matrix;
    int box_rows;
    TensorMap map;
  };
  constexpr int kKept = 32;
  thread_local Kept kept[kKept] = {};
  thread_local int next = 0;
  for (const Kept& k : kept) {
    if (k.matrix == m && k.box_rows == box_rows) {
      *map = k.map;
      return true;
    }
  }
  if (!encode_tensor_map(map, m, box_rows)) return false;
  kept[next] = {m, box_rows, *map};
  next = (next + 1) % kKept;
  return true;
}

// Whether the current card is one that *_sm90a.cu are compiled for.
inline bool is_sm90(const Card& c) { return c.major == 9 && c.minor == 0; }

}  // namespace hl::cuda
