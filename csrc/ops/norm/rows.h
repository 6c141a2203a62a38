// Layer, RMS and pixel norm: statistics along the last axis.
//
// A row is read from memory once: its sums, its deviations and its result all find it in the first
// or second cache. Rows too long for that are cut into pieces, and the passes run over those.
#pragma once

#include "cpu/exp_run.h"
#include "ops/norm/norm.h"

namespace hl::cpu::HL_ISA {

constexpr int64_t kTask = 65536;   // elements worth a task
constexpr int64_t kPiece = 16384;  // of a long row

struct Two {
  double first, second;
};

// w or b that are not there, as numbers.
template <class T>
HL_INLINE const T* filled(T* to, int64_t n, T value) {
  for (int64_t i = 0; i < n; ++i) to[i] = value;
  return to;
}
template <class T>
HL_INLINE int64_t filled_bytes(const RowNormShape& s) {
  return round_up(2 * s.n * int64_t(sizeof(T)), 64);
}

template <class T>
HL_INLINE Plan row_plan(const RowNormShape& s, int arrays) {
  const double n = double(s.rows) * double(s.n);
  Plan p = {};
  p.flops = 6.0 * n;
  p.bytes = arrays * n * sizeof(T);
  return p;
}

// Whether y is written past the caches: `read` arrays of its size do not stay in the last one beside it.
template <class T>
HL_INLINE bool goes_past(const Ctx& ctx, const RowNormShape& s, const T* y, int64_t read) {
  return s.rows * s.n * int64_t(sizeof(T)) * read >= ctx.last_cache && s.n % kLanes<T> == 0 &&
         uintptr_t(y) % kVectorBytes == 0;
}

}  // namespace hl::cpu::HL_ISA
