// The direct convolution: the register tile reads the image where it is.
//
// A tile is up to MR pixels next to each other in one output row times two vectors of output channels.
// Its sum runs over the taps of one kernel row after the other; the numbers that one pixel needs of a
// row lie side by side (S taps of C channels), and the pixels are a fixed step apart, which is all that
// the tile asks of its left operand. No matrix of patches is ever made. Images with padding are
// first copied, a block of rows at a time, into a window with zeros around it that stays in the
// second-level cache.
#include "ops/conv/correlate.h"

#include "cpu/gemm.h"
#include "ops/conv/dot_line.h"
#include "ops/conv/planar_line.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kWindowBytes = 384 << 10;  // with a group of W, half of a second-level cache
constexpr int64_t kGroupBytes = 384 << 10;

CorrelateAxis forward_axis(const ConvShape& s, int i) {
  return {s.in[i],     s.out[i],    s.out[i], s.stride[i], -s.pad[i], s.dilation[i],
          s.kernel[i], s.kernel[i], 0,        1,           0,         1};
}

int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }

// Outputs i = phase + stride * j meet tap t where phase + pad - t * dilation is a multiple of the stride.
CorrelateAxis backward_axis(const ConvShape& s, int i, int64_t phase) {
  const int64_t stride = s.stride[i], dilation = s.dilation[i], kernel = s.kernel[i];
  const int64_t every = stride / gcd(dilation, stride);
  CorrelateAxis a = {s.out[i], s.in[i], ceil_div(max64(s.in[i] - phase, 0), stride),
                     1,        0,       every * dilation / stride,
                     0,        kernel,  0,
                     -every,   phase,   stride};
  int64_t tap = 0;
  while (tap < every && (phase + s.pad[i] - tap * dilation) % stride != 0) ++tap;
  if (tap == every || tap >= kernel) return a;  // no tap meets this phase: zeros
  a.taps = (kernel - 1 - tap) / every + 1;
  a.tap0 = tap + (a.taps - 1) * every;  // the last one reads the least source
  a.first = (phase + s.pad[i] - a.tap0 * dilation) / stride;
  return a;
}

Stretches stretches(const CorrelateAxis& a, int64_t outputs) {
  return stretches_of(outputs, a.step, a.delta, a.taps);
}

bool leaves_image(const CorrelateAxis& a) {
  const int64_t extent = (a.out - 1) * a.step + (a.taps - 1) * a.delta + 1;
  return a.taps > 0 && (a.first < 0 || a.first + extent > a.from);
}

int64_t taps_of(const Correlation& c) { return c.axis[0].taps * c.axis[1].taps * c.axis[2].taps; }

// W as panels of nr columns, taps outermost, in the order in which they read the source; for sums along
// the lanes as whole columns.
template <class T>
void pack_weights(Ctx& ctx, const Correlation& c, const CorrelateCut& k, const T* w, T* packed) {
  const CorrelateAxis* a = c.axis;
  const int64_t kernel = a[0].kernel * a[1].kernel * a[2].kernel;
  const int64_t own = c.transposed ? c.columns : c.channels;  // the last axis of w
  const int64_t size = k.depth * k.nr;
  parallel_for(ctx, c.groups * k.panels, ceil_div(1 << 13, max64(1, size)),
               [&](int64_t begin, int64_t end, int) {
                 for (int64_t p = begin; p < end; ++p) {
                   const int64_t group = p / k.panels, line = p % k.panels * k.nr;
                   const int lines = int(min64(k.nr, c.columns - line));
                   T* to = packed + p * size;
                   for (int64_t i = 0; i < a[0].taps * a[1].taps * a[2].taps; ++i) {
                     const int64_t t0 = i / (a[1].taps * a[2].taps), t1 = i / a[2].taps % a[1].taps;
                     const int64_t t2 = i % a[2].taps;
                     int64_t tap = a[0].tap0 + t0 * a[0].tap_step;
                     tap = tap * a[1].kernel + a[1].tap0 + t1 * a[1].tap_step;
                     tap = tap * a[2].kernel + a[2].tap0 + t2 * a[2].tap_step;
                     // w[channel, tap, column] or w[column, tap, channel]
                     const int64_t lead = c.transposed ? c.channels : c.columns;
                     const T* from = w + (group * lead * kernel + tap) * own;
                     const int64_t line_step = c.transposed ? 1 : kernel * own;
                     const int64_t channel_step = c.transposed ? kernel * own : 1;
                     if (k.dot) {
                       for (int64_t o = 0; o < lines; ++o) {
                         T* at = to + o * k.depth + i * c.channels;
                         const T* column = from + o * line_step;
                         for (int64_t j = 0; j < c.channels; ++j) at[j] = column[j * channel_step];
                       }
                     } else {
                       Strided<T>{from, line_step, channel_step, false}.pack(
                           to + i * c.channels * k.nr, int(k.nr), line, lines, 0, c.channels);
                     }
                   }
                 }
               });
}

