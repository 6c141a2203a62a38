// Gradients of the norms over rows: a pass over x and dy for two sums, and one for dx.
#include "kernel.h"
#include "ops/norm/channel.h"

namespace hl::cpu::HL_ISA {
namespace {

// dz of a tile: dy itself where it needs no buffer, else through z, which is made anew.
template <class T>
struct Activation {
  UnaryRow<T> forward;  // null where the gradient reads z
  UnaryBackwardRow<T> backward;
};

template <class T>
struct Tile {
  alignas(64) T z[kNormTile], dz[kNormTile];
};

// f(dz, its row stride, x, first row, rows) for the tiles of some rows.
template <class T, class F>
HL_INLINE void for_tiles(const ChannelNormShape& s, const Activation<T>& act, const T* dy,
                         const T* x, int64_t ld, int64_t rows, int64_t width, const Scratch<T>& w,
                         int64_t column, const F& f) {
  if (!act.backward) return f(dy, ld, x, int64_t(0), rows);
  Tile<T> tile;
  const int64_t each = kNormTile / width;
  for (int64_t r = 0; r < rows; r += each) {
    const int64_t n = least(each, rows - r);
    const T *g = dy + r * ld, *v = x + r * ld;
    scale_rows<false>(v, ld, tile.z, width, n, width, w.m + column, w.a + column, w.shift + column,
                      Linear<T>{});
    if (act.forward) act.forward(tile.z, tile.z, n * width, s.p0, s.p1);
    if (width == ld) {
      act.backward(g, tile.z, tile.dz, n * width, s.p0, s.p1);
    } else {
      for (int64_t i = 0; i < n; ++i) {
        act.backward(g + i * ld, tile.z + i * width, tile.dz + i * width, width, s.p0, s.p1);
      }
    }
    f(tile.dz, width, v, r, n);
  }
}

// S dz and S dz (x - m) of every channel of a sample, into part[0 .. C) and part[W .. W + C).
template <class T>
void sample_sums(Ctx& ctx, const ChannelNormShape& shape, const Columns& s,
                 const Activation<T>& act, const T* dy, const T* x, const Scratch<T>& w) {
  for_parts(ctx, s, false, [&](const Part& p) {
    GradientSums<T> sums;
    for (int64_t i = 0; i < p.width; ++i) sums.g[i] = sums.gd[i] = 0;
    with_rectifier(shape, w, p.column, [&](const auto& rectifier) {
      const auto add = [&](int64_t at, int64_t rows, int64_t width) {
        for_tiles(shape, act, dy + at, x + at, s.W, rows, width, w, p.column,
                  [&](const T* g, int64_t ldg, const T* v, int64_t, int64_t n) {
                    add_gradient_sums(sums, g, ldg, v, s.W, n, width, w.m + p.column, rectifier);
                  });
      };
      add(p.row * s.W + p.column, p.rows, p.width);
      if (p.last) add(s.rows * s.W, 1, s.rest);
    });
    double* to = w.part + p.chunk * 2 * s.W + p.column;
    for (int64_t i = 0; i < p.width; ++i) {
      to[i] = double(sums.g[i]);
      to[s.W + i] = double(sums.gd[i]);
    }
  });
  for (int64_t k = 1; k < s.chunks; ++k) {
    const double* other = w.part + k * 2 * s.W;
    for (int64_t i = 0; i < 2 * s.W; ++i) w.part[i] += other[i];
  }
  for (int64_t column = s.C; column < s.W; column += s.C) {
    for (int64_t i = 0; i < s.C; ++i) {
      w.part[i] += w.part[column + i];
      w.part[s.W + i] += w.part[s.W + column + i];
    }
  }
}

// dx = dz a + (x - m) b + c from the sums.
template <class T>
HL_INLINE void set_slopes(const ChannelNormShape& s, const Columns& c, const T* w, const T* rstd,
                          const Scratch<T>& to) {
  const int64_t size = s.C / s.groups;
  const double share = 1 / (double(s.rows) * double(size));
  const double *g = to.part, *gd = to.part + c.W;
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t first = group * size;
    double sum = 0, product = 0;
    for (int64_t i = first; i < first + size; ++i) {
      sum += w ? double(w[i]) * g[i] : g[i];
      product += w ? double(w[i]) * gd[i] : gd[i];
    }
    const double r = double(rstd[group]);
    const T slope = T(-r * r * r * product * share), shift = T(-r * sum * share);
    for (int64_t i = first; i < first + size; ++i) to.b[i] = slope, to.c[i] = shift;
  }
  spread(c, to.b);
  spread(c, to.c);
}

template <bool Past, class T>
HL_INLINE void sample_slopes(Ctx& ctx, const ChannelNormShape& shape, const Columns& s,
                             const Activation<T>& act, const T* dy, const T* x, const Scratch<T>& w,
                             T* dx) {
  for_parts(ctx, s, true, [&](const Part& p) {
    const T *m = w.m + p.column, *a = w.a + p.column, *b = w.b + p.column, *c = w.c + p.column;
    with_rectifier(shape, w, p.column, [&]<class Act>(const Act& rectifier) {
      const auto run = [&]<bool past>(int64_t at, int64_t rows, int64_t width) {
        const auto map = [&](const T* g, int64_t ldg, const T* v, int64_t first, int64_t n) {
          T* to = dx + at + first * s.W;
          if (shape.given && __is_same(Act, Linear<T>)) {  // b = c = 0: no need to read x
            scale_rows<past>(g, ldg, to, s.W, n, width, b, a, c, Linear<T>{});
          } else {
            slope_rows<past>(g, ldg, v, s.W, to, s.W, n, width, m, a, b, c, rectifier);
          }
        };
        for_tiles(shape, act, dy + at, x + at, s.W, rows, width, w, p.column, map);
      };
      run.template operator()<Past>(p.row * s.W + p.column, p.rows, p.width);
      if (p.last) run.template operator()<false>(s.rows * s.W, 1, s.rest);
    });
    if (Past) store_fence();
  });
}

}  // namespace

