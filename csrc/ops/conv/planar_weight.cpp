#include "ops/conv/planar_weight.h"

#include "cpu/simd/gather.h"
#include "ops/conv/correlate.h"
#include "ops/conv/weight.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kCacheBytes = 128 << 10;
template <class T>
constexpr int64_t kMost = max64(1, min64(8, kLanes<T> / 2));  // output channels
constexpr int kTogether = kTileRows > 6 ? 3 : 2;  // of them that share what is loaded of x

template <class T>
HL_INLINE Vec<T> load_upto(const T* p, int64_t n) {
  return n >= kLanes<T> ? load(p) : load_n(p, max64(n, 0));
}

// Takes the channels of a vector of pixels apart: plane o holds number i K + o of K vectors in lane i.
template <class T>
struct Planes {
  static constexpr int L = kLanes<T>;
  alignas(64) Lane<T> at[kMost<T>][L];
  int64_t K;

  explicit Planes(int64_t channels) : K(channels) {
    for (int64_t o = 0; o < K; ++o) {
      for (int64_t i = 0; i < L; ++i) at[o][i] = Lane<T>(i * K + o);
    }
  }

  HL_INLINE void take(const T* dy, int64_t pixels, T* planes, int64_t plane) const {
    Vec<T> v[kMost<T> + 2];  // in pairs
    const int64_t n = pixels * K;
    for (int64_t j = 0; j <= K; ++j) v[j] = load_upto(dy + j * L, n - j * L);
    for (int64_t o = 0; o < K; ++o) {
      const Vec<Lane<T>> from = load(at[o]);
      Vec<T> sum = pick(v[0], v[1], from & Lane<T>(2 * L - 1));
      for (int64_t j = 2; j < K; j += 2) {
        sum = select(from < Lane<T>(j * L), sum, pick(v[j], v[j + 1], from & Lane<T>(2 * L - 1)));
      }
      store(planes + o * plane, sum);
    }
  }
};

// sums[o][t] += S_q g[o][q] x[q + t], vectors of them, for `count` planes from g on.
template <class T, int S, int kCount>
void add_row_products(const PlanarWeightCut& k, const T* x, int64_t x_step, const T* g,
                      int64_t plane, int64_t rows, T* sums) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[kCount][S] = {};
  for (int64_t p = 0; p < rows; ++p) {
    for (int64_t q = 0; q < k.plane_pitch; q += L) {
      Vec<T> d[kCount];
      for (int o = 0; o < kCount; ++o) d[o] = load(g + o * plane + p * k.plane_pitch + q);
      for (int t = 0; t < S; ++t) {
        const Vec<T> moved = load(x + p * x_step + q + t);
        for (int o = 0; o < kCount; ++o) sum[o][t] = fma(moved, d[o], sum[o][t]);
      }
    }
  }
  for (int o = 0; o < kCount; ++o) {
    for (int t = 0; t < S; ++t) {
      T* to = sums + (o * S + t) * L;
      store(to, load(to) + sum[o][t]);
    }
  }
}

template <class T, int S>
void add_row_products(const PlanarWeightCut& k, int64_t K, const T* x, int64_t x_step, const T* g,
                      int64_t plane, int64_t rows, T* sums) {
  for (int64_t o = 0; o < K; o += kTogether) {
    const T* from = g + o * plane;
    T* to = sums + o * S * kLanes<T>;
    switch (min64(kTogether, K - o)) {
      case 1:
        add_row_products<T, S, 1>(k, x, x_step, from, plane, rows, to);
        break;
      case 2:
        add_row_products<T, S, 2>(k, x, x_step, from, plane, rows, to);
        break;
      default:
        add_row_products<T, S, kTogether>(k, x, x_step, from, plane, rows, to);
    }
  }
}

}  // namespace

template <class T>
bool planar_weight_pays(const ConvShape& s) {
  const int64_t S = s.kernel[2], wide = round_up(s.out[2], kLanes<T>);
  return s.groups == 1 && s.C == 1 && s.K <= kMost<T> && s.kernel[0] == 1 && s.out[0] == 1 &&
         s.in[0] == 1 && s.pad[0] == 0 && s.stride[2] == 1 && s.dilation[2] == 1 &&
         (S == 3 || S == 5) && s.out[1] > 0 && 4 * s.out[2] >= 3 * wide;
}

