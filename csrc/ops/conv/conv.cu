// Convolution by plain threads: products whose operands look up their pixels, one a group; with few
// channels a group, where a tile would be mostly empty, a thread per result.
#include "cuda/fold.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/conv/operands.cuh"

namespace hl::cuda {
namespace {

constexpr const char* kProduct = "implicit product, tiles by plain threads";
constexpr const char* kDirect = "a thread per result";
constexpr const char* kFew = "few channels a group would leave most of a tile empty";
constexpr const char* kFar = "a number of 2^27 or more among the sizes, or a stride above 16";

template <class T>
Plan conv_plan(const ConvShape& s, const char* direct, int64_t scratch) {
  const double w = double(weights(s)), out = double(s.N * product(s.out));
  const double in = double(s.N * product(s.in));
  Plan p = {direct ? kDirect : kProduct,
            direct,
            {kTile, kTile, kDepth},
            scratch,
            0,
            2 * out * w,
            (in * double(s.C) + w + out * double(s.K)) * sizeof(T)};
  if (direct) p.tile[0] = p.tile[1] = p.tile[2] = 1;
  return p;
}

// Why each result, of `channels` channels, has a thread of its own; null: they are a product.
const char* direct(const ConvShape& s, int64_t channels, bool backward = false) {
  return few(s, channels)                                         ? kFew
         : conv_near(s) && (!backward || few_phases<uint64_t>(s)) ? nullptr
                                                                  : kFar;
}

// use(pixel, tap) for the taps of a result in image n that meet a pixel of the other side, both numbered in
// C order. look(axis, t) is the place of tap t along an axis, negative outside.
template <class Look, class Use>
__device__ void each_tap(const int64_t (&kernel)[3], const int64_t (&size)[3], int64_t n, Look look,
                         Use use) {
  for (int64_t t0 = 0; t0 < kernel[0]; ++t0) {
    const int64_t d = look(0, t0);
    if (d < 0) continue;
    for (int64_t t1 = 0; t1 < kernel[1]; ++t1) {
      const int64_t h = look(1, t1);
      if (h < 0) continue;
      const int64_t line = ((n * size[0] + d) * size[1] + h) * size[2];
      const int64_t tap = (t0 * kernel[1] + t1) * kernel[2];
      for (int64_t t2 = 0; t2 < kernel[2]; ++t2) {
        const int64_t w = look(2, t2);
        if (w >= 0) use(line + w, tap + t2);
      }
    }
  }
}
// What tap t of output `out` looks at along an axis.
__device__ int64_t looks_at(const ConvShape& s, int a, int64_t out, int64_t t) {
  const int64_t i = out * s.stride[a] + t * s.dilation[a] - s.pad[a];
  return i < s.in[a] ? i : -1;
}
// The output whose tap t looks at `in`.
__device__ int64_t seen_by(const ConvShape& s, const Block3& strides, int a, int64_t in,
                           int64_t t) {
  const int64_t at = in + s.pad[a] - t * s.dilation[a];
  if (at < 0) return -1;
  const int64_t j = quotient(at, strides.size[a]);
  return j * s.stride[a] == at && j < s.out[a] ? j : -1;
}

// ---- forward ---------------------------------------------------------------------------------------
template <class T>
Plan conv_forward_plan(const ConvShape& s) {
  return conv_plan<T>(s, direct(s, s.K), 0);
}

struct GroupStarts {
  int64_t step;
  __device__ int64_t operator()(int64_t group) const { return group * step; }
};

template <class T>
void conv_forward(Ctx& ctx, const ConvShape& s, const T* x, const T* w, const T*, const T* b, T* y,
                  T* z) {
  const int64_t c_group = s.C / s.groups, k_group = s.K / s.groups;
  const int64_t pixels = s.N * product(s.out), depth = product(s.kernel) * c_group;
  if (!direct(s, s.K)) {
    GatheredRows<T> rows = {{}, x};
    make_gather(s, false, c_group, c_group, rows.gather);
    const Strided<const T, GroupStarts> weights = {w, 1, depth, {k_group * depth}};
    return gemm_plain<T>(
        ctx, s.groups, pixels, k_group, depth, rows, weights,
        PixelStore<T>{rows.gather, false, k_group, s.K, b, y, z, s.activation, s.p0, s.p1});
  }
  const Block3 outs = block_of(s.out);
  const Divider by_k = divide_by(s.K), by_group = divide_by(k_group);
  each(ctx, pixels * s.K, [=] __device__(int64_t i) {
    int64_t pixel = i, out[3];
    const int64_t o = last_index(pixel, by_k), first = quotient(o, by_group) * c_group;
    const int64_t n = place_in(outs, pixel, out);
    T sum = 0;
    each_tap(
        s.kernel, s.in, n, [&](int a, int64_t t) { return looks_at(s, a, out[a], t); },
        [&](int64_t from, int64_t tap) {
          const T *weight = w + o * depth + tap * c_group, *at = x + from * s.C + first;
          for (int64_t c = 0; c < c_group; ++c) sum += at[c] * weight[c];
        });
    const T total = b ? sum + b[o] : sum;
    if (z) z[i] = total;
    y[i] = activate(s.activation, total, s.p0, s.p1);
  });
}

// ---- backward to the input, or transposed ----------------------------------------------------------
template <class T>
Plan conv_backward_data_plan(const ConvShape& s) {
  return conv_plan<T>(s, direct(s, s.C, true), 0);
}

template <class T>
void conv_backward_data(Ctx& ctx, const ConvShape& s, const T* dy, const T* w, const T* b, T* dx,
                        T* z) {
  const int64_t c_group = s.C / s.groups, k_group = s.K / s.groups, taps = product(s.kernel);
  if (!direct(s, s.C, true)) {
    GatheredRows<T> rows = {{}, dy};
    make_gather(s, true, k_group, c_group, rows.gather);
    const Units& g = rows.gather;
    const GatheredWeights<T> weights = {g, w, k_group * taps * c_group, taps * c_group};
    const int64_t batches = g.batches(s.groups);
    return gemm_plain<T>(
        ctx, batches, g.rows, c_group, g.most_taps() * k_group, rows, weights,
        PixelStore<T>{g, batches > s.groups, c_group, s.C, b, dx, z, s.activation, s.p0, s.p1});
  }
  const Block3 ins = block_of(s.in), strides = block_of(s.stride);
  const Divider by_c = divide_by(s.C), by_group = divide_by(c_group);
  each(ctx, s.N * product(s.in) * s.C, [=] __device__(int64_t i) {
    int64_t pixel = i, in[3];
    const int64_t c = last_index(pixel, by_c), g = quotient(c, by_group);
    const int64_t n = place_in(ins, pixel, in);
    T sum = 0;
    each_tap(
        s.kernel, s.out, n, [&](int a, int64_t t) { return seen_by(s, strides, a, in[a], t); },
        [&](int64_t from, int64_t tap) {
          const T* weight = w + (g * k_group * taps + tap) * c_group + (c - g * c_group);
          const T* at = dy + from * s.K + g * k_group;
          for (int64_t o = 0; o < k_group; ++o) sum += at[o] * weight[o * taps * c_group];
        });
    const T total = b ? sum + b[c] : sum;
    if (z) z[i] = total;
    dx[i] = activate(s.activation, total, s.p0, s.p1);
  });
}

// ---- backward to the weights -----------------------------------------------------------------------
template <class T>
Plan conv_backward_weight_plan(const ConvShape& s) {
  const int64_t parts = weight_parts(s, sizeof(T)), n = weights(s);
  const int64_t partial =
      parts > 1 ? aligned(parts * n * int64_t(sizeof(T))) + sum_rows_bytes<T>(parts, n) : 0;
  const int64_t bias = sum_rows_bytes<T>(s.N * product(s.out), s.K);
  return conv_plan<T>(s, direct(s, s.K), partial > bias ? partial : bias);
}

template <class T>
void conv_backward_weight(Ctx& ctx, const ConvShape& s, const T* dy, const T* x, T* dw, T* db) {
  const int64_t pixels = s.N * product(s.out), n = weights(s);
  if (db) sum_rows(ctx, pixels, s.K, dy, db, ctx.shared);
  if (!dw || n == 0) return;
  const int64_t c_group = s.C / s.groups, k_group = s.K / s.groups, depth = n / s.K;
  const int64_t parts = weight_parts(s, sizeof(T)), length = ceil_div(pixels, parts);
  const Divider by_c = divide_by(c_group), by_parts = divide_by(parts);
  T* to = parts > 1 ? reinterpret_cast<T*>(ctx.shared) : dw;
  if (!direct(s, s.K)) {
    TapPixels<T> taps = {pixels_of(s), x, s.C, c_group, length, pixels, by_parts, by_c};
    taps.pixels.moves_by(kThreads / kTile);
    gemm_plain<T>(ctx, s.groups * parts, k_group, depth, length,
                  PartChannels<T>{dy, s.K, k_group, length, pixels, by_parts, 1, s.K}, taps,
                  PartStore<T>{to, n, k_group, depth, by_parts});
  } else {
    const Block3 outs = block_of(s.out), taps = block_of(s.kernel);
    const Divider by_weights = divide_by(n), by_k = divide_by(s.K), by_group = divide_by(k_group);
    // Neighbouring threads take neighbouring output channels, as dy and x store them.
    each(ctx, parts * n, [=] __device__(int64_t i) {
      int64_t part = i, out[3], tap[3];
      int64_t k = last_index(part, by_weights);
      const int64_t o = last_index(k, by_k), at = part * n + o * depth + k;
      const int64_t c = quotient(o, by_group) * c_group + last_index(k, by_c);
      place_in(taps, k, tap);
      const int64_t last = (part + 1) * length < pixels ? (part + 1) * length : pixels;
      int64_t image = place_in(outs, part * length, out);
      double sum = 0;
      for (int64_t pixel = part * length; pixel < last; ++pixel) {
        int64_t from = image;
        bool inside = true;
#pragma unroll
        for (int a = 0; a < 3; ++a) {
          const int64_t j = looks_at(s, a, out[a], tap[a]);
          inside = inside && j >= 0;
          from = from * s.in[a] + j;
        }
        if (inside) sum += dy[pixel * s.K + o] * x[from * s.C + c];
        if (++out[2] < s.out[2]) continue;
        out[2] = 0;
        if (++out[1] < s.out[1]) continue;
        out[1] = 0;
        if (++out[0] < s.out[0]) continue;
        out[0] = 0, ++image;
      }
      to[at] = T(sum);
    });
  }
  if (parts > 1) {
    sum_rows(ctx, parts, n, to, dw, ctx.shared + aligned(parts * n * int64_t(sizeof(T))));
  }
}

HL_CUDA_KERNEL(conv_forward);
HL_CUDA_KERNEL(conv_backward_data);
HL_CUDA_KERNEL(conv_backward_weight);

}  // namespace
}  // namespace hl::cuda
