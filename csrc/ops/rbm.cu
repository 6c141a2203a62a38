#include "ops/rbm.h"

#include "cuda/gemm.h"
#include "cuda/kernel.h"
#include "cuda/philox.h"
#include "cuda/sums.h"
#include "cuda/unary.h"

namespace hl::cuda {
namespace {

// Element i of a call of the generator.
__device__ float uniform_at(const Draw& d, int64_t i, float) {
  return unit_interval(philox_word(d, uint64_t(i)));
}
__device__ double uniform_at(const Draw& d, int64_t i, double) {
  return unit_interval(philox(d, uint64_t(i / 2)).draw(int(i % 2)));
}
__device__ float normal_at(const Draw& d, int64_t i, float) {
  const PhiloxBlock b = philox(d, uint64_t(i / 4));
  const bool late = i % 4 >= 2;
  float first, second;
  normal_pair(late ? b.word[2] : b.word[0], late ? b.word[3] : b.word[1], first, second);
  return i % 2 == 0 ? first : second;
}
__device__ double normal_at(const Draw& d, int64_t i, double) {
  const PhiloxBlock b = philox(d, uint64_t(i / 2));
  double first, second;
  normal_pair(b.draw(0), b.draw(1), first, second);
  return i % 2 == 0 ? first : second;
}

// A layer from the states x of the other one. mean and sample may be null.
template <class T>
void make_layer(const Ctx& ctx, const RbmShape& s, bool to_visible, int64_t rows, uint64_t call,
                const T* x, const T* w, const T* bias, T* mean, T* sample) {
  const int64_t units = to_visible ? s.V : s.H, depth = to_visible ? s.H : s.V;
  const bool gaussian = to_visible && s.visible == RbmVisible::kGaussian;
  const Draw draw = draw_of(s.seed, call);
  gemm<T>(
      ctx, 1, rows, units, depth,
      [=] __device__(int64_t, int64_t n, int64_t k) { return x[n * depth + k]; },
      [=] __device__(int64_t, int64_t k, int64_t j) {
        return to_visible ? w[k * s.V + j] : w[j * s.V + k];
      },
      [=] __device__(int64_t, int64_t n, int64_t j, T sum) {
        const int64_t i = n * units + j;
        const T m = gaussian ? sum + bias[j] : sigmoid(sum + bias[j]);
        if (mean) mean[i] = m;
        if (!sample) return;
        if (gaussian) {
          sample[i] = m + normal_at(draw, i, T());
        } else {
          sample[i] = m != m ? m : uniform_at(draw, i, T()) < m ? T(1) : T(0);
        }
      });
}

template <class T>
Plan rbm_sample_plan(const RbmShape& s) {
  const double N = double(s.N), V = double(s.V), H = double(s.H);
  return {"tiles by plain threads",
          nullptr,
          {kTile, kTile, kDepth},
          0,
          0,
          2 * N * V * H,
          sizeof(T) * (V * H + N * (V + 2 * H))};
}

template <class T>
void rbm_sample(Ctx& ctx, const RbmShape& s, const T* x, const T* w, const T* bias, T* mean,
                T* sample) {
  make_layer(ctx, s, s.to_visible, s.N, s.call, x, w, bias, mean, sample);
}

// Scratch of a contrast.
template <class T>
struct Room {
  Two* sums;                 // of the columns of a layer
  T *first, *state, *p, *v;  // p(h | v) of the data; h, p(h | v) and v of the chain
  unsigned char* part;
  int64_t bytes;

