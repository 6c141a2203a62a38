// Convolution backward to the weights on tensor cores: dw = dy^T by the pixels that each tap sees.
//
// Rows of C are channels of dy, its columns chunks of channels of x, tap after tap; k runs over the pixels
// of dy. So both factors lie along rows and columns rather than along k, in memory and in the tiles:
// ldmatrix transposes them on the way to the registers, TF32 is read word by word. What depends on the
// column, the tap, is worked out once; the pixel moves on by a fixed number, with carries.
//
// The sum is cut into parts (weight_parts), whose sums a second pass adds in their order.
#include "cuda/fold.h"
#include "cuda/kernel.h"
#include "cuda/operands.h"
#include "ops/conv/rounded.cuh"

namespace hl::cuda {
namespace {

constexpr int kStages = 3;

// A tile of kSide channels of kTileDepth pixels: rows of chunks that change places by the pixel's number.
// ldmatrix reads a chunk of 8 neighbouring rows; of TF32, a warp reads two chunks of 4 rows.
template <class Type, int kSide>
struct ChannelTile {
  static constexpr int kWords = kSide / Words<Type>::kEach, kChunks = kWords / kChunkWords;
  static constexpr int kSize = kTileDepth<Type> * kWords;
  static constexpr int kAtOnce = kThreads / kChunks;  // rows that a block's threads copy
  static constexpr int kPasses = kTileDepth<Type> / kAtOnce;

