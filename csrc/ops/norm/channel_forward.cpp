// Batch, instance, group and adaptive instance norm: a pass over x for the statistics, and one for
// the result.
#include "kernel.h"
#include "ops/norm/channel.h"

namespace hl::cpu::HL_ISA {
namespace {

// Mean and sum of squared deviations of every channel of a sample, into part[0 .. C) and
// part[W .. W + C).
template <class T>
void sample_moments(Ctx& ctx, const Columns& s, const T* x, double* part) {
  for_parts(ctx, s, false, [&](const Part& p) {
    double* to = part + p.chunk * 2 * s.W + p.column;
    column_moments(x + p.row * s.W + p.column, s.W, p.rows, p.width, to, to + s.W);
  });
  double *mean = part, *squares = part + s.W;
  for (int64_t k = 1; k < s.chunks; ++k) {
    const int64_t before = k * s.chunk, rows = least(s.chunk, s.rows - before);
    const double* other = part + k * 2 * s.W;
    join_moments(s.W, double(before), mean, squares, double(rows), other, other + s.W);
  }
  const double rows = double(s.rows);
  for (int64_t g = 1; g < s.f; ++g) {
    join_moments(s.C, rows * double(g), mean, squares, rows, mean + g * s.C, squares + g * s.C);
  }
  for (int64_t at = 0; at < s.rest; at += s.C) {
    const T* row = x + s.rows * s.W + at;
    double* numbers = mean + s.C;  // there is a rest only where W > C
    for (int64_t c = 0; c < s.C; ++c) numbers[c] = double(row[c]);
    join_moments(s.C, rows * double(s.f) + double(at / s.C), mean, squares, 1, numbers, nullptr);
  }
}

// Channels of a group share their statistics: then the squares are those of the whole group.
HL_INLINE void join_groups(const ChannelNormShape& s, double* mean, double* squares) {
  const int64_t size = s.C / s.groups;
  if (size == 1) return;
  for (int64_t g = 0; g < s.groups; ++g, mean += size, squares += size) {
    double m = 0, q = 0, between = 0;
    for (int64_t c = 0; c < size; ++c) m += mean[c];
    m /= double(size);
    for (int64_t c = 0; c < size; ++c) {
      q += squares[c];
      between += (mean[c] - m) * (mean[c] - m);
    }
    q += double(s.rows) * between;
    for (int64_t c = 0; c < size; ++c) mean[c] = m, squares[c] = q;
  }
}

// y = (x - m) a + shift from mean and variance.
template <class T>
HL_INLINE void set_map(const ChannelNormShape& s, const double* mean, const double* var, const T* w,
                       const T* b, const Scratch<T>& to, T* mean_out, T* rstd_out) {
  const int64_t size = s.C / s.groups;
  for (int64_t c = 0; c < s.C; ++c) {
    const double rstd = 1 / __builtin_sqrt(var[c] + s.eps), a = w ? double(w[c]) * rstd : rstd;
    const T m = T(mean[c]);
    to.m[c] = m;
    to.a[c] = T(a);
    to.shift[c] = T((b ? double(b[c]) : 0) - (mean[c] - double(m)) * a);
    to.c[c] = T(rstd);
  }
  for (int64_t g = 0; g < s.groups; ++g) {
    if (mean_out) mean_out[g] = to.m[g * size];
    if (rstd_out) rstd_out[g] = to.c[g * size];
  }
}

template <class T>
struct Finish {
  UnaryRow<T> act;
  bool past;
};

template <class T>
HL_INLINE void finish_rows(const ChannelNormShape& s, const Finish<T>& f, const T* x, T* y,
                           int64_t ld, int64_t rows, int64_t width, const Scratch<T>& w,
                           int64_t column) {
  const T *m = w.m + column, *a = w.a + column, *shift = w.shift + column;
  if (!f.act) {
    return with_rectifier(s, w, column, [&](const auto& rectifier) {
      if (f.past) return scale_rows<true>(x, ld, y, ld, rows, width, m, a, shift, rectifier);
      return scale_rows<false>(x, ld, y, ld, rows, width, m, a, shift, rectifier);
    });
  }
  alignas(64) T buffer[kNormTile];
  const int64_t tile = kNormTile / width;
  for (int64_t r = 0; r < rows; r += tile, x += tile * ld, y += tile * ld) {
    const int64_t n = least(tile, rows - r);
    const bool apart = f.past || width != ld;
    T* to = apart ? buffer : y;
    scale_rows<false>(x, ld, to, width, n, width, m, a, shift, Linear<T>{});
    f.act(to, to, n * width, s.p0, s.p1);
    if (f.past) {
      stream_rows(to, y, ld, n, width);
    } else if (apart) {
      for (int64_t i = 0; i < n; ++i) {
        __builtin_memcpy(y + i * ld, to + i * width, uint64_t(width) * sizeof(T));
      }
    }
  }
}

// The mean over samples of mean and variance, into the running statistics.
template <class T>
void update_running(const ChannelNormShape& s, const double* totals, T* mean, T* var) {
  const double keep = 1 - s.momentum, take = s.momentum / double(s.outer);
  for (int64_t c = 0; c < s.C; ++c) {
    double m = 0, v = 0;
    for (int64_t o = 0; o < s.outer; ++o) {
      m += totals[2 * o * s.C + c];
      v += totals[(2 * o + 1) * s.C + c];
    }
    if (mean) mean[c] = T(keep * double(mean[c]) + take * m);
    if (var) var[c] = T(keep * double(var[c]) + take * v);
  }
}

}  // namespace

template <class T>
Plan channel_norm_forward_plan(const ChannelNormShape& s) {
  return channel_plan<T>(s, 2, !s.given);
}
template <class T>
void channel_norm_forward(Ctx& ctx, const ChannelNormShape& s, const T* x, const T* w, const T* b,
                          T* running_mean, T* running_var, T* y, T* mean, T* rstd) {
  const Columns c = columns_of<T>(s.rows, s.C);
  const bool update = running_mean || running_var;
  const Finish<T> f = {rows_after<T>(s).forward, goes_past(ctx, s, c, y, 1)};
  double* totals = reinterpret_cast<double*>(ctx.shared);
  const int64_t bytes = s.given ? 0 : s.outer * s.C * 16;
  for_samples<T>(ctx, s, c, bytes, [&](int64_t o, const Scratch<T>& scratch) {
    const T* from = x + o * s.rows * s.C;
    T* to = y + o * s.rows * s.C;
    double *m = scratch.part, *v = scratch.part + c.W;
    if (s.given) {
      for (int64_t i = 0; i < s.C; ++i)
        m[i] = double(running_mean[i]), v[i] = double(running_var[i]);
    } else {
      sample_moments(ctx, c, from, scratch.part);
      join_groups(s, m, v);
      const double n = double(s.rows) * double(s.C / s.groups);
      if (update) {
        for (int64_t i = 0; i < s.C; ++i) {
          totals[2 * o * s.C + i] = m[i];
          totals[(2 * o + 1) * s.C + i] = v[i] / (n - 1);
        }
      }
      for (int64_t i = 0; i < s.C; ++i) v[i] /= n;
    }
    const int64_t at = s.per_sample ? o * s.C : 0;
    set_map(s, m, v, w ? w + at : nullptr, b ? b + at : nullptr, scratch,
            mean ? mean + o * s.groups : nullptr, rstd ? rstd + o * s.groups : nullptr);
    spread(c, scratch.m), spread(c, scratch.a), spread(c, scratch.shift);
    for_parts(ctx, c, true, [&](const Part& p) {
      const int64_t first = p.row * c.W + p.column;
      finish_rows(s, f, from + first, to + first, c.W, p.rows, p.width, scratch, p.column);
      if (p.last) {
        const int64_t last = c.rows * c.W;
        finish_rows(s, {f.act, false}, from + last, to + last, c.rest, 1, c.rest, scratch, 0);
      }
      if (f.past) store_fence();
    });
  });
  if (!s.given && update) update_running(s, totals, running_mean, running_var);
}

HL_DEFINE_KERNEL(channel_norm_forward);

}  // namespace hl::cpu::HL_ISA
