// How the products of convolution find pixels: what depends on a row is worked out once a tile, the rest
// goes along with k, without a division.
//
// Forward and backward to the input are one product. Row i of C is a pixel of the result, its columns are
// channels; k counts channels of the other side, tap after tap. Tap u of row i is at pixel
// i * row_step + first + u * tap_step of the source, along each axis, or outside, where it is zero.
//
// Backward, pixel j of dy reaches pixel i of dx by tap t if i + pad - t * dilation = j * stride. Pixels i
// with the same remainder by the stride are a *phase*: they have the same taps, every m-th with m =
// stride / gcd(stride, dilation), or none. Each phase is a product of its own, so nothing is multiplied
// by the zeros that a strided convolution would insert. Forward, all rows are one phase.
//
// Places in memory are counted in units: chunks of channels, or single ones. An Offset is unsigned, so
// that a place outside the array, before it is found to be one, may be negative modulo 2^32 or 2^64.
#pragma once

#include <cstdlib>
#include <numeric>

#include "cuda/divide.h"
#include "ops/conv/conv.cuh"

namespace hl::cuda {

// Coordinates fit 32 bits, with room for sums of a few of them.
inline bool conv_near(const ConvShape& s) {
  constexpr int64_t kFar = int64_t(1) << 27;
  bool near = s.N < kFar && s.C < kFar && s.K < kFar;
  for (int a = 0; a < 3; ++a) {
    near = near && s.in[a] < kFar && s.out[a] < kFar && std::abs(s.pad[a]) < kFar &&
           s.stride[a] < kFar && s.dilation[a] < kFar && s.kernel[a] < kFar &&
           (s.kernel[a] - 1) * s.dilation[a] < kFar && (s.out[a] - 1) * s.stride[a] < kFar;
  }
  return near;
}

constexpr int kNowhere = -(1 << 29);  // outside, whatever the tap
template <class Offset>  // along an axis: for as many there is room among a kernel's arguments
constexpr int kMostPhases = sizeof(Offset) == 4 ? 32 : 16;

// Whether backward to the input has no more of them.
template <class Offset>
bool few_phases(const ConvShape& s) {
  bool all = true;
  for (int a = 0; a < 3; ++a) {
    all = all && (s.stride[a] <= kMostPhases<Offset> || s.in[a] <= kMostPhases<Offset>);
  }
  return all;
}

template <class Offset>
struct Gather {
  struct Taps {
    int first;  // pixel of the source that tap 0 of row 0 looks at
    int tap;    // what tap 0 is to w
    int count;
  };
  struct Axis {
    int source, result;      // pixels
    int apart;               // rows of a phase, in the result
    int row_step, tap_step;  // in the source
    Offset x_tap, w_tap;     // from a tap to the next, in units
    Offset w_one;            // ... of those of w, of which a phase may have every m-th
    Taps phase[kMostPhases<Offset>];
  };
  Axis axis[3];
  Block3 phases, counts;  // of rows of a phase
  int units;              // of a tap's channels
  Offset x_pixel;         // units of a pixel, with all groups
  int64_t rows;           // of all images together

  int64_t batches(int64_t groups) const { return block_size(phases) * groups; }
  int64_t most_taps() const {
    int64_t taps = 1;
    for (int a = 0; a < 3; ++a) {
      int most = 0;
      for (const Taps& t : axis[a].phase) most = t.count > most ? t.count : most;
      taps *= most;
    }
    return taps;
  }
  static int64_t block_size(const Block3& b) { return b.size[0].by * b.size[1].by * b.size[2].by; }
};

// Backward, of few_phases(). w_unit: from a tap of w to the next.
template <class Offset>
void make_gather(const ConvShape& s, bool backward, int64_t units, int64_t w_unit,
                 Gather<Offset>& g) {
  int64_t phases[3], counts[3], x_one = s.groups * units, w_one = w_unit;
  for (int a = 2; a >= 0; --a) {
    auto& axis = g.axis[a];
    const int64_t cut = backward ? s.stride[a] : 1;
    const int64_t every = backward ? cut / std::gcd(cut, s.dilation[a]) : 1;
    axis.source = int(backward ? s.out[a] : s.in[a]);
    axis.result = int(backward ? s.in[a] : s.out[a]);
    axis.apart = int(cut);
    axis.row_step = int(backward ? 1 : s.stride[a]);
    axis.tap_step = int(backward ? -every * s.dilation[a] / cut : s.dilation[a]);
    axis.x_tap = Offset(axis.tap_step * x_one);
    axis.w_one = Offset(w_one), axis.w_tap = Offset(every * w_one);
    x_one *= axis.source, w_one *= s.kernel[a];
    phases[a] = cut < axis.result ? cut : axis.result;
    counts[a] = ceil_div(int64_t(axis.result), cut);
    for (int64_t start = 0; start < phases[a]; ++start) {
      axis.phase[start] = {};
      for (int64_t t = 0; t < every && t < s.kernel[a]; ++t) {
        const int64_t at = backward ? start + s.pad[a] - t * s.dilation[a] : -s.pad[a];
        if (at % cut == 0) {
          axis.phase[start] = {int(at / cut), int(t), int(ceil_div(s.kernel[a] - t, every))};
          break;
        }
      }
    }
  }
  g.phases = block_of(phases), g.counts = block_of(counts);
  g.units = int(units), g.x_pixel = Offset(s.groups * units);
  g.rows = s.N * product(counts);
}

// One of a product's batches: a phase of a group.
template <class Offset>
struct GatherPhase {
  int start[3], first[3], count[3];
  int64_t group;
  Offset w;  // of tap 0