template <class T>
Plan channel_norm_backward_plan(const ChannelNormShape& s) {
  return channel_plan<T>(s, 3, true);
}
template <class T>
void channel_norm_backward(Ctx& ctx, const ChannelNormShape& s, const T* dy, const T* x, const T* w,
                           const T* b, const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  const Columns c = columns_of<T>(s.rows, s.C);
  const int64_t size = s.C / s.groups;
  const UnaryRows<T> rows = rows_after<T>(s);
  const Activation<T> act = {s.act_from_y ? rows.forward : nullptr, rows.backward};
  double* totals = reinterpret_cast<double*>(ctx.shared);
  for_samples<T>(ctx, s, c, s.outer * s.C * 16, [&](int64_t o, const Scratch<T>& scratch) {
    const T *from = x + o * s.rows * s.C, *slope = dy + o * s.rows * s.C;
    const T* r = rstd + o * s.groups;
    const int64_t at = s.per_sample ? o * s.C : 0;
    const T* weight = w ? w + at : nullptr;
    for (int64_t g = 0; g < s.groups; ++g) {
      const T m = mean[o * s.groups + g];
      for (int64_t i = g * size; i < (g + 1) * size; ++i) scratch.m[i] = m, scratch.a[i] = r[g];
    }
    for (int64_t i = 0; i < s.C; ++i) {
      totals[(2 * o + 1) * s.C + i] = double(scratch.a[i]);
      if (weight) scratch.a[i] *= weight[i];
      scratch.shift[i] = b ? b[at + i] : T(0);
      scratch.b[i] = scratch.c[i] = 0;
    }
    spread(c, scratch.m), spread(c, scratch.a), spread(c, scratch.shift);
    spread(c, scratch.b), spread(c, scratch.c);
    if (dw || db || !s.given) {
      sample_sums(ctx, s, c, act, slope, from, scratch);
      for (int64_t i = 0; i < s.C; ++i) {
        totals[2 * o * s.C + i] = scratch.part[i];
        totals[(2 * o + 1) * s.C + i] *= scratch.part[c.W + i];
      }
      if (!s.given) set_slopes(s, c, weight, r, scratch);
    }
    if (dx) {
      T* to = dx + o * s.rows * s.C;
      if (goes_past(ctx, s, c, dx, 2)) {
        sample_slopes<true>(ctx, s, c, act, slope, from, scratch, to);
      } else {
        sample_slopes<false>(ctx, s, c, act, slope, from, scratch, to);
      }
    }
  });
  const int64_t results = s.per_sample ? s.outer : 1, summed = s.per_sample ? 1 : s.outer;
  for (int64_t i = 0; i < results * s.C && (dw || db); ++i) {
    const double* from = totals + i / s.C * 2 * s.C + i % s.C;
    double bias = 0, weight = 0;
    for (int64_t o = 0; o < summed; ++o)
      bias += from[2 * o * s.C], weight += from[(2 * o + 1) * s.C];
    if (db) db[i] = T(bias);
    if (dw) dw[i] = T(weight);
  }
}

HL_DEFINE_KERNEL(channel_norm_backward);

}  // namespace hl::cpu::HL_ISA
