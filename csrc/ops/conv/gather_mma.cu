// Convolution forward and backward to the input on tensor cores: one product, whose rows of A are looked
// up in an image.
//
// Row i of C is a pixel of the result, its columns are channels; k counts chunks of channels, tap after
// tap. Tap u of row i is at pixel i * row_step + first + u * tap_step of the source, along each axis, or
// outside, where cp.async writes zeros. What depends on the row is worked out once a tile, what
// depends on the tap when it changes.
//
// Backward, pixel j of dy reaches pixel i of dx by tap t if i + pad - t * dilation = j * stride. Pixels i
// with the same remainder by the stride are a *phase*: they have the same taps, every m-th with m =
// stride / gcd(stride, dilation), or none. Each phase is a product of its own, so nothing is multiplied
// by the zeros that a strided convolution would insert.
#include <numeric>

#include "cuda/kernel.h"
#include "cuda/operands.h"
#include "cuda/unary.h"
#include "ops/conv/rounded.cuh"

namespace hl::cuda {
namespace {

constexpr int kStages = 3, kMostPhases = 32;
constexpr int kPerRow = kRowWords / kChunkWords;  // chunks of a row of a tile
constexpr int kRowsAtOnce = kThreads / kPerRow;   // that a block's threads copy
constexpr int kNowhere = -(1 << 29);              // outside, whatever the tap

struct PhaseTaps {
  int first;  // pixel of the source that tap 0 of row 0 looks at
  int tap;    // what tap 0 is to w
  int count;
};
struct ConvAxis {
  int source, result;      // pixels
  int apart;               // rows of a phase, in the result
  int row_step, tap_step;  // in the source
  uint32_t x_tap, w_tap;   // the latter, and as much in w, in chunks
  uint32_t w_one;          // from a tap of w to the next
  PhaseTaps phase[kMostPhases];
};
struct ConvProduct {
  GemmGrid grid;
  Block3 phases, counts;  // of rows of a phase
  ConvAxis axis[3];
  const uint32_t *x, *w;    // rounded
  int chunks;               // of a tap
  uint32_t x_pixel, w_row;  // chunks of a pixel with all groups, of a row of w
  int64_t channels;         // of the result, with all groups
  const float* bias;
  float *y, *z;
  int activation;
  double p0, p1;
};

template <int kRows, int kColumns>
struct ConvRoom {
  struct {
    uint32_t a[kRows * kRowWords], b[kColumns * kRowWords];
  } stage[kStages];
  int64_t pixel[kRows];  // of the result, counted over all images; -1: none
};

// What a thread knows of a row of A.
struct ConvRow {
  int at[3];      // pixel of the source that tap 0 looks at
  uint32_t base;  // its first chunk; counted modulo 2^32, so that it may lie outside
};

// The chunks of k that a thread copies, one a step.
struct ConvWalk {
  int c;     // of a tap's chunks
  int u[3];  // the tap
  uint32_t x, w;

  __device__ void advance(const ConvProduct& p, const int (&count)[3], int by) {
    c += by;
    if (c < p.chunks) return;
    while (c >= p.chunks) {
      c -= p.chunks;
      if (++u[2] < count[2]) continue;
      u[2] = 0;
      if (++u[1] < count[1]) continue;
      u[1] = 0, ++u[0];
    }
    x = w = 0;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      x += unsigned(u[a]) * p.axis[a].x_tap;
      w += unsigned(u[a]) * p.axis[a].w_tap;
    }
  }
};

template <class Type, int kRows, int kColumns>
__global__ void __launch_bounds__(kThreads, 2)
    conv_mma_kernel(const __grid_constant__ ConvProduct p) {
  using Room = ConvRoom<kRows, kColumns>;
  HL_SHARED(Room, room);
  constexpr int kOfA = kRows / kRowsAtOnce, kOfB = kColumns / kRowsAtOnce;
  const GemmTile tile = gemm_tile(p.grid);
  const int row = int(threadIdx.x) / kPerRow, chunk = int(threadIdx.x) % kPerRow;
  int64_t start[3];
  const int64_t group = place_in(p.phases, tile.batch, start), j0 = int64_t(tile.j) * kColumns;
  int first[3], count[3];
  uint32_t w_start = 0;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
    const PhaseTaps& taps = p.axis[a].phase[start[a]];
    first[a] = taps.first, count[a] = taps.count;
    w_start += unsigned(taps.tap) * p.axis[a].w_one;
  }

