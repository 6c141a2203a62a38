// Both operands are read where they are: a row of dy gives the tile its left side (output channels of one
// pixel lie side by side), the same row of the image, moved by the tap, gives the right side (so do its
// channels). The sum runs over the pixels of a block of rows. A task holds a block of channels of
// that image in a window with zeros around it and goes through every tap and output channel with it.
// Where the taps of one kernel row hold too few numbers for whole vectors, the two sides change places; with
// one channel of the image they are also too few for a tile (tap_rows.h).
#include "ops/conv/weight.h"

#include "cpu/gemm.h"
#include "ops/conv/correlate.h"
#include "ops/conv/tap_rows.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kWindowBytes = 256 << 10;
constexpr int64_t kPartialBytes = 2 << 20;

Stretches stretches(const ConvShape& s, int i, int64_t outputs) {
  return stretches_of(outputs, s.stride[i], s.dilation[i], s.kernel[i]);
}

// All taps of one kernel row are one matrix if the window holds nothing but their channels in between.
bool merged(const ConvShape& s, const WeightCut& k) {
  return k.channels == s.C / s.groups && s.dilation[2] == 1;
}

}  // namespace

template <class T>
WeightCut weight_cut(const ConvShape& s) {
  WeightCut k = {};
  const int64_t item = sizeof(T), C = s.C / s.groups, K = s.K / s.groups;
  k.nr = kTileColumns<T>;
  // dy is then read in whole vectors, which must not pass its end.
  const int64_t row = s.kernel[2] * C, lanes = kLanes<T>;
  k.turned =
      s.dilation[2] == 1 && C <= k.nr && K % lanes == 0 && row % k.nr != 0 && row <= 2 * k.nr;
  k.mr = even_part(k.turned ? row : K, kTileRows, 1);
  k.channels = min64(C, k.nr);
  k.channel_blocks = ceil_div(C, max64(1, k.channels));
  auto bytes = [&](int64_t rows, int64_t pixels) {
    return s.kernel[0] * stretches(s, 1, rows).size * stretches(s, 2, pixels).size * k.channels *
           item;
  };
  k.rows = 1, k.pixels = s.out[2];
  while (k.pixels > 64 && bytes(1, k.pixels) > kWindowBytes) k.pixels = ceil_div(k.pixels, 2);
  while (k.pixels == s.out[2] && k.rows < s.out[1] && k.rows * k.pixels < 1024 &&
         bytes(k.rows + 1, k.pixels) <= kWindowBytes) {
    ++k.rows;
  }
  k.row_tasks = ceil_div(s.out[1], k.rows);
  k.pixel_tasks = ceil_div(s.out[2], max64(1, k.pixels));
  // Short sums over small images would spend their time on loading and storing dw.
  const int64_t blocks = s.groups * k.channel_blocks, image = max64(1, bytes(k.rows, k.pixels));
  k.images = 1;
  if (s.out[0] == 1 && k.row_tasks == 1 && k.pixel_tasks == 1 && s.out[1] * s.out[2] > 0) {
    k.images = min64(ceil_div(512, s.out[1] * s.out[2]), kWindowBytes / image);
    k.images = max64(1, min64(k.images, s.N / ceil_div(16, max64(1, blocks))));
  }
  k.bands = ceil_div(s.N, k.images) * s.out[0] * k.row_tasks * k.pixel_tasks;
  k.size = s.K * s.kernel[0] * s.kernel[1] * s.kernel[2] * C;
  // Sixteen tasks: by channels of x, by partial sums over the bands as long as those are small, then
  // by channels of dy, each of which fills a window again.
  k.splits = max64(1, min64(ceil_div(16, max64(1, blocks)), k.bands));
  k.splits = max64(1, min64(k.splits, kPartialBytes / max64(1, k.size * item)));
  const int64_t panel = k.turned ? k.nr : k.mr, panels = ceil_div(K, panel);
  k.output_blocks = max64(1, min64(panels, 8 / max64(1, blocks * k.splits)));
  k.outputs = ceil_div(panels, k.output_blocks) * panel;
  k.output_blocks = ceil_div(K, max64(1, k.outputs));
  k.window_bytes = round_up(k.images * max64(0, bytes(k.rows, k.pixels)) + k.nr * item, 64);
  k.partial_bytes = k.splits > 1 ? k.splits * k.size * item : 0;
  return k;
}