template <class T>
PlanarWeightCut planar_weight_cut(const ConvShape& s) {
  constexpr int64_t L = kLanes<T>;
  PlanarWeightCut k = {};
  k.plane_pitch = round_up(s.out[2], L);
  k.window_pitch = k.plane_pitch + round_up(s.kernel[2], L);
  const int64_t item = sizeof(T), reach = (s.kernel[1] - 1) * s.dilation[1] + 1;
  const auto bytes = [&](int64_t rows) {
    const int64_t window = ((rows - 1) * s.stride[1] + reach) * k.window_pitch;
    return (window + rows * s.K * k.plane_pitch) * item;
  };
  k.rows = s.out[1];
  while (k.rows > 1 && bytes(k.rows) > kCacheBytes) k.rows = ceil_div(k.rows, 2);
  k.row_tasks = ceil_div(s.out[1], k.rows);
  k.window_rows = (k.rows - 1) * s.stride[1] + reach;
  k.splits = max64(1, min64(16, s.N));
  k.sums = s.K * s.kernel[1] * s.kernel[2];
  k.partial_bytes = k.splits > 1 ? k.splits * k.sums * item : 0;
  k.worker_bytes = bytes(k.rows) + k.sums * kVectorBytes;
  return k;
}

template <class T>
void planar_weight(Ctx& ctx, const ConvShape& s, const PlanarWeightCut& k, const T* dy, const T* x,
                   T* dw) {
  constexpr int64_t L = kLanes<T>;
  const int64_t R = s.kernel[1], S = s.kernel[2], K = s.K, plane = k.rows * k.plane_pitch;
  T* partial = k.splits > 1 ? reinterpret_cast<T*>(ctx.shared) : dw;
  parallel_for(ctx, k.splits, 1, [&](int64_t begin, int64_t end, int worker) {
    const Planes<T> planes(K);
    T* sums = worker_scratch<T>(ctx, worker);  // [r][o][t] vectors
    T* window = sums + k.sums * L;
    T* g = window + k.window_rows * k.window_pitch;
    for (int64_t split = begin; split < end; ++split) {
      for (int64_t i = 0; i < k.sums; ++i) store(sums + i * L, zero<T>());
      for (int64_t n = s.N * split / k.splits; n < s.N * (split + 1) / k.splits; ++n) {
        for (int64_t task = 0; task < k.row_tasks; ++task) {
          const int64_t p0 = task * k.rows, rows = min64(k.rows, s.out[1] - p0);
          const int64_t h0 = p0 * s.stride[1] - s.pad[1];
          for (int64_t r = 0; r < (rows - 1) * s.stride[1] + (R - 1) * s.dilation[1] + 1; ++r) {
            const int64_t h = h0 + r;
            const T* line = h >= 0 && h < s.in[1] ? x + (n * s.in[1] + h) * s.in[2] : nullptr;
            copy_line(line, s.in[2], 1, -s.pad[2], k.window_pitch - s.pad[2], 1, 1,
                      window + r * k.window_pitch);
          }
          for (int64_t p = 0; p < rows; ++p) {
            const T* row = dy + ((n * s.out[1] + p0 + p) * s.out[2]) * K;
            for (int64_t q = 0; q < s.out[2]; q += L) {
              planes.take(row + q * K, min64(L, s.out[2] - q), g + p * k.plane_pitch + q, plane);
            }
          }
          for (int64_t r = 0; r < R; ++r) {
            const T* from = window + r * s.dilation[1] * k.window_pitch;
            const int64_t step = s.stride[1] * k.window_pitch;
            T* to = sums + r * K * S * L;
            S == 3 ? add_row_products<T, 3>(k, K, from, step, g, plane, rows, to)
                   : add_row_products<T, 5>(k, K, from, step, g, plane, rows, to);
          }
        }
      }
      for (int64_t r = 0; r < R; ++r) {
        for (int64_t o = 0; o < K; ++o) {
          for (int64_t t = 0; t < S; ++t) {
            partial[split * k.sums + (o * R + r) * S + t] =
                hsum(load(sums + ((r * K + o) * S + t) * L));
          }
        }
      }
    }
  });
  add_partials(ctx, partial, k.splits, k.sums, dw);
}

#define HL_INSTANTIATE(T)                                                                  \
  template bool planar_weight_pays<T>(const ConvShape&);                                   \
  template PlanarWeightCut planar_weight_cut<T>(const ConvShape&);                         \
  template void planar_weight<T>(Ctx&, const ConvShape&, const PlanarWeightCut&, const T*, \
                                 const T*, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