  ConvRow mine[kOfA];
#pragma unroll
  for (int e = 0; e < kOfA; ++e) {
    const int r = row + e * kRowsAtOnce;
    const int64_t i = int64_t(tile.i) * kRows + r;
    int64_t in[3], pixel = place_in(p.counts, i, in);
    uint32_t base = uint32_t(pixel);
    bool inside = i < p.grid.M;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
      const ConvAxis& axis = p.axis[a];
      const int64_t to = in[a] * axis.apart + start[a];
      inside = inside && to < axis.result;
      pixel = pixel * axis.result + to;
      mine[e].at[a] = int(in[a]) * axis.row_step + first[a];
      base = base * unsigned(axis.source) + unsigned(mine[e].at[a]);
    }
    mine[e].base = base * p.x_pixel + unsigned(group) * unsigned(p.chunks);
    if (!inside) mine[e].at[0] = kNowhere;
    if (chunk == 0) room->pixel[r] = inside ? pixel : -1;
  }
  const uint32_t w_base =
      w_start + unsigned(group * p.grid.N + j0 + row) * p.w_row;  // of the first row of B
  const int columns = int(p.grid.N - j0) - row;

  ConvWalk walk = {};
  walk.advance(p, count, chunk);
  const auto copy = [&](int stage) {
    auto& to = room->stage[stage];
    const bool more = walk.u[0] < count[0];
#pragma unroll
    for (int e = 0; e < kOfA; ++e) {
      bool there = more;
#pragma unroll
      for (int a = 0; a < 3; ++a) {
        const int from = mine[e].at[a] + walk.u[a] * p.axis[a].tap_step;
        there = there && unsigned(from) < unsigned(p.axis[a].source);
      }
      const uint32_t at = there ? mine[e].base + walk.x + unsigned(walk.c) : 0;
      cp_async16(to.a + swizzled(row + e * kRowsAtOnce, chunk), p.x + size_t(at) * kChunkWords,
                 there ? 16 : 0);
    }
#pragma unroll
    for (int e = 0; e < kOfB; ++e) {
      const bool there = more && e * kRowsAtOnce < columns;
      const uint32_t at =
          there ? w_base + walk.w + unsigned(walk.c) + unsigned(e * kRowsAtOnce) * p.w_row : 0;
      cp_async16(to.b + swizzled(row + e * kRowsAtOnce, chunk), p.w + size_t(at) * kChunkWords,
                 there ? 16 : 0);
    }
    walk.advance(p, count, kPerRow);
  };

  TileSums<Type, kRows, kColumns> sums;
  const int steps = ceil_div(count[0] * count[1] * count[2] * p.chunks, kPerRow);
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) copy(step);
    cp_async_commit();  // a group for every step, if an empty one: the wait below counts them
  }
  int now = 0, next = kStages - 1;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    if (step + kStages - 1 < steps) copy(next);
    cp_async_commit();
    sums.add(room->stage[now].a, room->stage[now].b);
    now = now == kStages - 1 ? 0 : now + 1, next = next == kStages - 1 ? 0 : next + 1;
  }
  sums.each(reinterpret_cast<float*>(room->stage), [&](int i, int j, float sum) {
    const int64_t pixel = room->pixel[i];
    if (pixel < 0 || j0 + j >= p.grid.N) return;
    const int64_t o = group * p.grid.N + j0 + j, at = pixel * p.channels + o;
    const float total = p.bias ? sum + p.bias[o] : sum;
    if (p.z) p.z[at] = total;
    p.y[at] = activate(p.activation, total, p.p0, p.p1);
  });
}

