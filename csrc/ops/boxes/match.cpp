#include "cpu/parallel.h"
#include "kernel.h"
#include "ops/boxes/boxes.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kColumns = 512;  // of a task; their best fit into the first cache

}  // namespace

template <class T>
Plan box_match_plan(const BoxMatchShape& s) {
  Plan p = {};
  p.algorithm = "columns";
  p.shared_bytes = s.keep_best ? round_up(s.G * int64_t(sizeof(T)), 64) : 0;
  p.flops = double(s.G) * double(s.A);
  p.bytes = (s.keep_best ? 3.0 : 1.0) * double(s.G) * double(s.A) * sizeof(T) + 8.0 * double(s.A);
  return p;
}

template <class T>
void box_match(Ctx& ctx, const BoxMatchShape& s, const T* overlap, int64_t* match) {
  const T low = T(s.low), high = T(s.high);
  T* best_of_row = reinterpret_cast<T*>(ctx.shared);
  if (s.keep_best) {
    parallel_for(ctx, s.G, max64(1, 16384 / max64(s.A, 1)), [&](int64_t begin, int64_t end, int) {
      for (int64_t g = begin; g < end; ++g) {
        T best = 0;
        for (int64_t a = 0; a < s.A; ++a) {
          const T v = overlap[g * s.A + a];
          best = v > best ? v : best;
        }
        best_of_row[g] = best;
      }
    });
  }
  parallel_for(ctx, s.A, kColumns, [&](int64_t begin, int64_t end, int) {
    T best[kColumns];
    int64_t row[kColumns];
    bool kept[kColumns];
    const int64_t n = end - begin;
    for (int64_t i = 0; i < n; ++i) best[i] = T(-__builtin_inf()), row[i] = -1, kept[i] = false;
    for (int64_t g = 0; g < s.G; ++g) {
      const T* v = overlap + g * s.A + begin;
      for (int64_t i = 0; i < n; ++i) {
        const bool better = v[i] > best[i];
        best[i] = better ? v[i] : best[i];
        row[i] = better ? g : row[i];
      }
      if (!s.keep_best || !(best_of_row[g] > 0)) continue;
      for (int64_t i = 0; i < n; ++i) kept[i] |= v[i] == best_of_row[g];
    }
    for (int64_t i = 0; i < n; ++i) {
      const bool stays = kept[i] || best[i] >= high;
      match[begin + i] = row[i] >= 0 && stays ? row[i] : row[i] < 0 || best[i] < low ? -1 : -2;
    }
  });
}

HL_DEFINE_KERNEL(box_match);

}  // namespace hl::cpu::HL_ISA
