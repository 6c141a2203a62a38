// What happens before the kernels of convolution on tensor cores: which of them takes a call, and its
// arrays rounded for it.
//
// A first launch rounds x, dy and w, once, to the type of the factors. Each pixel of x is read for every
// tap and by every column of tiles: that reads then half the bytes or fewer, by cp.async, in whole
// chunks of 16 bytes, for the channels of each group are filled up to such with zeros. Where a batch
// would need too much scratch it is cut.
#pragma once

#include "cuda/loop.h"
#include "cuda/round.h"
#include "cuda/scratch.h"
#include "ops/conv/gather.cuh"

namespace hl::cuda {

// Bytes of the rounded copies of a call: the images of a slice, and w.
constexpr int64_t kMostRounded = int64_t(256) << 20;

// rows x width numbers to rows x chunks. Or `turned`, weights (groups, width, taps, channels) of which
// the second axis is to be the last: (groups, channels, taps, chunks).
struct RoundedArray {
  const float* from;
  uint32_t* to;
  int64_t rows, width;
  Divider chunks;
  bool turned;
  Divider channels, places;  // turned: of a group, and taps * channels
  int64_t taps;
};
struct RoundedArrays {
  RoundedArray array[2];
};

template <class Type>
__global__ void __launch_bounds__(kThreads) conv_round(const __grid_constant__ RoundedArrays all) {
  constexpr int kNumbers = kChunkNumbers<Type>;
  const RoundedArray& x = all.array[blockIdx.y];
  const int64_t count = x.rows * x.chunks.by, step = int64_t(gridDim.x) * kThreads;
  const bool fours = (uintptr_t(x.from) % 16 | x.width % 4) == 0;
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < count; i += step) {
    int64_t row = i;
    Chunk* to = reinterpret_cast<Chunk*>(x.to);
    if (x.turned) {  // neighbouring threads read neighbouring channels
      int64_t place = last_index(row, x.places);
      const int64_t chunk = last_index(row, x.chunks), k = chunk * kNumbers;
      const float* from = x.from + (row * x.width + k) * x.places.by + place;
      float v[kNumbers];
#pragma unroll
      for (int e = 0; e < kNumbers; ++e) v[e] = k + e < x.width ? from[e * x.places.by] : 0.0f;
      const int64_t channel = last_index(place, x.channels), tap = place;
      to[((row * x.channels.by + channel) * x.taps + tap) * x.chunks.by + chunk] =
          make_chunk<Type>(v);
    } else {
      const int64_t d = last_index(row, x.chunks) * kNumbers;
      to[i] = round_chunk<Type>(x.from + row * x.width + d, x.width - d, fours);
    }
  }
}

// rows x width numbers, as they lie.
inline RoundedArray rounded_rows(const float* from, uint32_t* to, int64_t rows, int64_t width,
                                 int64_t chunks) {
  return {from, to, rows, width, divide_by(chunks), false, {}, {}, 0};
}
// Weights (K, taps, channels of a group).
inline RoundedArray rounded_turned(const float* from, uint32_t* to, const ConvShape& s,
                                   int64_t chunks) {
  const int64_t taps = product(s.kernel), channels = s.C / s.groups;
  return {from,
          to,
          s.C * taps,
          s.K / s.groups,
          divide_by(chunks),
          true,
          divide_by(channels),
          divide_by(taps * channels),
          taps};
}

template <class Type>
void round_arrays(const Ctx& ctx, const RoundedArray& a, const RoundedArray* b) {
  const int64_t one = a.rows * a.chunks.by, two = b ? b->rows * b->chunks.by : 0;
  const RoundedArrays all = {{a, b ? *b : a}};
  const int64_t blocks = ceil_div(one > two ? one : two, int64_t(kThreads));
  HL_LAUNCH((conv_round<Type>), dim3(grid_of(blocks), b ? 2 : 1), kThreads, 0, ctx.stream, all);
}

// So many images are rounded at once: slices of about one size. 0: not even one can be.
inline int64_t images_at_once(int64_t images, int64_t bytes_each) {
  const int64_t most = kMostRounded / bytes_each;
  return most == 0 ? 0 : ceil_div(images, ceil_div(images, most));
}

// Whether a call is one for tensor cores.
inline bool conv_mma_takes(const Ctx& ctx, const ConvShape& s, int64_t result_channels) {
  const int64_t in = s.N * product(s.in), out = s.N * product(s.out);
  return ctx.precision != Precision::kFull && card().major >= 8 && !few(s, result_channels) &&
         conv_near(s) && s.C > 0 && s.K > 0 && product(s.kernel) > 0 && in > 0 && in < INT32_MAX &&
         out > 0 && out < INT32_MAX;
}

// use(Type()) for the type that the call allows.
template <class Use>
void with_factors(const Ctx& ctx, Use use) {
  if (ctx.precision == Precision::kTf32) {
    use(Tf32());
  } else if (ctx.precision == Precision::kBf16) {
    use(Bf16());
  } else {
    use(F16());
  }
}

}  // namespace hl::cuda
