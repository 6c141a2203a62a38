// How the norms over rows go through samples, chunks of rows and strips of columns.
//
// Many samples are each done by one thread, so that the second pass finds them in its cache; few
// are cut into tasks, and the second pass begins where the first one ended.
#pragma once

#include "ops/norm/columns.h"

namespace hl::cpu::HL_ISA {

// Scratch of one sample: partial results of the chunks, (chunks, 2, W), the first of which becomes
// the total; and what the maps read, W numbers each.
template <class T>
struct Scratch {
  double* part;
  T *m, *a, *b, *c, *shift;
};
template <class T>
HL_INLINE int64_t scratch_bytes(const Columns& s) {
  return round_up(s.chunks * 2 * s.W * 8 + 5 * s.W * int64_t(sizeof(T)), 64);
}
template <class T>
HL_INLINE Scratch<T> scratch_at(unsigned char* p, const Columns& s) {
  double* part = reinterpret_cast<double*>(p);
  T* m = reinterpret_cast<T*>(part + s.chunks * 2 * s.W);
  return {part, m, m + s.W, m + 2 * s.W, m + 3 * s.W, m + 4 * s.W};
}

HL_INLINE bool samples_apart(const ChannelNormShape& s) {
  return s.outer >= 16 || s.rows * s.C <= 65536;
}

template <class T>
HL_INLINE Plan channel_plan(const ChannelNormShape& s, int passes, bool sums) {
  const Columns c = columns_of<T>(s.rows, s.C);
  const int64_t each = scratch_bytes<T>(c), totals = sums ? s.outer * s.C * 16 : 0;
  Plan p = {};
  p.algorithm = samples_apart(s) ? "a sample per thread" : "a chunk of rows per thread";
  p.tile[0] = c.chunk, p.tile[1] = c.strip, p.tile[2] = c.f;
  p.shared_bytes = round_up(totals, 64) + (samples_apart(s) ? 0 : each);
  p.worker_bytes = samples_apart(s) ? each : 0;
  const double n = double(s.outer) * double(s.rows) * double(s.C);
  p.flops = 4.0 * n;
  p.bytes = passes * n * sizeof(T);
  return p;
}

// f(sample, its scratch); loops inside f run in parallel where the samples do not.
template <class T, class F>
HL_INLINE void for_samples(Ctx& ctx, const ChannelNormShape& s, const Columns& c, int64_t totals,
                           const F& f) {
  if (samples_apart(s)) {
    const int64_t grain = most(1, 32768 / (s.rows * s.C));
    parallel_for(ctx, s.outer, grain, [&](int64_t begin, int64_t end, int worker) {
      const auto w = scratch_at<T>(worker_scratch<unsigned char>(ctx, worker), c);
      for (int64_t o = begin; o < end; ++o) f(o, w);
    });
  } else {
    const auto w = scratch_at<T>(ctx.shared + round_up(totals, 64), c);
    for (int64_t o = 0; o < s.outer; ++o) f(o, w);
  }
}

template <class F>
HL_INLINE void for_parts(Ctx& ctx, const Columns& s, bool from_end, const F& f) {
  parallel_for(ctx, s.tasks, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) f(part_of(s, from_end ? s.tasks - 1 - t : t));
  });
}

template <class T>
HL_INLINE void spread(const Columns& s, T* p) {  // what holds for C channels, for W columns
  for (int64_t i = s.C; i < s.W; ++i) p[i] = p[i - s.C];
}

// f with what follows the map of these columns, if that is done in registers.
template <class T, class F>
HL_INLINE void with_rectifier(const ChannelNormShape& s, const Scratch<T>& w, int64_t column,
                              const F& f) {
  const T *a = w.a + column, *shift = w.shift + column;
  const Vec<T> p0 = set1(T(s.p0));
  switch (s.activation) {
    case int(UnaryOp::kRelu):
      return f(Rectified<T, Relu>{a, shift, p0});
    case int(UnaryOp::kLeakyRelu):
      return f(Rectified<T, LeakyRelu>{a, shift, p0});
    default:
      return f(Linear<T>{});
  }
}

// The rows of any other activation; null where there is none.
template <class T>
HL_INLINE UnaryRows<T> rows_after(const ChannelNormShape& s) {
  const UnaryOp op = UnaryOp(s.activation);
  const bool apart =
      s.activation != kNoActivation && op != UnaryOp::kRelu && op != UnaryOp::kLeakyRelu;
  return apart ? unary_rows<T>(op) : UnaryRows<T>{};
}

// Whether rows of W numbers from here on can be stored past the caches, as they should where `read` arrays
// of the result's size would not stay in the last one beside it.
template <class T>
HL_INLINE bool goes_past(const Ctx& ctx, const ChannelNormShape& s, const Columns& c, const T* y,
                         int64_t read) {
  const int64_t sample = s.rows * s.C * int64_t(sizeof(T));
  return s.outer * sample * read >= ctx.last_cache && uintptr_t(y) % kVectorBytes == 0 &&
         c.W % kLanes<T> == 0 && (s.outer == 1 || sample % kVectorBytes == 0);
}
template <class T>
HL_INLINE void stream_rows(const T* from, T* to, int64_t ld, int64_t rows, int64_t width) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < width; i += kLanes<T>) {
      store_past_cache(to + r * ld + i, load(from + r * width + i));
    }
  }
}

}  // namespace hl::cpu::HL_ISA