template <class Type, int kRows, int kColumns>
void launch_conv(const Ctx& ctx, ConvProduct& p, int64_t batches) {
  p.grid.rows = unsigned(ceil_div(p.grid.M, int64_t(kRows)));
  p.grid.cols = unsigned(ceil_div(p.grid.N, int64_t(kColumns)));
  HL_LAUNCH((conv_mma_kernel<Type, kRows, kColumns>), unsigned(batches) * p.grid.rows * p.grid.cols,
            kThreads, sizeof(ConvRoom<kRows, kColumns>), ctx.stream, p);
}

// Large tiles need fewer reads, but every multiprocessor should have one, and columns that are not there
// are multiplied, too. Each sum runs in the order of k with all: the bits do not depend on the choice.
template <class Type>
void launch_conv(const Ctx& ctx, ConvProduct& p, int64_t batches) {
  const int64_t down = ceil_div(p.grid.M, int64_t(128)) * batches;
  const int64_t across = ceil_div(p.grid.N, int64_t(64)), enough = card().multiprocessors;
  if (across % 2 == 0 && down * across / 2 >= enough) {
    launch_conv<Type, 128, 128>(ctx, p, batches);
  } else if (down * across >= enough) {
    launch_conv<Type, 128, 64>(ctx, p, batches);
  } else {
    launch_conv<Type, 64, 64>(ctx, p, batches);
  }
}

// An axis but for what x_tap and w_tap count in. Forward, all rows are one phase.
bool make_axis(const ConvShape& s, int a, bool backward, ConvAxis& axis, int64_t& phases,
               int64_t& count) {
  const int64_t cut = backward ? s.stride[a] : 1;
  const int64_t every = backward ? cut / std::gcd(cut, s.dilation[a]) : 1;
  axis.source = int(backward ? s.out[a] : s.in[a]);
  axis.result = int(backward ? s.in[a] : s.out[a]);
  axis.apart = int(cut);
  axis.row_step = int(backward ? 1 : s.stride[a]);
  axis.tap_step = int(backward ? -every * s.dilation[a] / cut : s.dilation[a]);
  phases = cut < axis.result ? cut : axis.result;
  count = ceil_div(int64_t(axis.result), cut);
  if (phases > kMostPhases) return false;
  for (int64_t start = 0; start < phases; ++start) {
    PhaseTaps& taps = axis.phase[start];
    taps = {};
    for (int64_t t = 0; t < every && t < s.kernel[a]; ++t) {
      const int64_t at = backward ? start + s.pad[a] - t * s.dilation[a] : -s.pad[a];
      if (at % cut == 0) {
        taps = {int(at / cut), int(t), int(ceil_div(s.kernel[a] - t, every))};
        break;
      }
    }
  }
  return true;
}

