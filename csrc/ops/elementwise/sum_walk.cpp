#include "ops/elementwise/sum_walk.h"

#include "ops/elementwise/tile.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kPieces = 32;              // most pieces of one sum, times the results there are
constexpr int64_t kPieceElements = 1 << 15;  // and least work of each

// Axes fall into kept ones, which number the results, and summed ones, which number the steps
// towards each. The two innermost are cut into tiles, of which each is again a result's or a
// step's.
struct Cut {
  int64_t rows, n, tr, tn;
  int64_t row_tiles, col_tiles;
  bool rows_kept, n_kept;
  int64_t kept_outer, summed_outer;
  int64_t results, steps, pieces;
  int64_t width;  // numbers in one result: elements of a tile row, or rows of a tile, or one
};

Cut cut(const ElementShape& s, int operands) {
  Cut c = {};
  const int last = s.dims - 1, out = operands - 1;
  c.n = s.size[last];
  c.rows = last > 0 ? s.size[last - 1] : 1;
  c.n_kept = s.stride[out][last] != 0;
  c.rows_kept = last > 0 && s.stride[out][last - 1] != 0;
  c.tn = c.n < kTileElements ? c.n : kTileElements;
  c.tr = c.n_kept && c.rows_kept ? 1 : kTileElements / c.tn;
  if (c.tr > c.rows) c.tr = c.rows;
  if (c.tn < c.n) c.tr = 1;
  c.row_tiles = ceil_div(c.rows, c.tr), c.col_tiles = ceil_div(c.n, c.tn);
  c.kept_outer = c.summed_outer = 1;
  for (int i = 0; i < last - 1; ++i) {
    (s.stride[out][i] != 0 ? c.kept_outer : c.summed_outer) *= s.size[i];
  }
  c.results = c.kept_outer * (c.rows_kept ? c.row_tiles : 1) * (c.n_kept ? c.col_tiles : 1);
  c.steps = c.summed_outer * (c.rows_kept ? 1 : c.row_tiles) * (c.n_kept ? 1 : c.col_tiles);
  c.width = c.n_kept ? c.tn : c.rows_kept ? c.tr : 1;
  c.pieces = kPieces / c.results;
  const int64_t worth = c.steps * c.tr * c.tn / kPieceElements;
  if (c.pieces > worth) c.pieces = worth;
  if (c.pieces < 1) c.pieces = 1;
  return c;
}

// The whole of a + b: the rounded sum stays in high, what rounding lost is added to low.
template <class V>
HL_INLINE void add_to(V& high, V& low, V x) {
  const V sum = high + x, back = sum - high;
  low += (high - (sum - back)) + (x - back);
  high = sum;
}

template <class T>
T row_sum(const T* x, int64_t n) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[2] = {};
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) sum[0] += load(x + i), sum[1] += load(x + i + L);
  for (; i < n; i += L) sum[0] += n - i >= L ? load(x + i) : load_n(x + i, n - i);
  return hsum(sum[0] + sum[1]);
}

template <class T>
struct Sums {
  alignas(64) T high[kTileElements + kLanes<T>], low[kTileElements + kLanes<T>];
};

// Adds a tile of gradients to the sums of its result.
template <class T>
void add_tile(const Cut& c, Sums<T>& sums, const T* tile, int64_t rows, int64_t n) {
  constexpr int L = kLanes<T>;
  for (int64_t r = 0; r < rows; ++r, tile += n) {
    if (c.n_kept) {
      for (int64_t i = 0; i < n; i += L) {
        Vec<T> high = load(sums.high + i), low = load(sums.low + i);
        add_to(high, low, n - i >= L ? load(tile + i) : load_n(tile + i, n - i));
        store(sums.high + i, high), store(sums.low + i, low);
      }
    } else {
      const int64_t to = c.rows_kept ? r : 0;
      add_to(sums.high[to], sums.low[to], row_sum(tile, n));
    }
  }
}

// Splits index into positions along the outer axes of one kind and adds their offsets.
void add_offsets(const ElementShape& s, int operands, bool kept, int64_t index, int64_t* offset) {
  for (int i = s.dims - 3; i >= 0; --i) {
    if ((s.stride[operands - 1][i] != 0) != kept) continue;
    const int64_t at = index % s.size[i];
    index /= s.size[i];
    for (int k = 0; k < operands; ++k) offset[k] += at * s.stride[k][i];
  }
}

struct Place {
  int64_t r0, n0;
  int64_t offset[kElementOperands];
};

