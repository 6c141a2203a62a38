#include "cuda/kernel.h"
#include "cuda/sums.h"
#include "cuda/unary.h"
#include "ops/norm/norm.h"

namespace hl::cuda {
namespace {

// Scratch of a call.
template <class T>
struct Scratch {
  Two *groups, *sums;  // of every group, of every sample's channel
  T *m, *a, *shift;    // of every sample's channel
  unsigned char* part;
  int64_t bytes;

  Scratch(unsigned char* at, const ChannelNormShape& s)
      : groups(reinterpret_cast<Two*>(at)),
        sums(groups + s.outer * s.groups),
        m(reinterpret_cast<T*>(sums + s.outer * s.C)),
        a(m + s.outer * s.C),
        shift(a + s.outer * s.C),
        part(reinterpret_cast<unsigned char*>(shift + 2 * s.outer * s.C)),
        bytes((part - at) + sum_bytes(s.outer * s.C, s.rows, true)) {}
};

template <class T>
Plan channel_plan(const ChannelNormShape& s, int passes) {
  const double n = double(s.outer) * double(s.rows) * double(s.C);
  return {"columns, then elements", nullptr, {1, 1, 1}, Scratch<T>(nullptr, s).bytes, 0, 4 * n,
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

// Sums of x - k and (x - k)^2, k the column's first number, to mean and variance of the groups.
template <class T>
__device__ Two group_moments(const ChannelNormShape& s, const T* x, const Two* sums, int64_t i) {
  const int64_t size = s.C / s.groups, o = i / s.groups, first = i % s.groups * size;
  const double n = double(s.rows);
  double mean = 0, squares = 0, before = 0;
  for (int64_t c = first; c < first + size; ++c, before += n) {
    const Two sum = sums[o * s.C + c];
    const double shift = sum.a / n, m = double(x[o * s.rows * s.C + c]) + shift;
    const double gap = m - mean, all = before + n;
    squares += (sum.b - sum.a * shift) + gap * gap * (before * n / all);
    mean += gap * (n / all);
  }
  const double var = squares / (n * double(size));
  return {mean, var > 0 || var != var ? var : 0};
}

template <class T>
void channel_norm_forward(Ctx& ctx, const ChannelNormShape& s, const T* x, const T* w, const T* b,
                          T* running_mean, T* running_var, T* y, T* mean, T* rstd) {
  const Scratch<T> scratch(ctx.shared, s);
  Two *moments = scratch.groups, *sums = scratch.sums;
  T *m = scratch.m, *a = scratch.a, *shift = scratch.shift;
  const int64_t size = s.C / s.groups, sample = s.rows * s.C;
  if (!s.given) {
    sum_columns(ctx, s.outer, s.rows, s.C, scratch.part, sums,
                [=] __device__(int64_t o, int64_t r, int64_t c) {
                  const T* from = x + o * sample + c;
                  const double d = double(from[r * s.C]) - double(from[0]);
                  return Two{d, d * d};
                });
    each(ctx, s.outer * s.groups,
         [=] __device__(int64_t i) { moments[i] = group_moments(s, x, sums, i); });
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
  each(ctx, s.outer * sample, [=] __device__(int64_t i) {
    const int64_t at = i / sample * s.C + i % s.C;
    y[i] = activate(s.activation, (x[i] - m[at]) * a[at] + shift[at], s.p0, s.p1);
  });
}

template <class T>
void channel_norm_backward(Ctx& ctx, const ChannelNormShape& s, const T* dy, const T* x, const T* w,
                           const T* b, const T* mean, const T* rstd, T* dx, T* dw, T* db) {
  const int64_t size = s.C / s.groups, sample = s.rows * s.C;
  // dx = dz rstd w + (x - m) slope + shift
  const Scratch<T> scratch(ctx.shared, s);
  Two *slopes = scratch.groups, *sums = scratch.sums;
  const auto dz = [=] __device__(int64_t i, int64_t channel, int64_t group) {
    if (s.activation == kNoActivation) return dy[i];
    const int64_t at = affine_at(s, channel);
    const T scale = w ? rstd[group] * w[at] : rstd[group];
    const T z = (x[i] - mean[group]) * scale + (b ? b[at] : T(0));
    const T saved = s.act_from_y ? activate(s.activation, z, s.p0, s.p1) : z;
    return activate_gradient(s.activation, dy[i], saved, s.p0, s.p1);
  };
  if (dw || db || !s.given) {
    sum_columns(ctx, s.outer, s.rows, s.C, scratch.part, sums,
                [=] __device__(int64_t o, int64_t r, int64_t c) {
                  const int64_t i = o * sample + r * s.C + c, group = o * s.groups + c / size;
                  const double g = double(dz(i, o * s.C + c, group));
                  return Two{g, g * double(x[i] - mean[group])};
                });
    const int64_t results = s.per_sample ? s.outer : 1, summed = s.per_sample ? 1 : s.outer;
    each(ctx, dw || db ? results * s.C : 0, [=] __device__(int64_t i) {
      double weight = 0, bias = 0;
      for (int64_t k = 0; k < summed; ++k) {
        const int64_t o = i / s.C + k, c = i % s.C;
        const Two sum = sums[o * s.C + c];
        bias += sum.a, weight += sum.b * double(rstd[o * s.groups + c / size]);
      }
      if (db) db[i] = T(bias);
      if (dw) dw[i] = T(weight);
    });
    each(ctx, s.given ? 0 : s.outer * s.groups, [=] __device__(int64_t i) {
      const double share = 1 / (double(s.rows) * double(size)), r = double(rstd[i]);
      double sum = 0, product = 0;
      for (int64_t c = i % s.groups * size, k = 0; k < size; ++k, ++c) {
        const int64_t channel = i / s.groups * s.C + c;
        const double weight = w ? double(w[affine_at(s, channel)]) : 1;
        sum += weight * sums[channel].a, product += weight * sums[channel].b;
      }
      slopes[i] = {-r * r * r * product * share, -r * sum * share};
    });
  }
  each(ctx, dx ? s.outer * sample : 0, [=] __device__(int64_t i) {
    const int64_t channel = i / sample * s.C + i % s.C,
                  group = i / sample * s.groups + i % s.C / size;
    const T r = rstd[group], scale = w ? r * w[affine_at(s, channel)] : r;
    const T g = dz(i, channel, group) * scale;
    dx[i] = s.given ? g : g + ((x[i] - mean[group]) * T(slopes[group].a) + T(slopes[group].b));
  });
}

HL_CUDA_KERNEL(channel_norm_forward);
HL_CUDA_KERNEL(channel_norm_backward);

}  // namespace
}  // namespace hl::cuda
