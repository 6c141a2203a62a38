#include "ops/layout/make.h"

#include "cpu/parallel.h"
#include "cpu/raw.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

int64_t grain_of(int64_t row_bytes) {
  constexpr int64_t kChunk = 64 << 10;
  return row_bytes >= kChunk || row_bytes == 0 ? 1 : kChunk / row_bytes;
}

}  // namespace

Plan one_hot_plan(const OneHotShape& s) {
  Plan p = {};
  p.algorithm = "rows";
  p.bytes = 8.0 * double(s.N) * (1.0 + double(s.C));
  return p;
}

void one_hot(Ctx& ctx, const OneHotShape& s, const int64_t* index, int64_t* y) {
  parallel_for(ctx, s.N, grain_of(8 * s.C), [&](int64_t begin, int64_t end, int) {
    zero_bytes(y + begin * s.C, (end - begin) * s.C * 8);
    for (int64_t n = begin; n < end; ++n) y[n * s.C + index[n]] = 1;
  });
}

Plan triangle_plan(const TriangleShape& s) {
  Plan p = {};
  p.algorithm = "rows";
  p.bytes = 2.0 * double(s.item) * double(s.B) * double(s.M) * double(s.N);
  return p;
}

void triangle(Ctx& ctx, const TriangleShape& s, const void* x, void* y) {
  const int64_t bytes = s.N * s.item;
  const char* from = static_cast<const char*>(x);
  char* to = static_cast<char*>(y);
  const bool lower = s.part == Triangle::kLower;
  parallel_for(ctx, s.B * s.M, grain_of(bytes), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      // The first column on the other side of the diagonal.
      int64_t cut = row % s.M + s.k + (lower ? 1 : 0);
      cut = (cut < 0 ? 0 : cut > s.N ? s.N : cut) * s.item;
      const int64_t at = row * bytes;
      if (lower) {
        copy_bytes(to + at, from + at, cut);
        zero_bytes(to + at + cut, bytes - cut);
      } else {
        zero_bytes(to + at, cut);
        copy_bytes(to + at + cut, from + at + cut, bytes - cut);
      }
    }
  });
}

HL_DEFINE_RAW_KERNEL(one_hot);
HL_DEFINE_RAW_KERNEL(triangle);

}  // namespace hl::cpu::HL_ISA
