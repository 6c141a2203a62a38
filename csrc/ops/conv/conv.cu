// Convolutions as matrix products whose operands look up their pixels, one product a group; with few
// channels a group, where a tile would be mostly empty, a thread per result.
#include "cuda/divide.h"
#include "cuda/fold.h"
#include "cuda/gemm.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "cuda/unary.h"
#include "ops/conv/conv.cuh"

namespace hl::cuda {
namespace {

constexpr const char* kProduct = "implicit product, tiles by plain threads";
constexpr const char* kDirect = "a thread per result";
constexpr const char* kFew = "few channels a group would leave most of a tile empty";

template <class T>
Plan conv_plan(const ConvShape& s, bool direct, int64_t scratch) {
  const double w = double(weights(s)), out = double(s.N * product(s.out));
  const double in = double(s.N * product(s.in));
  Plan p = {direct ? kDirect : kProduct,
            direct ? kFew : nullptr,
            {kTile, kTile, kDepth},
            scratch,
            0,
            2 * out * w,
            (in * double(s.C) + w + out * double(s.K)) * sizeof(T)};
  if (direct) p.tile[0] = p.tile[1] = p.tile[2] = 1;
  return p;
}

// The pixel that tap `tap` of output `out` looks at, counted over all images; -1 outside.
__device__ int64_t input_pixel(const ConvShape& s, int64_t n, const int64_t (&out)[3],
                               const int64_t (&tap)[3]) {
  int64_t pixel = n;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    const int64_t i = out[a] * s.stride[a] + tap[a] * s.dilation[a] - s.pad[a];
    if (i < 0 || i >= s.in[a]) return -1;
    pixel = pixel * s.in[a] + i;
  }
  return pixel;
}

// ---- forward ---------------------------------------------------------------------------------------
template <class T>
Plan conv_forward_plan(const ConvShape& s) {
  return conv_plan<T>(s, few(s, s.K), 0);
}

template <class T>
void conv_forward(Ctx& ctx, const ConvShape& s, const T* x, const T* w, const T*, const T* b, T* y,
                  T* z) {
  const int64_t c_group = s.C / s.groups, k_group = s.K / s.groups;
  const int64_t pixels = s.N * product(s.out), depth = product(s.kernel) * c_group;
  const Block3 outs = block_of(s.out), taps = block_of(s.kernel);
  const Divider by_c = divide_by(c_group);
  const auto finish = [=] __device__(int64_t at, int64_t o, T sum) {
    const T total = b ? sum + b[o] : sum;
    if (z) z[at] = total;
    y[at] = activate(s.activation, total, s.p0, s.p1);
  };
  if (few(s, s.K)) {
    const Divider by_k = divide_by(s.K), by_group = divide_by(k_group);
    return each(ctx, pixels * s.K, [=] __device__(int64_t i) {
      int64_t pixel = i, out[3], tap[3];
      const int64_t o = last_index(pixel, by_k), first = quotient(o, by_group) * c_group;
      const int64_t n = place_in(outs, pixel, out);
      const T* weight = w + o * depth;
      T sum = 0;
      for (tap[0] = 0; tap[0] < s.kernel[0]; ++tap[0]) {
        for (tap[1] = 0; tap[1] < s.kernel[1]; ++tap[1]) {
          for (tap[2] = 0; tap[2] < s.kernel[2]; ++tap[2], weight += c_group) {
            const int64_t from = input_pixel(s, n, out, tap);
            if (from < 0) continue;
            for (int64_t c = 0; c < c_group; ++c) sum += x[from * s.C + first + c] * weight[c];
          }
        }
      }
      finish(i, o, sum);
    });
  }
  gemm<T>(
      ctx, s.groups, pixels, k_group, depth,
      [=] __device__(int64_t g, int64_t i, int64_t k) {
        int64_t out[3], tap[3];
        const int64_t c = last_index(k, by_c);
        place_in(taps, k, tap);
        const int64_t n = place_in(outs, i, out), from = input_pixel(s, n, out, tap);
        return from < 0 ? T(0) : x[from * s.C + g * c_group + c];
      },
      [=] __device__(int64_t g, int64_t k, int64_t j) { return w[(g * k_group + j) * depth + k]; },
      [=] __device__(int64_t g, int64_t i, int64_t j, T sum) {
        finish(i * s.K + g * k_group + j, g * k_group + j, sum);
      });
}

// ---- backward to the input, or transposed ----------------------------------------------------------
//
// Of the taps, only those with i + pad - t * dilation = j * stride reach pixel i. With dilation 1 these
// are every stride-th one, from (i + pad) mod stride on: pixels of the same remainder ("phase") make a
// product of their own, over their taps. With dilation and stride the product runs over all taps.
struct Phases {
  int64_t step[3];   // from one tap of a phase to the next, and from one pixel to the next
  int64_t taps[3];   // of a phase, at most
  int64_t count[3];  // pixels of a phase, at most
};
Phases phases_of(const ConvShape& s) {
  Phases p;
  for (int a = 0; a < 3; ++a) {
    const bool cut = s.dilation[a] == 1 && s.stride[a] < s.in[a];
    p.step[a] = cut ? s.stride[a] : 1;
    p.taps[a] = ceil_div(s.kernel[a], p.step[a]);
    p.count[a] = ceil_div(s.in[a], p.step[a]);
  }
  return p;
}

// The output, counted over all images, whose tap `tap` looks at pixel `in`; -1 where there is none.
__device__ int64_t output_pixel(const ConvShape& s, const Block3& strides, int64_t n,
                                const int64_t (&in)[3], const int64_t (&tap)[3]) {
  int64_t pixel = n;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    const int64_t at = in[a] + s.pad[a] - tap[a] * s.dilation[a];
    if (at < 0 || tap[a] >= s.kernel[a] || in[a] >= s.in[a]) return -1;
    const int64_t j = quotient(at, strides.size[a]);
    if (j * s.stride[a] != at || j >= s.out[a]) return -1;
    pixel = pixel * s.out[a] + j;
  }
  return pixel;
}