  Room(unsigned char* at, const RbmShape& s) {
    const int64_t widest = s.V > s.H ? s.V : s.H;
    sums = reinterpret_cast<Two*>(at);
    first = reinterpret_cast<T*>(sums + widest);
    state = first + s.N * s.H, p = state + s.C * s.H, v = p + s.C * s.H;
    const int64_t used = reinterpret_cast<unsigned char*>(v + s.C * s.V) - at;
    part = at + ceil_div(used, int64_t(16)) * 16;
    const int64_t visible = sum_bytes(s.V, s.N + s.C, true);
    const int64_t hidden = sum_bytes(s.H, s.N + s.C, true);
    bytes = (part - at) + (visible > hidden ? visible : hidden);
  }
};

template <class T>
Plan rbm_contrast_plan(const RbmShape& s) {
  const double N = double(s.N), C = double(s.C), V = double(s.V), H = double(s.H);
  const double products = 2.0 * double(s.steps) * C + (s.need_gradients || !s.chain ? N : 0) +
                          (s.need_gradients ? N + C : 0);
  return {"tiles by plain threads",
          nullptr,
          {kTile, kTile, kDepth},
          Room<T>(nullptr, s).bytes,
          0,
          2 * products * V * H,
          sizeof(T) * (V * H * (s.need_gradients ? 2 : 1) + N * V + C * (V + H))};
}

// The mean over the chain's rows less that over the data's.
template <class T>
void mean_gap(const Ctx& ctx, const RbmShape& s, const Room<T>& room, int64_t columns,
              const T* data, const T* chain, T* to) {
  const Two* sums = room.sums;
  sum_columns(ctx, 1, s.N + s.C, columns, room.part, room.sums,
              [=] __device__(int64_t, int64_t r, int64_t c) {
                if (r < s.N) return Two{double(data[r * columns + c]), 0};
                return Two{0, double(chain[(r - s.N) * columns + c])};
              });
  each(ctx, columns,
       [=] __device__(int64_t i) { to[i] = T(sums[i].b / double(s.C) - sums[i].a / double(s.N)); });
}

template <class T>
void rbm_contrast(Ctx& ctx, const RbmShape& s, const T* v, const T* w, const T* b, const T* c,
                  const T* chain, T* dw, T* db, T* dc, T* v_k, T* h_k) {
  const Room<T> room(ctx.shared, s);
  const T *from = chain, *first = room.first, *p = room.p;
  T* v_t = v_k ? v_k : room.v;
  if (s.need_gradients || !chain) {
    make_layer(ctx, s, false, s.N, s.call, v, w, c, room.first, chain ? nullptr : room.state);
    if (!chain) from = room.state;
  }
  for (int64_t t = 1; t <= s.steps; ++t) {
    const uint64_t call = s.call + 2 * uint64_t(t);
    make_layer(ctx, s, true, s.C, call - 1, from, w, b, s.visible_means ? v_t : nullptr,
               s.visible_means ? nullptr : v_t);
    const bool last = t == s.steps;
    if (last && !s.need_gradients && !h_k) break;
    T* to = last ? h_k : room.state;
    make_layer(ctx, s, false, s.C, call, v_t, w, c, room.p, to);
    from = to;
  }
  if (!s.need_gradients) return;
  // One product over data and chain together: the data with a minus, and weighed as if they were as
  // many as the chain.
  const T weight = T(-double(s.C) / double(s.N)), share = T(1) / T(s.C);
  gemm<T>(
      ctx, 1, s.H, s.V, s.N + s.C,
      [=] __device__(int64_t, int64_t i, int64_t k) {
        return k < s.N ? weight * first[k * s.H + i] : p[(k - s.N) * s.H + i];
      },
      [=] __device__(int64_t, int64_t k, int64_t j) {
        return k < s.N ? v[k * s.V + j] : v_t[(k - s.N) * s.V + j];
      },
      [=] __device__(int64_t, int64_t i, int64_t j, T sum) { dw[i * s.V + j] = share * sum; });
  mean_gap<T>(ctx, s, room, s.V, v, v_t, db);
  mean_gap<T>(ctx, s, room, s.H, first, p, dc);
}

HL_CUDA_KERNEL(rbm_sample);
HL_CUDA_KERNEL(rbm_contrast);

}  // namespace
}  // namespace hl::cuda
