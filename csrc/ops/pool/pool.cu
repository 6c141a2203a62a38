#include "ops/pool/pool.h"

#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/pool/window.cuh"

namespace hl::cuda {
namespace {

// Numbers of y and x as places (image, d, h, w, channel).
struct Places {
  Block3 block;
  Divider channels;
};
Places outputs_of(const PoolShape& s) {
  return {block_of(s.axis[0].out, s.axis[1].out, s.axis[2].out), divide_by(s.C)};
}
Places inputs_of(const PoolShape& s) {
  return {block_of(s.axis[0].in, s.axis[1].in, s.axis[2].in), divide_by(s.C)};
}
int64_t output_count(const PoolShape& s) {
  return s.N * s.axis[0].out * s.axis[1].out * s.axis[2].out * s.C;
}
int64_t input_count(const PoolShape& s) {
  return s.N * s.axis[0].in * s.axis[1].in * s.axis[2].in * s.C;
}
__host__ __device__ int64_t window_of(const PoolShape& s) {
  return s.axis[0].kernel * s.axis[1].kernel * s.axis[2].kernel;
}

Plan pool_plan(const PoolShape& s, const char* algorithm, int64_t item) {
  const double in = double(input_count(s)), out = double(output_count(s));
  return {
      algorithm, nullptr, {1, 1, 1}, 0, 0, out * double(window_of(s)), (in + out) * double(item)};
}

// What an output looks at: spans along the axes, and the place of the first tap in x.
struct Window {
  Span d, h, w;
  int64_t at, tap;
};
__device__ Window window_at(const PoolShape& s, const Places& places, int64_t i) {
  int64_t o[3];
  const int64_t c = last_index(i, places.channels), n = place_in(places.block, i, o);
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  Window v = {span_of(s, D, o[0]), span_of(s, H, o[1]), span_of(s, W, o[2]), 0, 0};
  v.at = (((n * D.in + v.d.first) * H.in + v.h.first) * W.in + v.w.first) * s.C + c;
  v.tap = (v.d.tap * H.kernel + v.h.tap) * W.kernel + v.w.tap;
  return v;
}

// f(place in x, number of the tap) for every tap that lies inside.
template <class F>
__device__ void each_tap(const PoolShape& s, const Window& v, F f) {
  const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
  for (int64_t a = 0; a < v.d.count; ++a) {
    for (int64_t b = 0; b < v.h.count; ++b) {
      const int64_t row = v.at + (a * D.dilation * H.in + b * H.dilation) * W.in * s.C;
      const int64_t tap = v.tap + (a * H.kernel + b) * W.kernel;
      for (int64_t c = 0; c < v.w.count; ++c) f(row + c * W.dilation * s.C, tap + c);
    }
  }
}

__device__ void store_tap(void* taps, int bytes, int64_t i, int64_t tap) {
  if (bytes == 1) {
    static_cast<uint8_t*>(taps)[i] = uint8_t(tap);
  } else {
    static_cast<int32_t*>(taps)[i] = int32_t(tap);
  }
}
__device__ int64_t load_tap(const void* taps, int bytes, int64_t i) {
  return bytes == 1 ? static_cast<const uint8_t*>(taps)[i] : static_cast<const int32_t*>(taps)[i];
}

template <class T>
void extremes(Ctx& ctx, const PoolShape& s, const T* x, T* y, void* taps) {
  const Places places = outputs_of(s);
  const bool largest = s.kind == PoolKind::kMax;
  each(ctx, output_count(s), [=] __device__(int64_t i) {
    const Window v = window_at(s, places, i);
    T best = largest ? -INFINITY : INFINITY;
    int64_t winner = v.tap;
    each_tap(s, v, [&](int64_t at, int64_t tap) {
      const T value = x[at];
      if ((largest ? value > best : value < best) || value != value) best = value, winner = tap;
    });
    y[i] = best;
    if (taps) store_tap(taps, s.tap_bytes, i, winner);
  });
}

// x^p, where p is seldom another than 1 and 2.
template <class T>
__device__ T power(T x, T p) {
  return p == 1 ? x : p == 2 ? x * x : pow(x, p);
}
template <class T>
__device__ T root(T x, T p) {
  return p == 1 ? x : p == 2 ? sqrt(x) : pow(x, 1 / p);
}

template <class T>
void sums(Ctx& ctx, const PoolShape& s, const T* x, T* y) {
  const Places places = outputs_of(s);
  const T p = s.kind == PoolKind::kAvg ? T(1) : T(s.power);
  const T whole = s.kind == PoolKind::kAvg ? T(1) : T(window_of(s));
  each(ctx, output_count(s), [=] __device__(int64_t i) {
    const Window v = window_at(s, places, i);
    const int64_t m = s.divisor ? s.divisor : v.d.weight * v.h.weight * v.w.weight;
    double sum = 0;
    each_tap(s, v, [&](int64_t at, int64_t) { sum += power(x[at], p); });
    y[i] = root(T(sum) * (m ? whole / T(m) : T(0)), p);
  });
}

template <class T>
Plan pool_forward_plan(const PoolShape& s) {
  return pool_plan(s, "a thread per output", sizeof(T));
}

template <class T>
void pool_forward(Ctx& ctx, const PoolShape& s, const T* x, T* y, void* taps) {
  if (s.kind == PoolKind::kMax || s.kind == PoolKind::kMin) return extremes(ctx, s, x, y, taps);
  sums(ctx, s, x, y);
}

// ---- backward --------------------------------------------------------------------------------------

// dx[i] = S f(output, tap that looks at i, taps that the output's average counts), by every input.
template <class T, class F>
void gather(Ctx& ctx, const PoolShape& s, T* dx, F f) {
  const Places places = inputs_of(s);
  each(ctx, input_count(s), [=] __device__(int64_t i) {
    int64_t at[3], rest = i;
    const int64_t c = last_index(rest, places.channels), n = place_in(places.block, rest, at);
    const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
    const Cover d = cover_of(s, D, at[0]), h = cover_of(s, H, at[1]), w = cover_of(s, W, at[2]);
    T sum = 0;
    for (int64_t od = d.low; od <= d.high; ++od) {
      const int64_t jd = tap_of(s, D, od, at[0]);
      if (jd < 0) continue;
      const int64_t weight_d = span_of(s, D, od).weight;
      for (int64_t oh = h.low; oh <= h.high; ++oh) {
        const int64_t jh = tap_of(s, H, oh, at[1]);
        if (jh < 0) continue;
        const int64_t weight = weight_d * span_of(s, H, oh).weight;
        const int64_t row = ((n * D.out + od) * H.out + oh) * W.out;
        for (int64_t ow = w.low; ow <= w.high; ++ow) {
          const int64_t jw = tap_of(s, W, ow, at[2]);
          if (jw < 0) continue;
          sum += f((row + ow) * s.C + c, (jd * H.kernel + jh) * W.kernel + jw,
                   weight * span_of(s, W, ow).weight);
        }
      }
    }
    dx[i] = sum;
  });
}

// Lp: what an output sends to each of its inputs, but for the input's own power, lies in scratch.
template <class T>
Plan pool_backward_plan(const PoolShape& s) {
  Plan p = pool_plan(s, "a thread per input, gathered", sizeof(T));
  if (s.kind == PoolKind::kLp) p.shared_bytes = output_count(s) * int64_t(sizeof(T));
  return p;
}

template <class T>
void lp_backward(Ctx& ctx, const PoolShape& s, const T* dy, const T* x, const T* y, T* dx) {
  T* sent = reinterpret_cast<T*>(ctx.shared);
  const Places places = outputs_of(s);
  const T p = T(s.power), whole = T(window_of(s));
  each(ctx, output_count(s), [=] __device__(int64_t i) {
    const Window v = window_at(s, places, i);
    const T scale = whole / T(v.d.weight * v.h.weight * v.w.weight);
    const T value = dy[i] * scale;
    sent[i] = y[i] == 0 ? T(0) : p == 1 ? value : p == 2 ? value / y[i] : value * pow(y[i], 1 - p);
  });
  gather(ctx, s, dx, [=] __device__(int64_t o, int64_t, int64_t) { return sent[o]; });
  if (p == 1) return;
  each(ctx, input_count(s), [=] __device__(int64_t i) { dx[i] *= power(x[i], p - 1); });
}

template <class T>
void pool_backward(Ctx& ctx, const PoolShape& s, const T* dy, const void* taps, const T* x,
                   const T* y, T* dx) {
  switch (s.kind) {
    case PoolKind::kMax:
    case PoolKind::kMin:
      return gather(ctx, s, dx, [=] __device__(int64_t o, int64_t tap, int64_t) {
        return load_tap(taps, s.tap_bytes, o) == tap ? dy[o] : T(0);
      });
    case PoolKind::kAvg:
      return gather(ctx, s, dx, [=] __device__(int64_t o, int64_t, int64_t weight) {
        return dy[o] * (T(1) / T(s.divisor ? s.divisor : weight));
      });
    case PoolKind::kLp:
      return lp_backward(ctx, s, dy, x, y, dx);
  }
}

// ---- places of the winners -------------------------------------------------------------------------
Plan pool_indices_plan(const PoolShape& s) {
  const double out = double(output_count(s));
  return {"a thread per output", nullptr, {1, 1, 1}, 0, 0, 0, out * (8 + s.tap_bytes)};
}

void pool_indices(Ctx& ctx, const PoolShape& s, const void* taps, int64_t* indices) {
  const Places places = outputs_of(s);
  const Block3 window = block_of(s.axis[0].kernel, s.axis[1].kernel, s.axis[2].kernel);
  each(ctx, output_count(s), [=] __device__(int64_t i) {
    int64_t o[3], tap[3], rest = i, at = 0;
    last_index(rest, places.channels);
    place_in(places.block, rest, o);
    // What leaves the window is the first axis': an empty window's tap lies outside, or anywhere.
    tap[0] = place_in(window, load_tap(taps, s.tap_bytes, i), tap) * s.axis[0].kernel + tap[0];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      const PoolAxis& a = s.axis[k];
      const int64_t place = s.adaptive ? adaptive_first(a, o[k]) + tap[k]
                                       : o[k] * a.stride - a.before + tap[k] * a.dilation;
      at = at >= 0 && place >= 0 && place < a.in ? at * a.in + place : -1;
    }
    indices[i] = at;
  });
}

HL_CUDA_KERNEL(pool_forward);
HL_CUDA_KERNEL(pool_backward);
HL_CUDA_RAW_KERNEL(pool_indices);

}  // namespace
}  // namespace hl::cuda
