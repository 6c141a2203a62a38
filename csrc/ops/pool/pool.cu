// Pooling: a thread per output, or per input of the gradient, and 16 bytes of channels beside each other,
// which share the work of finding the window.
#include "ops/pool/pool.h"

#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/packs.h"
#include "ops/pool/window.cuh"

namespace hl::cuda {
namespace {

// Packs of y and x, numbered in order, as places (image, d, h, w, pack of channels).
struct Places {
  Block3 block;
  Divider packs;
};
Places outputs_of(const PoolShape& s, int pack = 1) {
  return {block_of(s.axis[0].out, s.axis[1].out, s.axis[2].out), divide_by(s.C / pack)};
}
Places inputs_of(const PoolShape& s, int pack) {
  return {block_of(s.axis[0].in, s.axis[1].in, s.axis[2].in), divide_by(s.C / pack)};
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
__device__ Window window_at(const PoolShape& s, const Places& places, int pack, int64_t i) {
  int64_t o[3];
  const int64_t c = last_index(i, places.packs) * pack, n = place_in(places.block, i, o);
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

template <class T, int kPack>
void extremes(Ctx& ctx, const PoolShape& s, const T* x, T* y, void* taps) {
  using P = Pack<T, kPack>;
  const bool largest = s.kind == PoolKind::kMax, x_whole = all_aligned({x}),
             y_whole = all_aligned({y});
  const Places places = outputs_of(s, kPack);
  each(ctx, output_count(s) / kPack, [=] __device__(int64_t i) {
    const Window v = window_at(s, places, kPack, i);
    P best;
    int winner[kPack];
#pragma unroll
    for (int e = 0; e < kPack; ++e) {
      best.v[e] = largest ? -INFINITY : INFINITY, winner[e] = int(v.tap);
    }
    each_tap(s, v, [&](int64_t at, int64_t tap) {
      const P got = P::load(x + at, x_whole);
#pragma unroll
      for (int e = 0; e < kPack; ++e) {
        const T value = got.v[e];
        if ((largest ? value > best.v[e] : value < best.v[e]) || value != value) {
          best.v[e] = value, winner[e] = int(tap);
        }
      }
    });
    best.store(y + i * kPack, y_whole);
    if (!taps) return;
#pragma unroll
    for (int e = 0; e < kPack; ++e) store_tap(taps, s.tap_bytes, i * kPack + e, winner[e]);
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

template <class T, int kPack>
void sums(Ctx& ctx, const PoolShape& s, const T* x, T* y) {
  using P = Pack<T, kPack>;
  const T p = s.kind == PoolKind::kAvg ? T(1) : T(s.power);
  const T whole = s.kind == PoolKind::kAvg ? T(1) : T(window_of(s));
  const bool x_whole = all_aligned({x}), y_whole = all_aligned({y});
  const Places places = outputs_of(s, kPack);
  each(ctx, output_count(s) / kPack, [=] __device__(int64_t i) {
    const Window v = window_at(s, places, kPack, i);
    const int64_t m = s.divisor ? s.divisor : v.d.weight * v.h.weight * v.w.weight;
    double sum[kPack] = {};
    each_tap(s, v, [&](int64_t at, int64_t) {
      P got = P::load(x + at, x_whole);
      if (p != 1) got.replace([=](T value) { return power(value, p); });
#pragma unroll
      for (int e = 0; e < kPack; ++e) sum[e] += double(got.v[e]);
    });
    P made;
#pragma unroll
    for (int e = 0; e < kPack; ++e) made.v[e] = T(sum[e]) * (m ? whole / T(m) : T(0));
    if (p != 1) made.replace([=](T value) { return root(value, p); });
    made.store(y + i * kPack, y_whole);
  });
}

template <class T>
Plan pool_forward_plan(const PoolShape& s) {
  return pool_plan(s, "a thread per output, 16 bytes of channels", sizeof(T));
}

template <class T>
void pool_forward(Ctx& ctx, const PoolShape& s, const T* x, T* y, void* taps) {
  with_packs<T>(s.C, [&](auto size) {
    if (s.kind == PoolKind::kMax || s.kind == PoolKind::kMin) {
      extremes<T, size>(ctx, s, x, y, taps);
    } else {
      sums<T, size>(ctx, s, x, y);
    }
  });
}

// ---- backward --------------------------------------------------------------------------------------

// dx[i] = S f(output, tap that looks at i, taps that the output's average counts), by every input; f gives
// a pack of what the output's channels, and those beside them, send.
template <class T, int kPack, class F>
void gather(Ctx& ctx, const PoolShape& s, T* dx, F f) {
  const Places places = inputs_of(s, kPack);
  const bool dx_whole = all_aligned({dx});
  each(ctx, input_count(s) / kPack, [=] __device__(int64_t i) {
    int64_t at[3], rest = i;
    const int64_t c = last_index(rest, places.packs) * kPack, n = place_in(places.block, rest, at);
    const PoolAxis &D = s.axis[0], &H = s.axis[1], &W = s.axis[2];
    const Cover d = cover_of(s, D, at[0]), h = cover_of(s, H, at[1]), w = cover_of(s, W, at[2]);
    Pack<T, kPack> sum = {};
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
          const Pack<T, kPack> sent = f((row + ow) * s.C + c, (jd * H.kernel + jh) * W.kernel + jw,
                                        weight * span_of(s, W, ow).weight);
#pragma unroll
          for (int e = 0; e < kPack; ++e) sum.v[e] += sent.v[e];
        }
      }
    }
    sum.store(dx + i * kPack, dx_whole);
  });
}

// Lp: what an output sends to each of its inputs, but for the input's own power, lies in scratch.
template <class T>
Plan pool_backward_plan(const PoolShape& s) {
  Plan p = pool_plan(s, "a thread per input, 16 bytes of channels, gathered", sizeof(T));
  if (s.kind == PoolKind::kLp) p.shared_bytes = output_count(s) * int64_t(sizeof(T));
  return p;
}

template <class T, int kPack>
void lp_backward(Ctx& ctx, const PoolShape& s, const T* dy, const T* x, const T* y, T* dx) {
  T* sent = reinterpret_cast<T*>(ctx.shared);
  const Places places = outputs_of(s);
  const T p = T(s.power), whole = T(window_of(s));
  each(ctx, output_count(s), [=] __device__(int64_t i) {
    const Window v = window_at(s, places, 1, i);
    const T scale = whole / T(v.d.weight * v.h.weight * v.w.weight);
    const T value = dy[i] * scale;
    sent[i] = y[i] == 0 ? T(0) : p == 1 ? value : p == 2 ? value / y[i] : value * pow(y[i], 1 - p);
  });
  gather<T, kPack>(ctx, s, dx, [=] __device__(int64_t o, int64_t, int64_t) {
    return Pack<T, kPack>::load(sent + o);
  });
  if (p == 1) return;
  each(ctx, input_count(s), [=] __device__(int64_t i) { dx[i] *= power(x[i], p - 1); });
}

template <class T, int kPack>
void backward(Ctx& ctx, const PoolShape& s, const T* dy, const void* taps, const T* x, const T* y,
              T* dx) {
  using P = Pack<T, kPack>;
  const bool dy_whole = all_aligned({dy});
  switch (s.kind) {
    case PoolKind::kMax:
    case PoolKind::kMin:
      return gather<T, kPack>(ctx, s, dx, [=] __device__(int64_t o, int64_t tap, int64_t) {
        P sent = P::load(dy + o, dy_whole);
#pragma unroll
        for (int e = 0; e < kPack; ++e) {
          if (load_tap(taps, s.tap_bytes, o + e) != tap) sent.v[e] = 0;
        }
        return sent;
      });
    case PoolKind::kAvg:
      return gather<T, kPack>(ctx, s, dx, [=] __device__(int64_t o, int64_t, int64_t weight) {
        P sent = P::load(dy + o, dy_whole);
        const T share = T(1) / T(s.divisor ? s.divisor : weight);
#pragma unroll
        for (int e = 0; e < kPack; ++e) sent.v[e] *= share;
        return sent;
      });
    case PoolKind::kLp:
      return lp_backward<T, kPack>(ctx, s, dy, x, y, dx);
  }
}

template <class T>
void pool_backward(Ctx& ctx, const PoolShape& s, const T* dy, const void* taps, const T* x,
                   const T* y, T* dx) {
  with_packs<T>(s.C, [&](auto size) { backward<T, size>(ctx, s, dy, taps, x, y, dx); });
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
    last_index(rest, places.packs);
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