// The taps of output j that look into the image. Those that look past its edge would add zeros: of a 5 x 5
// kernel over 14 rows with margins, one row of taps in twelve.
struct Live {
  int64_t first, count;
};

Live live_taps(const CorrelateAxis& a, int64_t j) {
  const int64_t at = j * a.step + a.first;
  const int64_t first = at < 0 ? ceil_div(-at, a.delta) : 0;
  const int64_t end = at < a.from ? min64(a.taps, (a.from - 1 - at) / a.delta + 1) : 0;
  return {first, max64(0, end - first)};
}

// Planes are left out where the kernel has several, else rows: what remains is one run of taps.
Live live_runs(const Correlation& c, const CorrelateCut& k, int64_t plane, int64_t row) {
  const CorrelateAxis* a = c.axis;
  const Live planes = live_taps(a[0], plane);
  if (planes.count == 0 || a[1].taps == 0) return {0, 0};
  const int64_t in_plane = k.runs / a[0].taps;
  if (a[0].taps > 1) return {planes.first * in_plane, planes.count * in_plane};
  const Live rows = live_taps(a[1], row);
  const int64_t in_row = in_plane / a[1].taps;
  return {rows.first * in_row, rows.count * in_row};
}

// One task's place: image, plane, and the block of rows and columns.
struct Block {
  int64_t image, group, plane, row, rows, pixel, pixels;
};

Block block_of(const Correlation& c, const CorrelateCut& k, int64_t task) {
  Block b;
  const int64_t pixel_task = task % k.pixel_tasks;
  task /= k.pixel_tasks;
  const int64_t row_task = task % k.row_tasks;
  task /= k.row_tasks;
  b.plane = task % c.axis[0].out;
  task /= c.axis[0].out;
  b.group = task % c.groups;
  b.image = task / c.groups;
  b.row = row_task * k.rows, b.rows = min64(k.rows, c.axis[1].out - b.row);
  b.pixel = pixel_task * k.pixels, b.pixels = min64(k.pixels, c.axis[2].out - b.pixel);
  return b;
}

// The source of a block with zeros around it.
template <class T>
void fill_window(const Correlation& c, const CorrelateCut& k, const Block& b, const T* from,
                 T* window) {
  const CorrelateAxis* a = c.axis;
  const int64_t all = c.groups * c.channels;
  const int64_t row0 = b.row * a[1].step + a[1].first, x0 = b.pixel * a[2].step + a[2].first;
  const Stretches rows = stretches(a[1], k.rows), pixels = stretches(a[2], k.pixels);
  // A last block is smaller than the others, whose places it keeps.
  const int64_t height = rows.width - (k.rows - b.rows) * a[1].step;
  const int64_t width = pixels.width - (k.pixels - b.pixels) * a[2].step;
  for (int64_t t = 0; t < a[0].taps; ++t) {
    const int64_t plane = b.plane * a[0].step + a[0].first + t * a[0].delta;
    for (int64_t i = 0; i < rows.count * height; ++i) {
      const int64_t stretch = i / height, r = i % height;
      const int64_t row = row0 + stretch * a[1].delta + r;
      const bool inside = plane >= 0 && plane < a[0].from && row >= 0 && row < a[1].from;
      if (!inside && a[0].taps == 1) continue;  // no run looks there
      const T* line = from + ((b.image * a[0].from + plane) * a[1].from + row) * a[2].from * all +
                      b.group * c.channels;
      T* to = window + t * k.pitch[0] + (stretch * rows.width + r) * k.pitch[1];
      for (int64_t j = 0; j < pixels.count; ++j) {
        const int64_t x = x0 + j * a[2].delta;
        copy_line(inside ? line : nullptr, a[2].from, all, x, x + width, c.channels, c.channels,
                  to + j * pixels.width * k.pitch[2]);
      }
    }
  }
}

}  // namespace

Correlation forward_correlation(const ConvShape& s) {
  Correlation c = {s.N, s.groups, s.C / s.groups, s.K / s.groups, false, {}};
  for (int i = 0; i < 3; ++i) c.axis[i] = forward_axis(s, i);
  return c;
}