// y = act(w * x + bias), or with `backward` the transposed convolution. False: not a call for this, and
// nothing has been launched.
template <class Type>
bool convolve(const Ctx& ctx, const ConvShape& s, bool backward, const float* x, const float* w,
              const float* bias, float* y, float* z) {
  ConvProduct p = {};
  const int64_t from = backward ? s.K : s.C, taps = product(s.kernel);
  const int64_t pixels = product(backward ? s.out : s.in);
  const int64_t width = from / s.groups, chunks = ceil_div(width, int64_t(kChunkNumbers<Type>));
  p.channels = backward ? s.C : s.K;
  const int64_t w_bytes = p.channels * taps * chunks * int64_t(sizeof(Chunk));
  const int64_t image_bytes = pixels * s.groups * chunks * int64_t(sizeof(Chunk));
  const int64_t images = images_at_once(s.N, image_bytes);
  if (images == 0 || w_bytes > kMostRounded) return false;

  int64_t phases[3], counts[3], x_one = s.groups * chunks, w_one = chunks;
  for (int a = 2; a >= 0; --a) {
    ConvAxis& axis = p.axis[a];
    if (!make_axis(s, a, backward, axis, phases[a], counts[a])) return false;
    const int64_t every = backward ? s.stride[a] / std::gcd(s.stride[a], s.dilation[a]) : 1;
    axis.x_tap = uint32_t(axis.tap_step * x_one), axis.w_one = uint32_t(w_one);
    axis.w_tap = uint32_t(every * w_one);
    x_one *= axis.source, w_one *= s.kernel[a];
  }
  p.phases = block_of(phases), p.counts = block_of(counts);
  p.grid.N = p.channels / s.groups;
  const int64_t batches = product(phases) * s.groups, rows = product(counts);
  const int64_t blocks =
      batches * ceil_div(images * rows, int64_t(64)) * ceil_div(p.grid.N, int64_t(64));
  if (blocks > INT32_MAX) return false;

  Scratch scratch(ctx, aligned(w_bytes) + aligned(images * image_bytes));
  uint32_t* const w_to = scratch.take<uint32_t>(w_bytes / 4);
  uint32_t* const x_to = scratch.take<uint32_t>(images * image_bytes / 4);
  if (!x_to) return true;  // no memory, which has been noted
  p.x = x_to, p.w = w_to, p.chunks = int(chunks), p.bias = bias;
  p.x_pixel = uint32_t(s.groups * chunks), p.w_row = uint32_t(taps * chunks);
  p.activation = s.activation, p.p0 = s.p0, p.p1 = s.p1;
  const RoundedArray weights = backward ? rounded_turned(w, w_to, s, chunks)
                                        : rounded_rows(w, w_to, s.K * taps, width, chunks);
  for (int64_t n = 0; n < s.N; n += images) {
    const int64_t now = s.N - n < images ? s.N - n : images;
    const int64_t done = n * product(backward ? s.in : s.out) * p.channels;
    const RoundedArray slice =
        rounded_rows(x + n * pixels * from, x_to, now * pixels * s.groups, width, chunks);
    round_arrays<Type>(ctx, slice, n == 0 ? &weights : nullptr);
    p.grid.M = now * rows, p.y = y + done, p.z = z ? z + done : nullptr;
    launch_conv<Type>(ctx, p, batches);
  }
  return true;
}

// ---- the entries -----------------------------------------------------------------------------------
const Entry<conv_forward_t<float>>* plain_forward() {
  return static_cast<const Entry<conv_forward_t<float>>*>(plain_entry("conv_forward", 1));
}
const Entry<conv_backward_data_t<float>>* plain_backward() {
  return static_cast<const Entry<conv_backward_data_t<float>>*>(
      plain_entry("conv_backward_data", 1));
}

template <class T>
Plan conv_forward_plan(const ConvShape& s) {
  return plain_forward()->plan(s);
}
template <class T>
void conv_forward(Ctx& ctx, const ConvShape& s, const T* x, const T* w, const T* panels, const T* b,
                  T* y, T* z) {
  bool taken = false;
  if (conv_mma_takes(ctx, s, s.K)) {
    with_factors(
        ctx, [&](auto type) { taken = convolve<decltype(type)>(ctx, s, false, x, w, b, y, z); });
  }
  if (!taken) plain_forward()->run(ctx, s, x, w, panels, b, y, z);
}

template <class T>
Plan conv_backward_data_plan(const ConvShape& s) {
  return plain_backward()->plan(s);
}
template <class T>
void conv_backward_data(Ctx& ctx, const ConvShape& s, const T* dy, const T* w, const T* b, T* dx,
                        T* z) {
  bool taken = false;
  if (conv_mma_takes(ctx, s, s.C)) {
    with_factors(
        ctx, [&](auto type) { taken = convolve<decltype(type)>(ctx, s, true, dy, w, b, dx, z); });
  }
  if (!taken) plain_backward()->run(ctx, s, dy, w, b, dx, z);
}

HL_CUDA_MMA_KERNEL(conv_forward);
HL_CUDA_MMA_KERNEL(conv_backward_data);

}  // namespace
}  // namespace hl::cuda