// The tile of one step towards one result.
Place place_of(const ElementShape& s, const Cut& c, int operands, int64_t result, int64_t step) {
  Place p = {};
  auto digit = [](int64_t& index, int64_t base) {
    const int64_t d = index % base;
    index /= base;
    return d;
  };
  p.n0 = c.tn * digit(c.n_kept ? result : step, c.col_tiles);
  p.r0 = c.tr * digit(c.rows_kept ? result : step, c.row_tiles);
  add_offsets(s, operands, true, result, p.offset);
  add_offsets(s, operands, false, step, p.offset);
  const int last = s.dims - 1;
  for (int k = 0; k < operands; ++k) {
    p.offset[k] += p.n0 * s.stride[k][last] + (last > 0 ? p.r0 * s.stride[k][last - 1] : 0);
  }
  return p;
}

int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

}  // namespace

bool sums(const ElementShape& s, int operands) {
  for (int i = 0; i < s.dims; ++i) {
    if (s.stride[operands - 1][i] == 0 && s.size[i] != 1) return true;
  }
  return false;
}

int64_t sum_walk_bytes(const ElementShape& s, int operands, int64_t item) {
  for (int i = 0; i < s.dims; ++i) {
    if (s.size[i] == 0) return 0;
  }
  const Cut c = cut(s, operands);
  return c.pieces > 1 ? 2 * c.results * c.pieces * c.width * item : 0;
}

template <class T>
void sum_walk(Ctx& ctx, const ElementShape& s, const Walk& w) {
  const Cut c = cut(s, w.operands);
  const int last = s.dims - 1, out = w.operands - 1;
  T* partial = reinterpret_cast<T*>(ctx.shared);
  // Element i of a result.
  auto result_at = [&](int64_t result, int64_t& count) {
    const Place p = place_of(s, c, w.operands, result, 0);
    count = c.n_kept ? min(c.tn, c.n - p.n0) : c.rows_kept ? min(c.tr, c.rows - p.r0) : 1;
    return static_cast<T*>(w.base[out]) + p.offset[out];
  };
  const int64_t stride = c.n_kept ? s.stride[out][last] : c.rows_kept ? s.stride[out][last - 1] : 0;

  const int64_t steps_each = ceil_div(c.steps, c.pieces);
  const int64_t work = steps_each * c.tr * c.tn;
  parallel_for(ctx, c.results * c.pieces, ceil_div(kPieceElements, work),
               [&](int64_t begin, int64_t end, int) {
                 TileBuffers buffers;
                 Sums<T> sums;
                 for (const char*& held : buffers.held) held = nullptr;
                 for (int64_t task = begin; task < end; ++task) {
                   const int64_t result = task / c.pieces, piece = task % c.pieces;
                   for (int64_t i = 0; i < c.width + kLanes<T>; ++i)
                     sums.high[i] = sums.low[i] = T(0);
                   const int64_t stop = min(c.steps, (piece + 1) * steps_each);
                   for (int64_t step = piece * steps_each; step < stop; ++step) {
                     const Place p = place_of(s, c, w.operands, result, step);
                     const int64_t rows = min(c.tr, c.rows - p.r0), n = min(c.tn, c.n - p.n0);
                     void* at[kElementOperands];
                     for (int k = 0; k < out; ++k) {
                       const TileView v = {static_cast<char*>(w.base[k]) + p.offset[k] * w.item[k],
                                           last > 0 ? s.stride[k][last - 1] : 0,
                                           s.stride[k][last],
                                           rows,
                                           n,
                                           w.item[k]};
                       at[k] = readable(v, k, buffers);
                     }
                     at[out] = buffers.data[out];
                     w.body(w.op, at, rows * n);
                     add_tile(c, sums, reinterpret_cast<const T*>(buffers.data[out]), rows, n);
                   }
                   if (c.pieces == 1) {
                     int64_t count;
                     T* to = result_at(result, count);
                     for (int64_t i = 0; i < count; ++i)
                       to[i * stride] = sums.high[i] + sums.low[i];
                   } else {
                     T* to = partial + task * 2 * c.width;
                     for (int64_t i = 0; i < c.width; ++i)
                       to[i] = sums.high[i], to[c.width + i] = sums.low[i];
                   }
                 }
               });
  if (c.pieces == 1) return;
  for (int64_t result = 0; result < c.results; ++result) {
    int64_t count;
    T* to = result_at(result, count);
    for (int64_t i = 0; i < count; ++i) {
      const T* from = partial + result * c.pieces * 2 * c.width + i;
      T high = 0, low = 0;
      for (int64_t piece = 0; piece < c.pieces; ++piece, from += 2 * c.width) {
        add_to(high, low, from[0]);
        low += from[c.width];
      }
      to[i * stride] = high + low;
    }
  }
}

template void sum_walk<float>(Ctx&, const ElementShape&, const Walk&);
template void sum_walk<double>(Ctx&, const ElementShape&, const Walk&);

}  // namespace hl::cpu::HL_ISA