  static __device__ __forceinline__ int place(int row, int chunk) {
    const int turn = Words<Type>::kEach == 2 ? row % 8 : row % 4 * 2;
    return row * kWords + (chunk ^ turn) * kChunkWords;
  }
  static __device__ __forceinline__ uint32_t word(const uint32_t* tile, int row, int column) {
    return tile[place(row, column / kChunkWords) + column % kChunkWords];
  }
};

// sums += the product of two such tiles.
template <class Type, int kRows, int kColumns>
__device__ __forceinline__ void add_channels(TileSums<Type, kRows, kColumns>& sums,
                                             const uint32_t* a, const uint32_t* b) {
  using Sums = TileSums<Type, kRows, kColumns>;
  using A = ChannelTile<Type, kRows>;
  using B = ChannelTile<Type, kColumns>;
  constexpr int kDown = Sums::kDown, kAcross = Sums::kAcross, kStep = kTileDepth<Type> / 2;
  const int l = lane(), g = l / 4, t = l % 4;
  const int i0 = Sums::first_row(), j0 = Sums::first_column();
#pragma unroll
  for (int k = 0; k < kTileDepth<Type>; k += kStep) {
    uint32_t x[4], y[kAcross / 2][4];  // y: two fragments of 8 columns each
#pragma unroll
    for (int j = 0; j < kAcross / 2; ++j) {
      if constexpr (Words<Type>::kEach == 2) {
        const int chunk = (j0 + 16 * j) / 8 + l / 16;
        ldmatrix_x4_trans(y[j], b + B::place(k + l / 8 % 2 * 8 + l % 8, chunk));
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          y[j][e] = B::word(b, k + t + e % 2 * 4, j0 + 16 * j + g + e / 2 * 8);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
      if constexpr (Words<Type>::kEach == 2) {
        const int chunk = (i0 + 16 * i) / 8 + l / 8 % 2;
        ldmatrix_x4_trans(x, a + A::place(k + l / 16 * 8 + l % 8, chunk));
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          x[e] = A::word(a, k + t + e / 2 * 4, i0 + 16 * i + g + e % 2 * 8);
        }
      }
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
        Words<Type>::mma(sums.sum[i][j], x, &y[j / 2][j % 2 * 2]);
      }
    }
  }
}

struct WeightProduct {
  GemmGrid grid;  // columns are those of all chunks, the channels that only fill them up too
  Pixels pixels;
  Divider chunks;              // of x, a tap's
  int dy_chunks;               // of a pixel, a group's
  uint32_t x_pixel, dy_pixel;  // with all groups
  int64_t channels;            // of x, a group's, not filled up
  const uint32_t *x, *dy;      // rounded: pixels [begin, end) of dy, and the images they lie in
  int64_t begin, end;
  int64_t length, first_part, parts;  // pixels of a part; those that have some here
  int64_t weights;
  float* to;  // (parts, K, taps, channels)
};

template <class Type, int kRows, int kColumns>
struct WeightRoom {
  struct {
    uint32_t a[ChannelTile<Type, kRows>::kSize], b[ChannelTile<Type, kColumns>::kSize];
  } stage[kStages];
  int column[kColumns];  // in a row of dw; -1: none
};

template <class Type, int kRows, int kColumns>
__global__ void __launch_bounds__(kThreads, 2)
    conv_weight_mma(const __grid_constant__ WeightProduct p) {
  using Room = WeightRoom<Type, kRows, kColumns>;
  using A = ChannelTile<Type, kRows>;
  using B = ChannelTile<Type, kColumns>;
  constexpr int kNumbers = kChunkNumbers<Type>;
  HL_SHARED(Room, room);
  const int tid = int(threadIdx.x);
  const GemmTile tile = gemm_tile(p.grid);
  const int64_t group = tile.batch / p.parts, part = p.first_part + tile.batch % p.parts;
  const int64_t i0 = int64_t(tile.i) * kRows, j0 = int64_t(tile.j) * kColumns;
  const int64_t start = part * p.length, stop = start + p.length;
  const int first = int((start > p.begin ? start : p.begin) - p.begin);  // in dy
  const int count = int((stop < p.end ? stop : p.end) - p.begin) - first;

  if (tid < kColumns) {
    int64_t tap = (j0 + tid) / kNumbers;
    const int64_t c = last_index(tap, p.chunks) * kNumbers + (j0 + tid) % kNumbers;
    room->column[tid] = j0 + tid < p.grid.N && c < p.channels ? int(tap * p.channels + c) : -1;
  }

  // This thread's chunk of every row of A, and its first row; how many pixels there are from it on.
  const int a_row = tid / A::kChunks, a_chunk = tid % A::kChunks;
  const int dy_chunk = int(i0 / kNumbers) + a_chunk;
  uint32_t dy_at = unsigned(first + a_row) * p.dy_pixel + unsigned(group) * unsigned(p.dy_chunks) +
                   unsigned(dy_chunk);
  int a_left = dy_chunk < p.dy_chunks ? count - a_row : 0;
  // The same of B, where the chunk stands for a tap, and the row for a pixel of dy.
  const int b_row = tid / B::kChunks, b_chunk = tid % B::kChunks;
  int b_left = j0 + b_chunk * kNumbers < p.grid.N ? count - b_row : 0;
  int64_t tap = j0 / kNumbers + b_chunk;
  const uint32_t x_chunk =
      unsigned(group) * unsigned(p.chunks.by) + unsigned(last_index(tap, p.chunks));
  PixelWalk walk(p.pixels, first + b_row, tap);

  const auto copy = [&](int stage) {
    auto& to = room->stage[stage];
#pragma unroll
    for (int e = 0; e < A::kPasses; ++e) {
      const bool there = a_left > 0;
      cp_async16(to.a + A::place(a_row + e * A::kAtOnce, a_chunk),
                 p.dy + size_t(there ? dy_at : 0) * kChunkWords, there ? 16 : 0);
      a_left -= A::kAtOnce, dy_at += A::kAtOnce * p.dy_pixel;
    }
#pragma unroll
    for (int e = 0; e < B::kPasses; ++e) {
      uint32_t from;
      const bool there = walk.look(p.pixels, from) && b_left > 0;
      from = there ? from * p.x_pixel + x_chunk : 0;
      cp_async16(to.b + B::place(b_row + e * B::kAtOnce, b_chunk), p.x + size_t(from) * kChunkWords,
                 there ? 16 : 0);
      b_left -= B::kAtOnce;
      walk.advance(p.pixels);
    }
  };

  TileSums<Type, kRows, kColumns> sums;
  const int steps = count > 0 ? ceil_div(count, kTileDepth<Type>) : 0;
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
    add_channels(sums, room->stage[now].a, room->stage[now].b);
    now = now == kStages - 1 ? 0 : now + 1, next = next == kStages - 1 ? 0 : next + 1;
  }
  const int64_t depth = p.grid.N / (p.chunks.by * kNumbers) * p.channels;
  float* const to = p.to + part * p.weights + (group * p.grid.M + i0) * depth;
  const bool more = start < p.begin;  // than the slices before this one have summed
  sums.each(reinterpret_cast<float*>(room->stage), [&](int i, int j, float sum) {
    const int column = room->column[j];
    if (i0 + i >= p.grid.M || column < 0) return;
    float& total = to[i * depth + column];
    total = more ? total + sum : sum;
  });
}

template <class Type, int kRows, int kColumns>
void launch_weight(const Ctx& ctx, WeightProduct& p, int64_t batches) {
  p.pixels.moves_by(ChannelTile<Type, kColumns>::kAtOnce);
  p.grid.rows = unsigned(ceil_div(p.grid.M, int64_t(kRows)));
  p.grid.cols = unsigned(ceil_div(p.grid.N, int64_t(kColumns)));
  HL_LAUNCH((conv_weight_mma<Type, kRows, kColumns>), unsigned(batches) * p.grid.rows * p.grid.cols,
            kThreads, sizeof(WeightRoom<Type, kRows, kColumns>), ctx.stream, p);
}