template <class T>
Plan conv_backward_data_plan(const ConvShape& s) {
  return conv_plan<T>(s, few(s, s.C), 0);
}

template <class T>
void conv_backward_data(Ctx& ctx, const ConvShape& s, const T* dy, const T* w, const T* b, T* dx,
                        T* z) {
  const int64_t c_group = s.C / s.groups, k_group = s.K / s.groups, taps = product(s.kernel);
  const Block3 strides = block_of(s.stride);
  const auto finish = [=] __device__(int64_t at, int64_t c, T sum) {
    const T total = b ? sum + b[c] : sum;
    if (z) z[at] = total;
    dx[at] = activate(s.activation, total, s.p0, s.p1);
  };
  if (few(s, s.C)) {
    const Block3 ins = block_of(s.in);
    const Divider by_c = divide_by(s.C), by_group = divide_by(c_group);
    return each(ctx, s.N * product(s.in) * s.C, [=] __device__(int64_t i) {
      int64_t pixel = i, in[3], tap[3];
      const int64_t c = last_index(pixel, by_c), g = quotient(c, by_group);
      const int64_t n = place_in(ins, pixel, in);
      const T* weight = w + g * k_group * taps * c_group + (c - g * c_group);
      T sum = 0;
      for (tap[0] = 0; tap[0] < s.kernel[0]; ++tap[0]) {
        for (tap[1] = 0; tap[1] < s.kernel[1]; ++tap[1]) {
          for (tap[2] = 0; tap[2] < s.kernel[2]; ++tap[2], weight += c_group) {
            const int64_t from = output_pixel(s, strides, n, in, tap);
            if (from < 0) continue;
            for (int64_t o = 0; o < k_group; ++o) {
              sum += dy[from * s.K + g * k_group + o] * weight[o * taps * c_group];
            }
          }
        }
      }
      finish(i, c, sum);
    });
  }
  const Phases p = phases_of(s);
  const Block3 counts = block_of(p.count), taps_of_phase = block_of(p.taps);
  const Block3 starts = block_of(p.step), kernel = block_of(s.kernel);
  const Divider by_k = divide_by(k_group);
  // The place in the image of pixel i of a phase.
  const auto locate = [=] __device__(int64_t phase, int64_t i, int64_t (&in)[3]) {
    int64_t start[3];
    place_in(starts, phase, start);
    const int64_t n = place_in(counts, i, in);
#pragma unroll
    for (int a = 0; a < 3; ++a) in[a] = in[a] * p.step[a] + start[a];
    return n;
  };
  // Tap number k of a phase.
  const auto tap_at = [=] __device__(int64_t phase, int64_t k, int64_t (&tap)[3]) {
    int64_t start[3];
    place_in(starts, phase, start);
    place_in(taps_of_phase, k, tap);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      int64_t first = start[a] + s.pad[a];
      tap[a] = tap[a] * p.step[a] + last_index(first, starts.size[a]);
    }
  };
  const int64_t phases = product(p.step);
  const Divider by_phases = divide_by(phases);
  gemm<T>(
      ctx, s.groups * phases, s.N * product(p.count), c_group, product(p.taps) * k_group,
      [=] __device__(int64_t batch, int64_t i, int64_t k) {
        int64_t g = batch, in[3], tap[3];
        const int64_t phase = last_index(g, by_phases), o = last_index(k, by_k);
        const int64_t n = locate(phase, i, in);
        tap_at(phase, k, tap);
        const int64_t from = output_pixel(s, strides, n, in, tap);
        return from < 0 ? T(0) : dy[from * s.K + g * k_group + o];
      },
      [=] __device__(int64_t batch, int64_t k, int64_t j) {
        int64_t g = batch, tap[3];
        const int64_t phase = last_index(g, by_phases), o = last_index(k, by_k);
        tap_at(phase, k, tap);
        int64_t t = 0;
#pragma unroll
        for (int a = 0; a < 3; ++a) {
          if (tap[a] >= s.kernel[a]) return T(0);
          t = t * kernel.size[a].by + tap[a];
        }
        return w[((g * k_group + o) * taps + t) * c_group + j];
      },
      [=] __device__(int64_t batch, int64_t i, int64_t j, T sum) {
        int64_t g = batch, in[3];
        const int64_t phase = last_index(g, by_phases);
        int64_t pixel = locate(phase, i, in);
#pragma unroll
        for (int a = 0; a < 3; ++a) {
          if (in[a] >= s.in[a]) return;
          pixel = pixel * s.in[a] + in[a];
        }
        finish(pixel * s.C + g * c_group + j, g * c_group + j, sum);
      });
}

