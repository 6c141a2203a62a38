#include "ops/elementwise/walk.h"
#include "ops/elementwise/tile.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTaskElements = 1 << 15;  // least work of one task for a thread

struct Cut {
  int64_t rows, n;    // sizes of the tiled axes
  int64_t tr, tn;     // and of a tile
  int64_t row_tiles;  // how many tiles they make
  int64_t tiles;      // over all axes
  int64_t grain;      // tiles per task
  bool stream;
  bool by_strips;  // all rows of one strip of columns, then the next strip
};

void stream(const void* from, void* to, int64_t bytes) {
  constexpr int64_t L = kLanes<float>;
  const float* f = static_cast<const float*>(from);
  float* t = static_cast<float*>(to);
  for (int64_t i = 0; i < bytes / 4; i += L) store_past_cache(t + i, load(f + i));
}

// Whether the result should go past the caches: it is too large for them, it is not read as well
// (then its lines are there already), and every row of it can be stored in whole vectors.
bool streams(const Ctx& ctx, const ElementShape& s, const Walk& w, int64_t bytes) {
  const int last = s.dims - 1, out = w.operands - 1;
  const int64_t item = w.item[out];
  bool yes = bytes >= ctx.last_cache && item >= 4 && s.stride[out][last] == 1 &&
             uintptr_t(w.base[out]) % kVectorBytes == 0 && s.size[last] * item % kVectorBytes == 0;
  for (int k = 0; k < out; ++k) yes &= w.base[k] != w.base[out];
  for (int i = 0; i < last; ++i) yes &= s.stride[out][i] * item % kVectorBytes == 0;
  return yes;
}

Cut cut(const Ctx& ctx, const ElementShape& s, const Walk& w) {
  Cut c = {};
  const int last = s.dims - 1, out = w.output ? w.operands - 1 : -1;
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
  c.stream = out >= 0 && streams(ctx, s, w, total * w.item[out]);
  // Where an operand is transposed, the cache lines of one row serve the next; else a row is read
  // front to back.
  c.by_strips = buffered;
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
  const Cut c = cut(ctx, s, w);
  const int last = s.dims - 1, out = w.output ? w.operands - 1 : -1;
  parallel_for(ctx, c.tiles, c.grain, [&](int64_t begin, int64_t end, int) {
    TileBuffers buffers;
    for (const char*& held : buffers.held) held = nullptr;
    const int64_t strips = ceil_div(c.n, c.tn), outer_tiles = c.tiles / c.row_tiles / strips;
    for (int64_t tile = begin; tile < end; ++tile) {
      // tile = (outer axes, row, strip) or (strip, outer axes, row)
      int64_t index = tile, strip = 0;
      if (!c.by_strips) strip = index % strips, index /= strips;
      const int64_t r0 = index % c.row_tiles * c.tr;
      index /= c.row_tiles;
      if (c.by_strips) strip = index / outer_tiles, index %= outer_tiles;
      const int64_t n0 = strip * c.tn;
      TileView v[kElementOperands];
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
        if (k != out) {
          at[k] = readable(v[k], k, buffers);
        } else {
          at[k] = lies_as_tile(v[k]) && !c.stream ? v[k].p : buffers.data[k];
        }
      }
      w.body(w.op, at, rows * n);
      if (out < 0 || at[out] == v[out].p) continue;
      if (c.stream) {
        const char* from = static_cast<const char*>(buffers.data[out]);
        const int64_t row = n * w.item[out], step = v[out].outer * w.item[out];
        for (int64_t r = 0; r < rows; ++r) stream(from + r * row, v[out].p + r * step, row);
      } else {
        scatter(v[out], buffers.data[out]);
      }
    }
    if (c.stream) store_fence();
  });
}

Plan walk_plan(const ElementShape& s, int operands, int64_t item) {
  Plan p = {};
  p.algorithm = "rows";
  p.flops = 1;
  for (int i = 0; i < s.dims; ++i) p.flops *= double(s.size[i]);
  for (int k = 0; k < operands; ++k) {
    double n = double(item);
    for (int i = 0; i < s.dims; ++i) n *= s.stride[k][i] != 0 ? double(s.size[i]) : 1;
    p.bytes += n;
  }
  return p;
}

}  // namespace hl::cpu::HL_ISA
