// What the kernels of convolution by plain threads and on tensor cores agree on.
#pragma once

#include "cuda/gpu.h"
#include "ops/conv/conv.h"

namespace hl::cuda {

__host__ __device__ inline int64_t product(const int64_t (&n)[3]) { return n[0] * n[1] * n[2]; }
inline int64_t weights(const ConvShape& s) { return s.K * product(s.kernel) * (s.C / s.groups); }

// Channels of a group, of the side that a product's columns are, up to which threads work alone.
constexpr int64_t kFewChannels = 8;
inline bool few(const ConvShape& s, int64_t channels) {
  return s.groups > 1 && channels / s.groups <= kFewChannels;
}

// Parts of a weight's sum over all pixels, each of which goes to scratch of its own, in numbers of
// `item` bytes: so many that the card is busy and that a part's sum is short.
constexpr int64_t kBusyTiles = 512, kBusyThreads = 1 << 17, kShortSum = 8192, kLeastPart = 64;
constexpr int64_t kWeightTile = 64, kMostScratch = int64_t(256) << 20;

inline int64_t weight_parts(const ConvShape& s, int64_t item) {
  const int64_t pixels = s.N * product(s.out), n = weights(s);
  if (n == 0) return 1;
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  const int64_t fit = kMostScratch / (n * item);
  int64_t parts = 0;
  if (few(s, s.K)) {
    parts = least(ceil_div(kBusyThreads, n), ceil_div(pixels, kLeastPart));
  } else {
    const int64_t tiles =
        s.groups * ceil_div(s.K / s.groups, kWeightTile) * ceil_div(n / s.K, kWeightTile);
    parts = least(ceil_div(kBusyTiles, tiles), ceil_div(pixels, 4 * kLeastPart));
    if (parts * kShortSum < pixels) parts = ceil_div(pixels, kShortSum);
  }
  parts = least(parts, fit);
  return parts < 1 ? 1 : parts;
}

}  // namespace hl::cuda