// As with the other products, the bits do not depend on the choice. TF32's words take more addresses than
// there are registers beside the sums of a tile of 128 x 128.
template <class Type>
void launch_weight(const Ctx& ctx, WeightProduct& p, int64_t batches) {
  const int64_t down = ceil_div(p.grid.M, int64_t(64)), enough = card().multiprocessors;
  const int64_t across = ceil_div(p.grid.N, int64_t(128)) * batches;
  if constexpr (Words<Type>::kEach == 2) {
    if (down % 2 == 0 && down / 2 * across >= enough) {
      return launch_weight<Type, 128, 128>(ctx, p, batches);
    }
  }
  if (down * across >= enough) {
    launch_weight<Type, 64, 128>(ctx, p, batches);
  } else {
    launch_weight<Type, 64, 64>(ctx, p, batches);
  }
}

// False: not a call for this, and nothing has been launched.
template <class Type>
bool weigh(const Ctx& ctx, const ConvShape& s, const float* dy, const float* x, float* dw) {
  const int64_t taps = product(s.kernel), pixels = product(s.out), in_pixels = product(s.in);
  const int64_t k_group = s.K / s.groups, c_group = s.C / s.groups;
  const int64_t dy_chunks = ceil_div(k_group, int64_t(kChunkNumbers<Type>));
  const int64_t x_chunks = ceil_div(c_group, int64_t(kChunkNumbers<Type>));
  const int64_t dy_bytes = pixels * s.groups * dy_chunks * int64_t(sizeof(Chunk));
  const int64_t x_bytes = in_pixels * s.groups * x_chunks * int64_t(sizeof(Chunk));
  const int64_t images = images_at_once(s.N, dy_bytes + x_bytes);
  const int64_t parts = weight_parts(s, sizeof(float));
  WeightProduct p = {};
  p.pixels = pixels_of(s);
  p.grid.M = k_group, p.grid.N = taps * x_chunks * kChunkNumbers<Type>;
  const int64_t blocks =
      s.groups * parts * ceil_div(k_group, int64_t(64)) * ceil_div(p.grid.N, int64_t(64));
  p.weights = weights(s);
  if (images == 0 || blocks > INT32_MAX || p.weights / s.K > INT32_MAX / 2) return false;

  p.chunks = divide_by(x_chunks), p.dy_chunks = int(dy_chunks);
  p.x_pixel = uint32_t(s.groups * x_chunks), p.dy_pixel = uint32_t(s.groups * dy_chunks);
  p.channels = c_group, p.length = ceil_div(s.N * pixels, parts);
  p.to = parts > 1 ? reinterpret_cast<float*>(ctx.shared) : dw;

  Scratch scratch(ctx, aligned(images * dy_bytes) + aligned(images * x_bytes));
  uint32_t* const dy_to = scratch.take<uint32_t>(images * dy_bytes / 4);
  uint32_t* const x_to = scratch.take<uint32_t>(images * x_bytes / 4);
  if (!x_to) return true;  // no memory, which has been noted
  p.dy = dy_to, p.x = x_to;
  for (int64_t n = 0; n < s.N; n += images) {
    const int64_t now = s.N - n < images ? s.N - n : images;
    const RoundedArray of_x =
        rounded_rows(x + n * in_pixels * s.C, x_to, now * in_pixels * s.groups, c_group, x_chunks);
    round_arrays<Type>(
        ctx,
        rounded_rows(dy + n * pixels * s.K, dy_to, now * pixels * s.groups, k_group, dy_chunks),
        &of_x);
    p.begin = n * pixels, p.end = p.begin + now * pixels;
    p.first_part = p.begin / p.length;
    // Parts without a pixel are zero: they come with the last slice.
    const int64_t last_part = n + now < s.N ? ceil_div(p.end, p.length) : parts;
    p.parts = last_part - p.first_part;
    launch_weight<Type>(ctx, p, s.groups * p.parts);
  }
  return true;
}

// ---- the entry -------------------------------------------------------------------------------------
const Entry<conv_backward_weight_t<float>>* plain() {
  return static_cast<const Entry<conv_backward_weight_t<float>>*>(
      plain_entry("conv_backward_weight", 1));
}

template <class T>
Plan conv_backward_weight_plan(const ConvShape& s) {
  return plain()->plan(s);
}
template <class T>
void conv_backward_weight(Ctx& ctx, const ConvShape& s, const T* dy, const T* x, T* dw, T* db) {
  bool taken = false;
  if (dw && conv_mma_takes(ctx, s, s.K)) {
    with_factors(ctx, [&](auto type) { taken = weigh<decltype(type)>(ctx, s, dy, x, dw); });
  }
  if (!taken) return plain()->run(ctx, s, dy, x, dw, db);
  const int64_t parts = weight_parts(s, sizeof(T)), n = weights(s);
  if (parts > 1) {
    sum_rows(ctx, parts, n, reinterpret_cast<const T*>(ctx.shared), dw,
             ctx.shared + aligned(parts * n * int64_t(sizeof(T))));
  }
  if (db) plain()->run(ctx, s, dy, x, nullptr, db);
}

HL_CUDA_MMA_KERNEL(conv_backward_weight);

}  // namespace
}  // namespace hl::cuda
