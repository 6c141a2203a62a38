// Norms over channels, which are the last axis: statistics are sums down columns, the rest goes element by
// element. A thread takes 16 bytes of channels beside each other.
#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/packs.h"
#include "cuda/sums.h"
#include "cuda/unary.h"
#include "ops/norm/norm.h"

namespace hl::cuda {
namespace {

template <class T>
int pack_of(const ChannelNormShape& s) {
  return with_packs<T>(s.C, [](auto size) { return int(size); });
}

// Scratch of a call. What is known of a channel lies there for every channel of every sample, so that
// nobody has to look up its group.
template <class T>
struct Scratch {
  Two *moments, *sums;  // of every group, of every channel
  T *mean, *scale, *shift, *slope, *offset;
  unsigned char* part;
  int64_t bytes;

  Scratch(unsigned char* at, const ChannelNormShape& s)
      : moments(reinterpret_cast<Two*>(at)),
        sums(moments + s.outer * s.groups),
        mean(reinterpret_cast<T*>(sums + s.outer * s.C)),
        scale(mean + s.outer * s.C),
        shift(scale + s.outer * s.C),
        slope(shift + s.outer * s.C),
        offset(slope + s.outer * s.C),
        part(reinterpret_cast<unsigned char*>(offset + s.outer * (s.C + s.C % 2))),
        bytes((part - at) + sum_bytes(s.outer * s.C, s.rows, true, pack_of<T>(s))) {}
};

template <class T>
Plan channel_plan(const ChannelNormShape& s, int passes) {
  const double n = double(s.outer) * double(s.rows) * double(s.C);
  return {"columns, then elements",     nullptr, {1, 1, pack_of<T>(s)},
          Scratch<T>(nullptr, s).bytes, 0,       4 * n,
          passes * n * sizeof(T)};
}
template <class T>
Plan channel_norm_forward_plan(const ChannelNormShape& s) {
  return channel_plan<T>(s, 2);
}
template <class T>
Plan channel_norm_backward_plan(const ChannelNormShape& s) {
  return channel_plan<T>(s, 3);
}

// Where w and b of a sample's channel lie; i counts (outer, C).
__device__ int64_t affine_at(const ChannelNormShape& s, int64_t i) {
  return s.per_sample ? i : i % s.C;
}

// f(group, its first channel, counted over all samples, lane) for every group, by a warp each.
template <class F>
void each_group(const Ctx& ctx, const ChannelNormShape& s, F f) {
  const int64_t size = s.C / s.groups;
  each(ctx, s.outer * s.groups * kWarp,
       [=] __device__(int64_t i) { f(i / kWarp, i / kWarp * size, int(i % kWarp)); });
}

// f(place, its channel counted over all samples) for packs of kPack channels of every row.
template <int kPack, class F>
void each_pack(const Ctx& ctx, const ChannelNormShape& s, F f) {
  const Divider packs = divide_by(s.C / kPack), rows = divide_by(s.rows);
  const int64_t C = s.C;
  each(ctx, s.outer * s.rows * (s.C / kPack), [=] __device__(int64_t i) {
    int64_t row = i;
    const int64_t c = last_index(row, packs) * kPack;
    f(i * kPack, quotient(row, rows) * C + c);
  });
}

template <class T, int kPack>
struct ForwardColumns {
  int64_t at;
  Pack<T, kPack> first;
};

template <class T, int kPack>
void forward(Ctx& ctx, const ChannelNormShape& s, const T* x, const T* w, const T* b,
             T* running_mean, T* running_var, T* y, T* mean, T* rstd) {
  using P = Pack<T, kPack>;
  const Scratch<T> scratch(ctx.shared, s);
  Two *moments = scratch.moments, *sums = scratch.sums;
  T *m = scratch.mean, *a = scratch.scale, *shift = scratch.shift;
  const int64_t size = s.C / s.groups, sample = s.rows * s.C, C = s.C;
  const bool x_whole = all_aligned({x}), y_whole = all_aligned({y});
  if (!s.given) {
    // Of x - k and (x - k)^2, k the column's first number.
    sum_packs<kPack>(
        ctx, s.outer, s.rows, s.C, scratch.part, sums,
        [=] __device__(int64_t o, int64_t c) {
          return ForwardColumns<T, kPack>{o * sample + c, P::load(x + o * sample + c, x_whole)};
        },
        [=] __device__(const ForwardColumns<T, kPack>& column, int64_t r, auto add) {
          const P v = P::load(x + column.at + r * C, x_whole);
#pragma unroll
          for (int e = 0; e < kPack; ++e) {
            const double d = double(v.v[e]) - double(column.first.v[e]);
            add(e, {d, d * d});
          }
        });
    each_group(ctx, s, [=] __device__(int64_t group, int64_t channel, int lane) {
      // The channels of a group have equally many numbers: the mean is the mean of means.
      const double n = double(s.rows), channels = double(size);
      const T* first = x + channel / C * sample + channel % C;
      double means = 0, squares = 0;
      for (int64_t c = lane; c < size; c += kWarp) {
        means += double(first[c]) + sums[channel + c].a / n;
      }
      const double mean_of_all = warp_reduce(means, Plus()) / channels;
      for (int64_t c = lane; c < size; c += kWarp) {
        const Two sum = sums[channel + c];
        const double off = sum.a / n, gap = double(first[c]) + off - mean_of_all;
        squares += (sum.b - sum.a * off) + n * gap * gap;
      }
      const double var = warp_reduce(squares, Plus()) / (n * channels);
      if (lane == 0) moments[group] = {mean_of_all, var > 0 || var != var ? var : 0};
    });
  }
  each(ctx, s.outer * s.C, [=] __device__(int64_t i) {
    const int64_t o = i / s.C, c = i % s.C, group = o * s.groups + c / size, at = affine_at(s, i);
    // Given statistics are the channel's own, whatever shares those of the batch.
    const Two mo = s.given ? Two{double(running_mean[c]), double(running_var[c])} : moments[group];
    const double r = 1 / sqrt(mo.b + s.eps), scale = w ? double(w[at]) * r : r;
    m[i] = T(mo.a);
    a[i] = T(scale);
    shift[i] = T((b ? double(b[at]) : 0) - (mo.a - double(T(mo.a))) * scale);
    if (c % size == 0) {
      if (mean) mean[group] = T(mo.a);
      if (rstd) rstd[group] = T(r);
    }
  });
  if (!s.given && (running_mean || running_var)) {
    const double n = double(s.rows) * double(size);
    each(ctx, s.C, [=] __device__(int64_t c) {
      double all_means = 0, all_vars = 0;
      for (int64_t o = 0; o < s.outer; ++o) {
        const Two mo = moments[o * s.groups + c / size];
        all_means += mo.a, all_vars += mo.b * n / (n - 1);
      }
      const double keep = 1 - s.momentum, take = s.momentum / double(s.outer);
      if (running_mean) running_mean[c] = T(keep * double(running_mean[c]) + take * all_means);
      if (running_var) running_var[c] = T(keep * double(running_var[c]) + take * all_vars);
    });
  }
  each_pack<kPack>(ctx, s, [=] __device__(int64_t i, int64_t channel) {
    P z = P::load(x + i, x_whole);
    const P centre = P::load(m + channel), scale = P::load(a + channel),
            by = P::load(shift + channel);
#pragma unroll
    for (int e = 0; e < kPack; ++e) z.v[e] = (z.v[e] - centre.v[e]) * scale.v[e] + by.v[e];
    if (s.activation != kNoActivation) {
      z.replace([=](T v) { return activate(s.activation, v, s.p0, s.p1); });
    }
    z.store(y + i, y_whole);
  });
}

template <class T>
void channel_norm_forward(Ctx& ctx, const ChannelNormShape& s, const T* x, const T* w, const T* b,
                          T* running_mean, T* running_var, T* y, T* mean, T* rstd) {
  with_packs<T>(s.C, [&](auto size) {
    forward<T, size>(ctx, s, x, w, b, running_mean, running_var, y, mean, rstd);
  });
}

template <class T, int kPack>
struct BackwardColumns {
  int64_t at;
  Pack<T, kPack> mean, scale, bias;
};

template <class T, int kPack>
void backward(Ctx& ctx, const ChannelNormShape& s, const T* dy, const T* x, const T* w, const T* b,
              const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  using P = Pack<T, kPack>;
  using Columns = BackwardColumns<T, kPack>;
  const int64_t size = s.C / s.groups, sample = s.rows * s.C, C = s.C;
  const bool dy_whole = all_aligned({dy}), x_whole = all_aligned({x}), dx_whole = all_aligned({dx});
  // dx = dz scale + (x - m) slope + offset, scale = rstd w
  const Scratch<T> scratch(ctx.shared, s);
  Two* sums = scratch.sums;
  T *m = scratch.mean, *a = scratch.scale, *bias = scratch.shift;
  T *slope = scratch.slope, *offset = scratch.offset;
  each(ctx, s.outer * s.C, [=] __device__(int64_t i) {
    const int64_t group = i / C * s.groups + i % C / size, at = affine_at(s, i);
    m[i] = mean[group];
    a[i] = w ? rstd[group] * w[at] : rstd[group];
    bias[i] = b ? b[at] : T(0);
  });
  const auto known_of = [=] __device__(int64_t at, int64_t channel) {
    return Columns{at, P::load(m + channel), P::load(a + channel), P::load(bias + channel)};
  };
  // dz of the pack at i, and x - m.
  const auto gradient = [=] __device__(const Columns& known, int64_t i, P& from_mean) {
    P g = P::load(dy + i, dy_whole);
    from_mean = P::load(x + i, x_whole);
#pragma unroll
    for (int e = 0; e < kPack; ++e) from_mean.v[e] -= known.mean.v[e];
    if (s.activation != kNoActivation) {
      P z;
#pragma unroll
      for (int e = 0; e < kPack; ++e) {
        z.v[e] = from_mean.v[e] * known.scale.v[e] + known.bias.v[e];
      }
      g.replace(
          [=](T by, T at) {
            const T saved = s.act_from_y ? activate(s.activation, at, s.p0, s.p1) : at;
            return activate_gradient(s.activation, by, saved, s.p0, s.p1);
          },
          z);
    }
    return g;
  };
  if (dw || db || !s.given) {
    sum_packs<kPack>(
        ctx, s.outer, s.rows, s.C, scratch.part, sums,
        [=] __device__(int64_t o, int64_t c) { return known_of(o * sample + c, o * C + c); },
        [=] __device__(const Columns& known, int64_t r, auto add) {
          P from_mean;
          const P g = gradient(known, known.at + r * C, from_mean);
#pragma unroll
          for (int e = 0; e < kPack; ++e) {
            add(e, {double(g.v[e]), double(g.v[e]) * double(from_mean.v[e])});
          }
        });
    const int64_t results = s.per_sample ? s.outer : 1, summed = s.per_sample ? 1 : s.outer;
    each(ctx, dw || db ? results * s.C : 0, [=] __device__(int64_t i) {
      double weight = 0, bias_sum = 0;
      for (int64_t k = 0; k < summed; ++k) {
        const int64_t o = i / s.C + k, c = i % s.C;
        const Two sum = sums[o * s.C + c];
        bias_sum += sum.a, weight += sum.b * double(rstd[o * s.groups + c / size]);
      }
      if (db) db[i] = T(bias_sum);
      if (dw) dw[i] = T(weight);
    });
    if (!s.given) {
      each_group(ctx, s, [=] __device__(int64_t group, int64_t channel, int lane) {
        const double share = 1 / (double(s.rows) * double(size)), r = double(rstd[group]);
        double sum = 0, product = 0;
        for (int64_t c = channel + lane; c < channel + size; c += kWarp) {
          const double weight = w ? double(w[affine_at(s, c)]) : 1;
          sum += weight * sums[c].a, product += weight * sums[c].b;
        }
        sum = warp_reduce(sum, Plus()), product = warp_reduce(product, Plus());
        for (int64_t c = channel + lane; c < channel + size; c += kWarp) {
          slope[c] = T(-r * r * r * product * share);
          offset[c] = T(-r * sum * share);
        }
      });
    }
  }
  if (!dx) return;
  each_pack<kPack>(ctx, s, [=] __device__(int64_t i, int64_t channel) {
    const Columns known = known_of(i, channel);
    P from_mean;
    P g = gradient(known, i, from_mean);
#pragma unroll
    for (int e = 0; e < kPack; ++e) g.v[e] *= known.scale.v[e];
    if (!s.given) {
      const P steep = P::load(slope + channel), by = P::load(offset + channel);
#pragma unroll
      for (int e = 0; e < kPack; ++e) g.v[e] += from_mean.v[e] * steep.v[e] + by.v[e];
    }
    g.store(dx + i, dx_whole);
  });
}

template <class T>
void channel_norm_backward(Ctx& ctx, const ChannelNormShape& s, const T* dy, const T* x, const T* w,
                           const T* b, const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  with_packs<T>(s.C,
                [&](auto size) { backward<T, size>(ctx, s, dy, x, w, b, mean, rstd, dx, dw, db); });
}

HL_CUDA_KERNEL(channel_norm_forward);
HL_CUDA_KERNEL(channel_norm_backward);

}  // namespace
}  // namespace hl::cuda
