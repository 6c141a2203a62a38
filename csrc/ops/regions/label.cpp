#include "kernel.h"
#include "ops/regions/forest.h"
#include "ops/regions/regions.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kElements = 1 << 16;  // of a counting task
constexpr int64_t kTables = 64;         // most of them

int64_t tables_of(const ConfusionShape& s) {
  const int64_t tasks = ceil_div(s.n, kElements);
  const int64_t room = max64(1, (1 << 20) / max64(s.C * s.C, 1));
  return max64(1, min64(min64(tasks, kTables), room));
}

}  // namespace

Plan label_regions_plan(const LabelShape& s) {
  Plan p = {};
  p.algorithm = "union of neighbours";
  p.shared_bytes = s.N * s.H * s.W * 4;
  p.bytes = 16.0 * double(s.N) * double(s.H) * double(s.W);
  return p;
}

void label_regions(Ctx& ctx, const LabelShape& s, const int64_t* mask, int64_t* label,
                   int64_t* count) {
  const int64_t pixels = s.H * s.W;
  auto* forest = reinterpret_cast<int32_t*>(ctx.shared);
  parallel_for(ctx, s.N, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t* m = mask + n * pixels;
      int32_t* parent = forest + n * pixels;
      // The smaller root wins, so that a set's root is its first pixel.
      const auto join = [&](int64_t a, int64_t b) {
        if (m[a] != m[b]) return;
        const int32_t p = root_of(parent, int32_t(a)), q = root_of(parent, int32_t(b));
        if (p < q) {
          parent[q] = p;
        } else {
          parent[p] = q;
        }
      };
      for (int64_t y = 0; y < s.H; ++y) {
        for (int64_t x = 0; x < s.W; ++x) {
          const int64_t i = y * s.W + x;
          parent[i] = int32_t(i);
          if (m[i] == 0) continue;
          if (x > 0) join(i, i - 1);
          if (y == 0) continue;
          join(i, i - s.W);
          if (s.neighbours == 4) continue;
          if (x > 0) join(i, i - s.W - 1);
          if (x + 1 < s.W) join(i, i - s.W + 1);
        }
      }
      int64_t found = 0;
      int64_t* out = label + n * pixels;
      for (int64_t i = 0; i < pixels; ++i) {
        if (m[i] == 0) {
          out[i] = 0;
          continue;
        }
        const int32_t root = root_of(parent, int32_t(i));
        out[i] = root == i ? ++found : out[root];
      }
      count[n] = found;
    }
  });
}

Plan confusion_plan(const ConfusionShape& s) {
  Plan p = {};
  p.algorithm = "a table for each piece";
  p.shared_bytes = tables_of(s) * s.C * s.C * 8;
  p.bytes = 16.0 * double(s.n);
  return p;
}

void confusion(Ctx& ctx, const ConfusionShape& s, const int64_t* target, const int64_t* prediction,
               int64_t* table) {
  const int64_t cells = s.C * s.C, tables = tables_of(s), piece = ceil_div(s.n, tables);
  auto* partial = reinterpret_cast<int64_t*>(ctx.shared);
  parallel_for(ctx, tables, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      int64_t* own = partial + t * cells;
      for (int64_t i = 0; i < cells; ++i) own[i] = 0;
      const int64_t last = min64((t + 1) * piece, s.n);
      for (int64_t i = t * piece; i < last; ++i) {
        if (target[i] != s.ignore) ++own[target[i] * s.C + prediction[i]];
      }
    }
  });
  for (int64_t i = 0; i < cells; ++i) {
    table[i] = 0;
    for (int64_t t = 0; t < tables; ++t) table[i] += partial[t * cells + i];
  }
}

HL_DEFINE_RAW_KERNEL(label_regions);
HL_DEFINE_RAW_KERNEL(confusion);

}  // namespace hl::cpu::HL_ISA