Correlation backward_correlation(const ConvShape& s, int64_t phase) {
  Correlation c = {s.N, s.groups, s.K / s.groups, s.C / s.groups, true, {}};
  for (int i = 2; i >= 0; --i) {
    c.axis[i] = backward_axis(s, i, phase % phases_along(s, i));
    phase /= phases_along(s, i);
  }
  return c;
}

template <class T>
CorrelateCut correlate_cut(const Correlation& c) {
  const CorrelateAxis* a = c.axis;
  const int64_t size = sizeof(T);
  CorrelateCut k = {};
  const int64_t taps = taps_of(c);
  k.planar = c.groups == 1 && c.channels == 1 && c.columns <= kPlanarChannels<T> &&
             a[2].step == 1 && a[2].delta == 1 && a[2].taps > 1;
  k.in_place = !k.planar && !leaves_image(a[0]) && !leaves_image(a[1]) && !leaves_image(a[2]);
  const bool merged = a[2].taps == 1 || (a[2].delta == 1 && (c.groups == 1 || !k.in_place));
  k.run = c.channels * (merged ? a[2].taps : 1);
  k.dot = !k.planar && c.columns <= kLanes<T> / 2 && k.run >= kLanes<T>;
  k.nr = k.panels_fit() ? kTileColumns<T> : c.columns;
  k.depth = taps * c.channels;
  k.panels = ceil_div(c.columns, k.nr);
  k.weight_bytes = round_up(c.groups * k.panels * k.nr * k.depth * size, 64);
  k.group_panels = max64(1, min64(k.panels, kGroupBytes / max64(1, k.depth * k.nr * size)));

  // The largest window that fits, but at least sixteen tasks in all.
  k.pixels = even_part(a[2].out, kTileRows, 1);
  k.mr = k.pixels;
  k.rows = 1;
  auto bytes = [&](int64_t rows, int64_t pixels) {
    return a[0].taps * stretches(a[1], rows).size * stretches(a[2], pixels).size * c.channels *
           size;
  };
  while (k.pixels < a[2].out && bytes(1, k.pixels + k.mr) <= kWindowBytes) k.pixels += k.mr;
  k.pixels = min64(k.pixels, a[2].out);
  while (k.pixels == a[2].out && k.rows < a[1].out && bytes(k.rows + 1, k.pixels) <= kWindowBytes) {
    ++k.rows;
  }
  const int64_t planes = c.N * c.groups * a[0].out;
  const int64_t most = ceil_div(a[1].out, max64(1, ceil_div(16, max64(1, planes))));
  k.rows = max64(1, min64(k.rows, most));
  if (a[1].out > 0) k.rows = ceil_div(a[1].out, ceil_div(a[1].out, k.rows));
  k.row_tasks = ceil_div(a[1].out, k.rows);
  k.pixel_tasks = ceil_div(a[2].out, max64(1, k.pixels));
  k.tasks = planes * k.row_tasks * k.pixel_tasks;

  if (k.in_place) {
    k.pitch[2] = c.groups * c.channels;
    k.pitch[1] = a[2].from * k.pitch[2];
    k.pitch[0] = a[0].delta * a[1].from * k.pitch[1];
    k.apart[1] = a[1].delta, k.apart[2] = a[2].delta;
  } else if (taps > 0) {
    k.pitch[2] = c.channels;
    k.pitch[1] = stretches(a[2], k.pixels).size * k.pitch[2];
    k.pitch[0] = stretches(a[1], k.rows).size * k.pitch[1];
    k.apart[1] = stretches(a[1], k.rows).apart, k.apart[2] = stretches(a[2], k.pixels).apart;
    const int64_t beyond = k.planar ? kTileColumns<T> : 0;  // read in whole tiles
    k.window_bytes = round_up((a[0].taps * k.pitch[0] + beyond) * size, 64);
  }
  k.runs = taps > 0 ? k.depth / max64(1, k.run) : 0;
  if (c.channels == 0) k.runs = 0;
  return k;
}

