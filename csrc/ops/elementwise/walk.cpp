#include "ops/elementwise/walk.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTileElements = 512;      // the buffers of four operands of doubles: 16 KB
constexpr int64_t kTaskElements = 1 << 15;  // least work of one task for a thread
constexpr int64_t kStreamBytes = int64_t(16) << 20;  // from here on the result goes past the caches

typedef uint32_t Word4 __attribute__((may_alias));
typedef uint64_t Word8 __attribute__((may_alias));

struct Cut {
  int64_t rows, n;    // sizes of the tiled axes
  int64_t tr, tn;     // and of a tile
  int64_t row_tiles;  // how many tiles they make
  int64_t tiles;      // over all axes
  int64_t grain;      // tiles per task
  bool stream;
};

// Where one operand is in the tile.
struct View {
  char* p;
  int64_t outer, inner;  // strides in elements
  int64_t rows, n;
  int item;
};

bool lies_as_tile(const View& v) {
  return (v.inner == 1 || v.n == 1) && (v.rows == 1 || v.outer == v.n);
}

template <class E, class Move>
HL_INLINE void each_element(const View& v, void* buffer, const Move& move) {
  E* at = static_cast<E*>(buffer);
  E* p = reinterpret_cast<E*>(v.p);
  for (int64_t r = 0; r < v.rows; ++r, p += v.outer, at += v.n) {
    for (int64_t i = 0; i < v.n; ++i) move(p[i * v.inner], at[i]);
  }
}

template <class Move>
HL_INLINE void each_element(const View& v, void* buffer, const Move& move) {
  if (v.item == 4) return each_element<Word4>(v, buffer, move);
  if (v.item == 8) return each_element<Word8>(v, buffer, move);
  each_element<unsigned char>(v, buffer, move);
}

void gather(const View& v, void* buffer) {
  each_element(v, buffer, [](const auto& there, auto& here) { here = there; });
}
void scatter(const View& v, void* buffer) {
  each_element(v, buffer, [](auto& there, const auto& here) { there = here; });
}

void stream(const void* from, void* to, int64_t bytes) {
  constexpr int64_t L = kLanes<float>;
  const float* f = static_cast<const float*>(from);
  float* t = static_cast<float*>(to);
  for (int64_t i = 0; i < bytes / 4; i += L) store_stream(t + i, load(f + i));
}

Cut cut(const ElementShape& s, const Walk& w) {
  Cut c = {};
  const int last = s.dims - 1, out = w.operands - 1;
  c.n = s.size[last];
  c.rows = s.dims > 1 ? s.size[last - 1] : 1;
  int64_t total = c.n;
  bool buffered = false, moved = false;
  for (int i = 0; i < last; ++i) total *= s.size[i];
  for (int k = 0; k < w.operands; ++k) {
    buffered |= s.stride[k][last] != 1;
    moved |= s.dims > 1 && s.stride[k][last - 1] != c.n * s.stride[k][last];
  }
  // Long rows are tiled alone. Short ones are taken together, and then some operand needs a buffer,
  // or its axes would have been one.
  const bool alone = c.n >= kTileElements / 2 || !moved;
  c.stream = total * w.item[out] >= kStreamBytes && s.stride[out][last] == 1 && alone &&
             c.n * w.item[out] % kVectorBytes == 0 && w.item[out] >= 4 &&
             uintptr_t(w.base[out]) % kVectorBytes == 0;
  for (int i = 0; i < last; ++i) {
    c.stream &= s.stride[out][i] * w.item[out] % kVectorBytes == 0;
  }
  const int64_t longest = buffered || c.stream ? kTileElements : kTaskElements;
  c.tn = alone && c.n > longest ? longest : c.n;
  c.tr = alone ? 1 : kTileElements / c.n;
  if (c.tr > c.rows) c.tr = c.rows;
  c.row_tiles = ceil_div(c.rows, c.tr);
  c.tiles = total / (c.rows * c.n) * c.row_tiles * ceil_div(c.n, c.tn);
  c.grain = ceil_div(kTaskElements, c.tr * c.tn);
  return c;
}

}  // namespace

void walk(Ctx& ctx, const ElementShape& s, const Walk& w) {
  for (int i = 0; i < s.dims; ++i) {
    if (s.size[i] == 0) return;
  }
  if (s.dims == 0) return w.body(w.op, w.base, 1);
  const Cut c = cut(s, w);
  const int last = s.dims - 1, out = w.operands - 1;
  parallel_for(ctx, c.tiles, c.grain, [&](int64_t begin, int64_t end, int) {
    alignas(64) char buffer[kElementOperands][kTileElements * 8];
    const char* held[kElementOperands] = {};
    int64_t held_count[kElementOperands] = {};
    const int64_t strips = ceil_div(c.n, c.tn);
    for (int64_t tile = begin; tile < end; ++tile) {
      // Strips lie outermost: where an operand is transposed, the cache lines of one row serve the
      // next.
      int64_t index = tile / c.row_tiles;
      const int64_t r0 = tile % c.row_tiles * c.tr;
      const int64_t per_strip = c.tiles / c.row_tiles / strips;
      const int64_t n0 = index / per_strip * c.tn;
      index %= per_strip;
      View v[kElementOperands];
      void* at[kElementOperands];
      int64_t offset[kElementOperands] = {};
      for (int i = last - 2; i >= 0; --i) {
        const int64_t j = index % s.size[i];
        index /= s.size[i];
        for (int k = 0; k < w.operands; ++k) offset[k] += j * s.stride[k][i];
      }
      const int64_t rows = c.rows - r0 < c.tr ? c.rows - r0 : c.tr;
      const int64_t n = c.n - n0 < c.tn ? c.n - n0 : c.tn;
      for (int k = 0; k < w.operands; ++k) {
        const int64_t inner = s.stride[k][last], outer = last > 0 ? s.stride[k][last - 1] : 0;
        const int64_t first = offset[k] + r0 * outer + n0 * inner;
        v[k] = {
            static_cast<char*>(w.base[k]) + first * w.item[k], outer, inner, rows, n, w.item[k]};
        const bool direct = lies_as_tile(v[k]) && !(k == out && c.stream);
        at[k] = direct ? v[k].p : buffer[k];
        if (direct || k == out) continue;
        if (v[k].p == held[k] && rows * n <= held_count[k]) continue;
        gather(v[k], buffer[k]);
        held[k] = v[k].p, held_count[k] = rows * n;
      }
      w.body(w.op, at, rows * n);
      if (at[out] == v[out].p) continue;
      if (c.stream) {
        stream(buffer[out], v[out].p, n * w.item[out]);
      } else {
        scatter(v[out], buffer[out]);
      }
    }
  });
}

}  // namespace hl::cpu::HL_ISA
