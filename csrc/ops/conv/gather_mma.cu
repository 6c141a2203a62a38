// Convolution forward and backward to the input on tensor cores: one product, whose rows of A are looked
// up in an image (gather.cuh). k counts chunks of channels; cp.async fetches them, four a step for each
// row, and writes zeros for what is outside.
#include "cuda/kernel.h"
#include "cuda/operands.h"
#include "cuda/unary.h"
#include "ops/conv/rounded.cuh"

namespace hl::cuda {
namespace {

constexpr int kStages = 3;
constexpr int kPerRow = kRowWords / kChunkWords;  // chunks of a row of a tile
constexpr int kRowsAtOnce = kThreads / kPerRow;   // that a block's threads copy

struct ConvProduct {
  GemmGrid grid;
  Gather<uint32_t> gather;
  const uint32_t *x, *w;  // rounded
  uint32_t w_row;         // chunks
  int64_t channels;       // of the result, with all groups
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

template <class Type, int kRows, int kColumns>
__global__ void __launch_bounds__(kThreads, 2)
    conv_mma_kernel(const __grid_constant__ ConvProduct p) {
  using Room = ConvRoom<kRows, kColumns>;
  HL_SHARED(Room, room);
  constexpr int kOfA = kRows / kRowsAtOnce, kOfB = kColumns / kRowsAtOnce;
  const GemmTile tile = gemm_tile(p.grid);
  const int row = int(threadIdx.x) / kPerRow, chunk = int(threadIdx.x) % kPerRow;
  const GatherPhase<uint32_t> phase(p.gather, tile.batch);
  const int64_t j0 = int64_t(tile.j) * kColumns;

  GatherRow<uint32_t> mine[kOfA];
#pragma unroll
  for (int e = 0; e < kOfA; ++e) {
    const int r = row + e * kRowsAtOnce;
    mine[e] = GatherRow<uint32_t>(p.gather, phase, int64_t(tile.i) * kRows + r);
    if (chunk == 0) room->pixel[r] = mine[e].pixel;
  }
  const uint32_t w_row = unsigned(phase.group * p.grid.N + j0 + row) * p.w_row;
  const int columns = int(p.grid.N - j0) - row;

  GatherWalk<uint32_t> walk(p.gather, phase, chunk);
  const auto copy = [&](int stage) {
    auto& to = room->stage[stage];
    const bool more = walk.there(phase);
#pragma unroll
    for (int e = 0; e < kOfA; ++e) {
      const bool there = more && walk.sees(p.gather, mine[e]);
      const uint32_t at = there ? mine[e].base + walk.x + unsigned(walk.c) : 0;
      cp_async16(to.a + swizzled(row + e * kRowsAtOnce, chunk), p.x + size_t(at) * kChunkWords,
                 there ? 16 : 0);
    }
#pragma unroll
    for (int e = 0; e < kOfB; ++e) {
      const bool there = more && e * kRowsAtOnce < columns;
      const uint32_t at =
          there ? w_row + walk.w + unsigned(walk.c) + unsigned(e * kRowsAtOnce) * p.w_row : 0;
      cp_async16(to.b + swizzled(row + e * kRowsAtOnce, chunk), p.w + size_t(at) * kChunkWords,
                 there ? 16 : 0);
    }
    walk.advance(p.gather, phase, kPerRow);
  };

  TileSums<Type, kRows, kColumns> sums;
  const int steps = int(ceil_div(phase.depth(p.gather), int64_t(kPerRow)));
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
    const int64_t o = phase.group * p.grid.N + j0 + j, at = pixel * p.channels + o;
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
  const bool phases = !backward || few_phases<uint32_t>(s);
  if (images == 0 || w_bytes > kMostRounded || !phases) return false;

  make_gather(s, backward, chunks, chunks, p.gather);

  const int64_t rows = p.gather.rows / s.N, batches = p.gather.batches(s.groups);
  p.grid.N = p.channels / s.groups;
  const int64_t blocks =
      batches * ceil_div(images * rows, int64_t(64)) * ceil_div(p.grid.N, int64_t(64));
  if (blocks > INT32_MAX) return false;

  Scratch scratch(ctx, aligned(w_bytes) + aligned(images * image_bytes));
  uint32_t* const w_to = scratch.take<uint32_t>(w_bytes / 4);
  uint32_t* const x_to = scratch.take<uint32_t>(images * image_bytes / 4);
  if (!x_to) return true;  // no memory, which has been noted
  p.x = x_to, p.w = w_to, p.w_row = uint32_t(taps * chunks), p.bias = bias;
  p.activation = s.activation, p.p0 = s.p0, p.p1 = s.p1;
  const RoundedArray weights = backward ? rounded_turned(w, w_to, s, chunks)
                                        : rounded_rows(w, w_to, s.K * taps, width, chunks);
  for (int64_t n = 0; n < s.N; n += images) {
    const int64_t now = s.N - n < images ? s.N - n : images;
    const int64_t done = n * product(backward ? s.in : s.out) * p.channels;
    const RoundedArray slice =
        rounded_rows(x + n * pixels * from, x_to, now * pixels * s.groups, width, chunks);
    round_arrays<Type>(ctx, slice, n == 0 ? &weights : nullptr);
    p.grid.M = p.gather.rows = now * rows;
    p.y = y + done, p.z = z ? z + done : nullptr;
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