template <class T>
void correlate(Ctx& ctx, const Correlation& c, const CorrelateCut& k, const T* from, const T* w,
               const T* panels, const Finish<T>& finish, T* to, T* z) {
  const CorrelateAxis* a = c.axis;
  const T* packed = panels;
  Finish<T> rest = finish;  // the sums start from the bias
  rest.b = nullptr;
  if (!panels || !k.panels_fit()) {
    T* own = reinterpret_cast<T*>(ctx.shared);
    pack_weights(ctx, c, k, w, own);
    packed = own;
  }
  const int64_t all = c.groups * c.columns, panel_size = k.depth * k.nr;
  const bool merged = k.run != c.channels || a[2].taps == 1;
  const int64_t work = k.rows * k.pixels * c.columns * k.depth;
  parallel_for(
      ctx, k.tasks, max64(1, (1 << 18) / max64(1, work)),
      [&](int64_t begin, int64_t end, int worker) {
        T* window = worker_scratch<T>(ctx, worker);
        int64_t* at =
            reinterpret_cast<int64_t*>(worker_scratch<char>(ctx, worker) + k.window_bytes);
        const int64_t runs_x = merged ? 1 : a[2].taps;
        for (int64_t i = 0; i < k.runs; ++i) {
          const int64_t t2 = i % runs_x, t1 = i / runs_x % a[1].taps, t0 = i / runs_x / a[1].taps;
          at[i] = t0 * k.pitch[0] + t1 * k.apart[1] * k.pitch[1] + t2 * k.apart[2] * k.pitch[2];
        }
        for (int64_t task = begin; task < end; ++task) {
          const Block b = block_of(c, k, task);
          const T* source = window;
          if (k.in_place) {
            const int64_t plane = b.image * a[0].from + b.plane * a[0].step + a[0].first;
            const int64_t row = plane * a[1].from + b.row * a[1].step + a[1].first;
            source = from + (row * a[2].from + b.pixel * a[2].step + a[2].first) * k.pitch[2] +
                     b.group * c.channels;
          } else if (k.runs > 0) {
            fill_window(c, k, b, from, window);
          }
          const int64_t plane = b.image * a[0].to + b.plane * a[0].place_step + a[0].place;
          const int64_t step = a[2].place_step * all;
          for (int64_t p0 = 0; p0 < k.panels; p0 += k.group_panels) {
            const int64_t p1 = min64(k.panels, p0 + k.group_panels);
            const int64_t column = b.group * c.columns + p0 * k.nr;
            const int64_t columns = min64(c.columns, p1 * k.nr) - p0 * k.nr;
            const T* bias = finish.b ? finish.b + column : nullptr;
            for (int64_t r = 0; r < b.rows; ++r) {
              const int64_t row = plane * a[1].to + (b.row + r) * a[1].place_step + a[1].place;
              const int64_t first = row * a[2].to + b.pixel * a[2].place_step + a[2].place;
              T* line = to + first * all + column;
              const T* pixels = source + r * a[1].step * k.pitch[1];
              const Live live = live_runs(c, k, b.plane, b.row + r);
              const int64_t* places = at + live.first;
              const T* weights = packed + live.first * k.run * (k.dot ? 1 : k.nr);
              if (k.dot) {
                dot_line<T>({k.run, live.count, pixels, a[2].step * k.pitch[2], places,
                             weights + b.group * panel_size, k.depth, bias, line, step},
                            b.pixels, c.columns);
              }
              if (k.planar) {
                planar_line<T>(
                    {k.run, live.count, pixels, places, weights, c.columns, bias, line, step},
                    b.pixels);
              }
              for (int64_t q = 0; q < b.pixels && k.panels_fit(); q += k.mr) {
                const int64_t rows = min64(k.mr, b.pixels - q);
                for (int64_t p = p0; p < p1; ++p) {
                  const int64_t n = min64(k.nr, c.columns - p * k.nr);
                  Tile<T> t = {k.run,
                               pixels + q * a[2].step * k.pitch[2],
                               a[2].step * k.pitch[2],
                               1,
                               weights + (b.group * k.panels + p) * panel_size,
                               k.nr,
                               line + q * step + (p - p0) * k.nr,
                               step,
                               1,
                               n,
                               T(1),
                               T(0)};
                  t.stretches = live.count;
                  t.a_at = places;
                  t.b_step = k.run * k.nr;
                  if (bias) t.start = bias + (p - p0) * k.nr;
                  tile<T>(rows, ceil_div(n, kLanes<T>))(t);
                }
              }
              if (rest.needed()) {
                rest.lines(line, z ? z + (line - to) : nullptr, step, b.pixels, nullptr, columns);
              }
            }
          }
        }
      });
}

#define HL_INSTANTIATE(T)                                                                       \
  template CorrelateCut correlate_cut<T>(const Correlation&);                                   \
  template void correlate<T>(Ctx&, const Correlation&, const CorrelateCut&, const T*, const T*, \
                             const T*, const Finish<T>&, T*, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