  __device__ GatherPhase(const Gather<Offset>& g, int64_t batch) : w(0) {
    int64_t at[3];
    group = place_in(g.phases, batch, at);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const auto& taps = g.axis[a].phase[at[a]];
      start[a] = int(at[a]), first[a] = taps.first, count[a] = taps.count;
      w += Offset(taps.tap) * g.axis[a].w_one;
    }
    if (count[1] == 0 || count[2] == 0) count[0] = 0;
  }
  // Units that k counts; others may have more.
  __device__ int64_t depth(const Gather<Offset>& g) const {
    return int64_t(count[0]) * count[1] * count[2] * g.units;
  }
};

// Row i: where it looks, and which pixel of the result it is, counted over all images; -1: none.
template <class Offset>
struct GatherRow {
  int at[3];    // pixel of the source that tap 0 looks at
  Offset base;  // its first unit, of the phase's group
  int64_t pixel;

  GatherRow() = default;
  __device__ GatherRow(const Gather<Offset>& g, const GatherPhase<Offset>& p, int64_t i) {
    int64_t in[3];
    pixel = place_in(g.counts, i, in);
    base = Offset(pixel);
    bool inside = i < g.rows;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const auto& axis = g.axis[a];
      const int to = int(in[a]) * axis.apart + p.start[a];
      inside = inside && to < axis.result;
      pixel = pixel * axis.result + to;
      at[a] = int(in[a]) * axis.row_step + p.first[a];
      base = base * Offset(axis.source) + Offset(at[a]);
    }
    base = base * g.x_pixel + Offset(p.group) * Offset(g.units);
    if (!inside) at[0] = kNowhere, pixel = -1;
  }
};

// One unit of k, that moves on.
template <class Offset>
struct GatherWalk {
  int c;        // of a tap's units
  int u[3];     // the tap
  Offset x, w;  // what the tap adds to a row's place, and to w's

  // The `k`th unit.
  __device__ GatherWalk(const Gather<Offset>& g, const GatherPhase<Offset>& p, int k)
      : c(0), u{}, x(0), w(p.w) {
    advance(g, p, k);
  }
  __device__ void advance(const Gather<Offset>& g, const GatherPhase<Offset>& p, int by) {
    c += by;
    if (c < g.units) return;
    while (c >= g.units) {
      c -= g.units;
      if (++u[2] < p.count[2]) continue;
      u[2] = 0;
      if (++u[1] < p.count[1]) continue;
      u[1] = 0, ++u[0];
    }
    x = 0, w = p.w;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      x += Offset(u[a]) * g.axis[a].x_tap;
      w += Offset(u[a]) * g.axis[a].w_tap;
    }
  }
  // Whether there is such a unit at all; and whether a row sees it.
  __device__ bool there(const GatherPhase<Offset>& p) const { return u[0] < p.count[0]; }
  __device__ bool sees(const Gather<Offset>& g, const GatherRow<Offset>& row) const {
    bool inside = true;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const int from = row.at[a] + u[a] * g.axis[a].tap_step;
      inside = inside && unsigned(from) < unsigned(g.axis[a].source);
    }
    return inside;
  }
};

// ---- backward to the weights -----------------------------------------------------------------------
//
// Here k counts the pixels of dy, and it is a column of C, a tap, whose pixel of x is looked up.
struct Pixels {
  struct Axis {
    int in, out, stride, dilation, pad;
    int move;  // how far a walk moves on, as a number whose digits count along the axes
  };
  Axis axis[3];
  int move_images;
  Block3 outs, taps;

  void moves_by(int64_t move) {
    for (int a = 2; a >= 0; --a) {
      axis[a].move = int(move % axis[a].out);
      move /= axis[a].out;
    }
    move_images = int(move);
  }
};
inline Pixels pixels_of(const ConvShape& s) {
  Pixels p = {};
  for (int a = 0; a < 3; ++a) {
    p.axis[a] = {int(s.in[a]),       int(s.out[a]), int(s.stride[a]),
                 int(s.dilation[a]), int(s.pad[a]), 0};
  }
  p.outs = block_of(s.out), p.taps = block_of(s.kernel);
  return p;
}

// A pixel of dy that moves on, and what a tap sees of x from there.
struct PixelWalk {
  int image, at[3], shift[3];

  PixelWalk() = default;
  __device__ PixelWalk(const Pixels& p, int64_t pixel, int64_t tap) {
    int64_t out[3], t[3];
    image = int(place_in(p.outs, pixel, out));
    place_in(p.taps, tap, t);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      at[a] = int(out[a]);
      shift[a] = int(t[a]) * p.axis[a].dilation - p.axis[a].pad;
    }
  }
  __device__ void advance(const Pixels& p) {
    bool carry = false;
#pragma unroll
    for (int a = 2; a >= 0; --a) {
      at[a] += p.axis[a].move + carry;
      carry = at[a] >= p.axis[a].out;
      if (carry) at[a] -= p.axis[a].out;
    }
    image += p.move_images + carry;
  }
  // The pixel of x, counted over all images; false: outside.
  template <class Offset>
  __device__ bool look(const Pixels& p, Offset& pixel) const {
    bool inside = true;
    pixel = Offset(image);
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const int in = at[a] * p.axis[a].stride + shift[a];
      inside = inside && unsigned(in) < unsigned(p.axis[a].in);
      pixel = pixel * Offset(p.axis[a].in) + Offset(in);
    }
    return inside;
  }
};

}  // namespace hl::cuda