template <class T>
void weight_gradient(Ctx& ctx, const ConvShape& s, const WeightCut& k, const T* dy, const T* x,
                     T* dw) {
  const int64_t C = s.C / s.groups, K = s.K / s.groups;
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  if (k.bands == 0) {
    for (int64_t i = 0; i < k.size; i += kLanes<T>) {
      store_n(dw + i, zero<T>(), min64(kLanes<T>, k.size - i));
    }
    return;
  }
  T* partial = k.splits > 1 ? reinterpret_cast<T*>(ctx.shared) : dw;
  const bool row_at_once = merged(s, k);
  const auto together = k.turned && C == 1 && s.kernel[0] == 1 && s.dilation[1] == 1
                            ? tap_rows_of<T>(s.kernel[2])
                            : nullptr;
  const Stretches high = stretches(s, 1, k.rows), wide = stretches(s, 2, k.pixels);
  const int64_t pixel_pitch = k.channels, row_pitch = wide.size * pixel_pitch;
  const int64_t plane_pitch = high.size * row_pitch;
  const int64_t image_pitch = s.kernel[0] * plane_pitch, x_step = s.stride[1] * row_pitch;
  const int64_t tasks = k.splits * s.groups * k.channel_blocks * k.output_blocks;
  parallel_for(ctx, tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    T* window = worker_scratch<T>(ctx, worker);
    int64_t* places =
        reinterpret_cast<int64_t*>(worker_scratch<char>(ctx, worker) + k.window_bytes);
    int64_t* dy_places = places + k.images * k.rows;
    for (int64_t task = begin; task < end; ++task) {
      int64_t index = task;
      const int64_t block = index % k.output_blocks;
      index /= k.output_blocks;
      const int64_t c0 = index % k.channel_blocks * k.channels,
                    channels = min64(k.channels, C - c0);
      index /= k.channel_blocks;
      const int64_t group = index % s.groups, split = index / s.groups;
      T* into = partial + split * k.size;
      const int64_t first = k.bands * split / k.splits, stop = k.bands * (split + 1) / k.splits;
      for (int64_t band = first; band < stop; ++band) {
        int64_t at = band;
        const int64_t q0 = at % k.pixel_tasks * k.pixels, pixels = min64(k.pixels, s.out[2] - q0);
        at /= k.pixel_tasks;
        const int64_t p0 = at % k.row_tasks * k.rows, rows = min64(k.rows, s.out[1] - p0);
        at /= k.row_tasks;
        const int64_t plane = at % s.out[0], image = at / s.out[0] * k.images;
        const int64_t images = min64(k.images, s.N - image);
        // A last block is smaller than the others, whose places it keeps.
        const int64_t height = high.width - (k.rows - rows) * s.stride[1];
        const int64_t width = wide.width - (k.pixels - pixels) * s.stride[2];
        for (int64_t i = 0; i < images * s.kernel[0]; ++i) {
          const int64_t t = i % s.kernel[0], from = image + i / s.kernel[0];
          const int64_t d = plane * s.stride[0] - s.pad[0] + t * s.dilation[0];
          for (int64_t j = 0; j < high.count * height; ++j) {
            const int64_t stretch = j / height, r = j % height;
            const int64_t h = p0 * s.stride[1] - s.pad[1] + stretch * s.dilation[1] + r;
            const bool inside = d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1];
            if (!inside && !together) continue;  // no tap reads it
            const T* line =
                x + ((from * s.in[0] + d) * s.in[1] + h) * s.in[2] * s.C + group * C + c0;
            // A narrower last block keeps the pitch of the others.
            T* to = window + i * plane_pitch + (stretch * high.width + r) * row_pitch;
            for (int64_t tap = 0; tap < wide.count; ++tap) {
              const int64_t x0 = q0 * s.stride[2] - s.pad[2] + tap * s.dilation[2];
              copy_line(inside ? line : nullptr, s.in[2], s.C, x0, x0 + width, channels,
                        pixel_pitch, to + tap * wide.width * pixel_pitch);
            }
          }
        }
        const T* left = dy + (((image * s.out[0] + plane) * s.out[1] + p0) * s.out[2] + q0) * s.K;
        const int64_t o0 = block * k.outputs, o1 = min64(K, o0 + k.outputs);
        const T beta = T(band > first);
        const int64_t tap_step = row_at_once ? s.kernel[2] : 1;
        const int64_t columns = row_at_once ? s.kernel[2] * C : channels;
        int64_t live = 0;
        auto product = [&](Tile<T> t, int64_t lines) {
          t.stretches = live;
          (k.turned ? t.b_at : t.a_at) = dy_places;
          (k.turned ? t.a_at : t.b_at) = places;
          tile<T>(lines, ceil_div(t.n, kLanes<T>))(t);
        };
        const int64_t x_pixel = s.stride[2] * pixel_pitch;
        // The rows of dy, and of the window, for which looks(row) holds.
        auto list_rows = [&](auto looks) {
          live = 0;
          for (int64_t i = 0; i < images; ++i) {
            for (int64_t r = 0; r < rows; ++r) {
              if (!looks(r)) continue;
              dy_places[live] = (i * s.out[1] + r) * s.out[2] * s.K;
              places[live++] = i * image_pitch + r * x_step;
            }
          }
        };
        if (together) {
          list_rows([](int64_t) { return true; });
          for (int64_t o = o0; o < o1; o += kLanes<T>) {
            together({live, pixels, places, dy_places, window, row_pitch, x_pixel,
                      left + group * K + o, s.K, into + (group * K + o) * taps, taps, band > first},
                     s.kernel[1]);
          }
          continue;
        }
        for (int64_t tap = 0; tap < taps; tap += tap_step) {
          const int64_t t2 = tap % s.kernel[2], t1 = tap / s.kernel[2] % s.kernel[1];
          const int64_t t0 = tap / s.kernel[2] / s.kernel[1];
          if (t2 == 0) {  // this row of taps looks into the image from some rows only
            const int64_t d = plane * s.stride[0] - s.pad[0] + t0 * s.dilation[0];
            const int64_t h = p0 * s.stride[1] - s.pad[1] + t1 * s.dilation[1];
            list_rows([&](int64_t r) {
              const int64_t at = h + r * s.stride[1];
              return d >= 0 && d < s.in[0] && at >= 0 && at < s.in[1];
            });
          }
          const T* right = window + t0 * plane_pitch + t1 * high.apart * row_pitch +
                           t2 * wide.apart * pixel_pitch;
          for (int64_t o = o0; o < o1; o += k.turned ? k.nr : k.mr) {
            const T* side = left + group * K + o;
            T* to = into + ((group * K + o) * taps + tap) * C + c0;
            for (int64_t j = 0; j < columns; j += k.turned ? k.mr : k.nr) {
              if (k.turned) {
                product({pixels, right + j, 1, x_pixel, side, s.K, to + j, 1, taps * C,
                         min64(k.nr, o1 - o), T(1), beta},
                        min64(k.mr, columns - j));
              } else {
                product({pixels, side, 1, s.K, right + j, x_pixel, to + j, taps * C, 1,
                         min64(k.nr, columns - j), T(1), beta},
                        min64(k.mr, o1 - o));
              }
            }
          }
        }
      }
    }
  });
  add_partials(ctx, partial, k.splits, k.size, dw);
}

template <class T>
void add_partials(Ctx& ctx, const T* partial, int64_t splits, int64_t size, T* dw) {
  if (splits == 1) return;
  parallel_for(ctx, size, 1 << 14, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += kLanes<T>) {
      const int64_t n = min64(kLanes<T>, end - i);
      Vec<T> sum = load_n(partial + i, n);
      for (int64_t split = 1; split < splits; ++split) {
        sum += load_n(partial + split * size + i, n);
      }
      store_n(dw + i, sum, n);
    }
  });
}

#define HL_INSTANTIATE(T)                                                                        \
  template WeightCut weight_cut<T>(const ConvShape&);                                            \
  template void weight_gradient<T>(Ctx&, const ConvShape&, const WeightCut&, const T*, const T*, \
                                   T*);                                                          \
  template void add_partials<T>(Ctx&, const T*, int64_t, int64_t, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