// ---- backward to the weights -----------------------------------------------------------------------

template <class T>
Plan conv_backward_weight_plan(const ConvShape& s) {
  const int64_t parts = weight_parts(s, sizeof(T)), n = weights(s);
  const int64_t partial =
      parts > 1 ? aligned(parts * n * int64_t(sizeof(T))) + sum_rows_bytes<T>(parts, n) : 0;
  const int64_t bias = sum_rows_bytes<T>(s.N * product(s.out), s.K);
  return conv_plan<T>(s, few(s, s.K), partial > bias ? partial : bias);
}

template <class T>
void conv_backward_weight(Ctx& ctx, const ConvShape& s, const T* dy, const T* x, T* dw, T* db) {
  const int64_t pixels = s.N * product(s.out), n = weights(s);
  if (db) sum_rows(ctx, pixels, s.K, dy, db, ctx.shared);
  if (!dw || n == 0) return;
  const int64_t c_group = s.C / s.groups, k_group = s.K / s.groups, depth = n / s.K;
  const int64_t parts = weight_parts(s, sizeof(T)), length = ceil_div(pixels, parts);
  const Block3 outs = block_of(s.out), taps = block_of(s.kernel);
  const Divider by_c = divide_by(c_group);
  T* to = parts > 1 ? reinterpret_cast<T*>(ctx.shared) : dw;
  if (few(s, s.K)) {
    const Divider by_weights = divide_by(n);
    const Divider by_k = divide_by(s.K), by_group = divide_by(k_group);
    // Neighbouring threads take neighbouring output channels, as dy and x store them.
    each(ctx, parts * n, [=] __device__(int64_t i) {
      int64_t part = i, out[3], tap[3];
      int64_t k = last_index(part, by_weights);
      const int64_t o = last_index(k, by_k), at = part * n + o * depth + k;
      const int64_t c = quotient(o, by_group) * c_group + last_index(k, by_c);
      place_in(taps, k, tap);
      const int64_t last = (part + 1) * length < pixels ? (part + 1) * length : pixels;
      double sum = 0;
      for (int64_t pixel = part * length; pixel < last; ++pixel) {
        const int64_t image = place_in(outs, pixel, out), from = input_pixel(s, image, out, tap);
        if (from >= 0) sum += dy[pixel * s.K + o] * x[from * s.C + c];
      }
      to[at] = T(sum);
    });
  } else {
    const Divider by_parts = divide_by(parts);
    gemm<T>(
        ctx, s.groups * parts, k_group, depth, length,
        [=] __device__(int64_t batch, int64_t i, int64_t k) {
          int64_t g = batch;
          const int64_t pixel = last_index(g, by_parts) * length + k;
          return pixel < pixels ? dy[pixel * s.K + g * k_group + i] : T(0);
        },
        [=] __device__(int64_t batch, int64_t k, int64_t j) {
          int64_t g = batch, out[3], tap[3];
          const int64_t pixel = last_index(g, by_parts) * length + k;
          if (pixel >= pixels) return T(0);
          const int64_t c = last_index(j, by_c);
          place_in(taps, j, tap);
          const int64_t image = place_in(outs, pixel, out), from = input_pixel(s, image, out, tap);
          return from < 0 ? T(0) : x[from * s.C + g * c_group + c];
        },
        [=] __device__(int64_t batch, int64_t i, int64_t j, T sum) {
          int64_t g = batch;
          const int64_t part = last_index(g, by_parts);
          to[part * n + (g * k_group + i) * depth + j] = sum;
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
