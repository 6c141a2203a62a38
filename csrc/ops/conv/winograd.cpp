#include "ops/conv/winograd.h"

#include "cpu/gemm.h"
#include "ops/conv/weight.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t P = kWinogradPositions;
constexpr int64_t kBlockBytes = 512 << 10;  // of V and M: half of a second-level cache
constexpr int64_t kMoreWeights = 1 << 20;   // U may be larger than w by this

// Neighbours on a line of tiles: where the outputs of the first one begin, its number, how many.
struct TileLine {
  int64_t image, row, column, tile, run;
};
template <class F>
HL_INLINE void for_lines(const WinogradGrid& g, int64_t tile, int64_t count, const F& f) {
  for (int64_t done = 0; done < count;) {
    const int64_t line = (tile + done) / g.wide, at = (tile + done) % g.wide;
    const int64_t run = min64(count - done, g.wide - at);
    f(TileLine{line / g.high, line % g.high * 2, at * 2, done, run});
    done += run;
  }
}

struct Picture {
  int64_t height, width, channels;

  int64_t at(int64_t image, int64_t row, int64_t column) const {
    return ((image * height + row) * width + column) * channels;
  }
};

// `size` lines of pixels, one below the other, from a column on. What lies outside the picture is zero.
template <int size, class T>
struct Band {
  const T* line[size];
  int64_t step[size];  // from pixel to pixel
  int64_t column, width;

  HL_INLINE Band(const Picture& p, const T* from, int64_t image, int64_t row, int64_t column,
                 const T* zeros)
      : column(column), width(p.width) {
    for (int i = 0; i < size; ++i) {
      const bool inside = row + i >= 0 && row + i < p.height;
      line[i] = inside ? from + p.at(image, row + i, column) : zeros;
      step[i] = inside ? p.channels : 0;
    }
  }
  // Channels c of column j, from above.
  template <class Access>
  HL_INLINE void get(int64_t j, int64_t c, const Access& lanes, Vec<T> (&to)[size]) const {
    const bool inside = uint64_t(column + j) < uint64_t(width);
#pragma GCC unroll 4
    for (int i = 0; i < size; ++i) {
      to[i] = inside ? lanes.get(line[i] + j * step[i] + c) : zero<T>();
    }
  }
};

// ---- the transforms, of one vector of channels -----------------------------------------------------
// B' d of a column.
template <class V>
HL_INLINE void transform_column(V (&d)[4]) {
  const V d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
  d[0] = d0 - d2, d[1] = d1 + d2, d[2] = d2 - d1, d[3] = d1 - d3;
}

// A' m A
template <class Load, class Store>
HL_INLINE void transform_back(Load load, Store store) {
  decltype(load(0)) s[2][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const auto m0 = load(j), m1 = load(4 + j), m2 = load(8 + j), m3 = load(12 + j);
    s[0][j] = m0 + m1 + m2, s[1][j] = m1 - m2 - m3;
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    store(2 * i, s[i][0] + s[i][1] + s[i][2]);
    store(2 * i + 1, s[i][1] - s[i][2] - s[i][3]);
  }
}

// A dy of a column, but for the sign of the last row: transform_gradient sees to that, and to the last
// column's.
template <class V>
HL_INLINE void transform_outputs(const V (&e)[2], V (&t)[4]) {
  t[0] = e[0], t[1] = e[0] + e[1], t[2] = e[0] - e[1], t[3] = e[1];
}

// G g G'
template <class T, class Load, class Store>
HL_INLINE void transform_weights(Load load, Store store) {
  const Vec<T> half = set1(T(0.5));
  Vec<T> h[4][3];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    const Vec<T> g0 = load(j), g1 = load(3 + j), g2 = load(6 + j), ends = g0 + g2;
    h[0][j] = g0, h[1][j] = half * (ends + g1), h[2][j] = half * (ends - g1), h[3][j] = g2;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vec<T> ends = h[i][0] + h[i][2];
    store(4 * i, h[i][0]);
    store(4 * i + 1, half * (ends + h[i][1]));
    store(4 * i + 2, half * (ends - h[i][1]));
    store(4 * i + 3, h[i][2]);
  }
}

// G' u G
template <class T, class Load, class Store>
HL_INLINE void transform_gradient(Load load, Store store) {
  const Vec<T> half = set1(T(0.5));
  Vec<T> h[3][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec<T> u1 = load(4 + j), u2 = load(8 + j), mean = half * (u1 + u2);
    h[0][j] = load(j) + mean, h[1][j] = half * (u1 - u2), h[2][j] = mean - load(12 + j);
  }
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) {
    const Vec<T> mean = half * (h[i][1] + h[i][2]);
    store(3 * i, h[i][0] + mean);
    store(3 * i + 1, half * (h[i][1] - h[i][2]));
    store(3 * i + 2, mean - h[i][3]);
  }
}

// ---- whole blocks ----------------------------------------------------------------------------------
// Access to whole vectors, and to what is left behind the last one.
template <class T>
struct Whole {
  HL_INLINE Vec<T> get(const T* p) const { return load(p); }
  HL_INLINE void put(T* p, Vec<T> v) const { store(p, v); }
};
template <class T>
struct Rest {
  int64_t n;
  HL_INLINE Vec<T> get(const T* p) const { return load_n(p, n); }
  HL_INLINE void put(T* p, Vec<T> v) const { store_n(p, v, n); }
};
template <class T, class Body>
HL_INLINE void by_vectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) body(i, Whole<T>{});
  if (i < n) body(i, Rest<T>{n - i});
}

// V of `count` tiles. Neighbours share two of their four columns, whose half of the transform is done once.
template <class T>
void image_block(const WinogradGrid& g, const Picture& p, const int64_t (&first)[2], int64_t tile,
                 int64_t count, int64_t channels, const T* from, const T* zeros,
                 const WinogradSheets& sheets, T* v) {
  for_lines(g, tile, count, [&](const TileLine& l) {
    const Band<4, T> band(p, from, l.image, l.row + first[0], l.column + first[1], zeros);
    by_vectors<T>(channels, [=](int64_t c, auto lanes) {  // by value: a store might change the rest
      const auto column = [&](int64_t j, Vec<T>(&to)[4]) __attribute__((always_inline)) {
        band.get(j, c, lanes, to);
        transform_column(to);
      };
      Vec<T> t[4][4];
      column(0, t[0]);
      column(1, t[1]);
      T* to = v + l.tile * sheets.pitch + c;
      const int64_t step = sheets.step, pitch = sheets.pitch, run = l.run;
      for (int64_t q = 0; q < run; ++q, to += pitch) {
        column(2 * q + 2, t[2]);
        column(2 * q + 3, t[3]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          T* row = to + 4 * i * step;
          store(row, t[0][i] - t[2][i]);
          store(row + step, t[1][i] + t[2][i]);
          store(row + 2 * step, t[2][i] - t[1][i]);
          store(row + 3 * step, t[1][i] - t[3][i]);
          t[0][i] = t[2][i], t[1][i] = t[3][i];
        }
      }
    });
  });
}

// W of `count` tiles of dy.
template <class T>
void outputs_block(const WinogradGrid& g, const Picture& p, int64_t tile, int64_t count,
                   int64_t channels, const T* dy, const T* zeros, const WinogradSheets& sheets,
                   T* w) {
  for_lines(g, tile, count, [&](const TileLine& l) {
    const Band<2, T> band(p, dy, l.image, l.row, l.column, zeros);
    by_vectors<T>(channels, [=](int64_t c, auto lanes) {
      T* to = w + l.tile * sheets.pitch + c;
      const int64_t step = sheets.step, pitch = sheets.pitch, run = l.run;
      for (int64_t q = 0; q < run; ++q, to += pitch) {
        Vec<T> left[2], right[2], t[2][4];
        band.get(2 * q, c, lanes, left);
        band.get(2 * q + 1, c, lanes, right);
        transform_outputs(left, t[0]);
        transform_outputs(right, t[1]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          T* row = to + 4 * i * step;
          store(row, t[0][i]);
          store(row + step, t[0][i] + t[1][i]);
          store(row + 2 * step, t[0][i] - t[1][i]);
          store(row + 3 * step, t[1][i]);
        }
      }
    });
  });
}

// y of `count` tiles and n columns.
template <class T>
void back_block(const WinogradGrid& g, const Picture& y, int64_t tile, int64_t count, int64_t n,
                const WinogradSheets& sheets, const T* m, const T* bias, T* to) {
  const int64_t down = y.width * y.channels;
  for_lines(g, tile, count, [&](const TileLine& l) {
    const bool below = l.row + 1 < y.height;
    by_vectors<T>(n, [=](int64_t j, auto lanes) {
      const Vec<T> b = bias ? lanes.get(bias + j) : zero<T>();
      const int64_t step = sheets.step, pitch = sheets.pitch, run = l.run, across = y.channels;
      const int64_t whole = (y.width - l.column) / 2;  // tiles with a column on the right
      const T* from = m + l.tile * pitch + j;
      T* pixel = to + y.at(l.image, l.row, l.column) + j;
      for (int64_t q = 0; q < run; ++q, from += pitch, pixel += 2 * across) {
        transform_back([=](int p) { return load(from + p * step); },
                       [=](int i, Vec<T> v) {
                         if ((i & 1 && q >= whole) || (i & 2 && !below)) return;
                         lanes.put(pixel + (i >> 1) * down + (i & 1) * across, v + b);
                       });
      }
    });
  });
}

// U[panel][position][channel][column] of panels [p0, p1) of w.
template <class T>
void weight_panels(Ctx& ctx, const Correlation& c, int64_t nr, const T* w, int64_t p0, int64_t p1,
                   T* u) {
  constexpr int64_t L = kLanes<T>, kChannels = 16;
  const int64_t chunks = ceil_div(c.channels, kChannels);
  const int64_t own = c.transposed ? c.columns : c.channels;  // the last axis of w
  parallel_for(ctx, (p1 - p0) * chunks, 4, [&](int64_t begin, int64_t end, int) {
    alignas(64) T taps[9 * kChannels * kTileColumns<T>];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = p0 + i / chunks, c0 = i % chunks * kChannels;
      const int64_t n = min64(kChannels, c.channels - c0), line = panel * nr;
      for (int64_t t = 0; t < 9; ++t) {
        const int64_t t1 = c.axis[1].tap0 + t / 3 * c.axis[1].tap_step;
        const int64_t t2 = c.axis[2].tap0 + t % 3 * c.axis[2].tap_step;
        const Strided<T> matrix = {w + (t1 * 3 + t2) * own, c.transposed ? 1 : 9 * own,
                                   c.transposed ? 9 * own : 1, false};
        matrix.pack(taps + t * kChannels * nr, int(nr), line, int(min64(nr, c.columns - line)), c0,
                    n);
      }
      T* to = u + ((panel - p0) * P * c.channels + c0) * nr;
      for (int64_t j = 0; j < n * nr; j += L) {
        transform_weights<T>([&](int t) { return load(taps + t * kChannels * nr + j); },
                             [&](int p, Vec<T> x) { store(to + p * c.channels * nr + j, x); });
      }
    }
  });
}

// A pitch of whole vectors that does not throw all lines into the same sets of a cache.
template <class T>
int64_t apart(int64_t n) {
  const int64_t pitch = round_up(max64(n, 1), kLanes<T>);
  return pitch * int64_t(sizeof(T)) % 1024 == 0 ? pitch + kLanes<T> : pitch;
}

// The sheets lie an odd number of cache lines apart, so that the sixteen places of a tile, which are
// written together, fall into sixteen sets.
template <class T>
WinogradSheets sheets_of(int64_t rows, int64_t pitch) {
  constexpr int64_t line = 64 / sizeof(T);
  return {pitch, (ceil_div(rows * pitch, line) | 1) * line};
}

// Multiplications saved against the additions of the transforms, in measured proportions: sixteen channels
// on either side just pay. `weights` is what transforming w costs, in tiles.
bool pays(const WinogradGrid& g, int64_t pixels, int64_t weights, int64_t from, int64_t to) {
  if (from < 16 || to < 16 || g.tiles() < 16) return false;
  const double direct = 9.0 * double(g.images) * double(pixels) * double(from) * double(to);
  return 16.0 * double(g.tiles() + weights) * double(from + 7) * double(to + 7) <= direct;
}

}  // namespace

template <class T>
bool winograd_pays(const Correlation& c) {
  constexpr int64_t kMostChannels = (8 << 10) / sizeof(T);  // of which some tiles fit the cache
  if (c.groups != 1 || c.channels > kMostChannels) return false;
  const CorrelateAxis* a = c.axis;
  for (int i = 0; i < 3; ++i) {
    const int64_t taps = i == 0 ? 1 : 3;
    const bool fits = a[i].taps == taps && a[i].kernel == taps && a[i].step == 1 &&
                      a[i].place_step == 1 && (i == 0 || a[i].delta == 1);
    if (!fits) return false;
  }
  if (a[0].first != 0 || a[0].from != a[0].out) return false;
  const WinogradGrid g = {c.N * a[0].out, ceil_div(a[1].out, 2), ceil_div(a[2].out, 2)};
  return pays(g, a[1].out * a[2].out, 16, c.channels, c.columns);
}

template <class T>
WinogradCut winograd_cut(const Correlation& c) {
  const CorrelateAxis* a = c.axis;
  const int64_t size = sizeof(T);
  WinogradCut k = {};
  k.grid = {c.N * a[0].out, ceil_div(a[1].out, 2), ceil_div(a[2].out, 2)};
  k.nr = min64(kTileColumns<T>, round_up(c.columns, kLanes<T>));
  const int64_t pitch = apart<T>(c.channels);
  // As many tiles as the cache holds, but sixteen tasks.
  const int64_t tiles = k.grid.tiles();
  k.block = min64(kBlockBytes / (P * (pitch + k.nr) * size), ceil_div(tiles, 16));
  k.block = round_up(max64(k.block, kTileRows), kTileRows);
  k.blocks = ceil_div(tiles, k.block);
  k.v = sheets_of<T>(k.block, pitch), k.m = sheets_of<T>(k.block, k.nr);
  k.panels = ceil_div(c.columns, k.nr);
  const int64_t panel = P * c.channels * k.nr * size;
  const int64_t most = 9 * c.channels * c.columns * size + kMoreWeights;
  k.passes = ceil_div(k.panels, max64(1, min64(k.panels, most / panel)));
  k.weight_bytes = ceil_div(k.panels, k.passes) * panel;
  k.worker_bytes = (k.v.size() + k.m.size() + pitch) * size;  // and zeros
  return k;
}

template <class T>
void winograd(Ctx& ctx, const Correlation& c, const WinogradCut& k, const T* from, const T* w,
              const Finish<T>& finish, T* to, T* z) {
  const CorrelateAxis* a = c.axis;
  const Picture source = {a[1].from, a[2].from, c.channels};
  const Picture result = {a[1].out, a[2].out, c.columns};
  const int64_t first[2] = {a[1].first, a[2].first};
  T* u = reinterpret_cast<T*>(ctx.shared);
  Finish<T> rest = finish;
  rest.b = nullptr;
  for (int64_t pass = 0; pass < k.passes; ++pass) {
    const int64_t p0 = k.panels * pass / k.passes, p1 = k.panels * (pass + 1) / k.passes;
    weight_panels(ctx, c, k.nr, w, p0, p1, u);
    parallel_for(ctx, k.blocks, 1, [&](int64_t begin, int64_t end, int worker) {
      T* v = worker_scratch<T>(ctx, worker);
      T* m = v + k.v.size();
      T* zeros = m + k.m.size();
      for (int64_t i = 0; i < k.v.pitch; i += kLanes<T>) store(zeros + i, zero<T>());
      for (int64_t task = begin; task < end; ++task) {
        const int64_t tile0 = task * k.block, count = min64(k.block, k.grid.tiles() - tile0);
        image_block(k.grid, source, first, tile0, count, c.channels, from, zeros, k.v, v);
        const int64_t mr = even_part(count, kTileRows, 1);
        for (int64_t p = p0; p < p1; ++p) {
          const int64_t n = min64(k.nr, c.columns - p * k.nr), column = p * k.nr;
          for (int64_t i = 0; i < P; ++i) {
            const T* right = u + ((p - p0) * P + i) * c.channels * k.nr;
            for (int64_t q = 0; q < count; q += mr) {
              tile<T>(min64(mr, count - q), ceil_div(n, kLanes<T>))(
                  {c.channels, v + i * k.v.step + q * k.v.pitch, k.v.pitch, 1, right, k.nr,
                   m + i * k.m.step + q * k.m.pitch, k.m.pitch, 1, n, T(1), T(0)});
            }
          }
          back_block(k.grid, result, tile0, count, n, k.m, m,
                     finish.b ? finish.b + column : nullptr, to + column);
        }
        if (!rest.needed()) continue;
        const int64_t column = p0 * k.nr, columns = min64(c.columns, p1 * k.nr) - column;
        for_lines(k.grid, tile0, count, [&](const TileLine& l) {
          const int64_t pixels = min64(2 * l.run, result.width - l.column);
          for (int64_t r = l.row; r < min64(l.row + 2, result.height); ++r) {
            T* line = to + result.at(l.image, r, l.column) + column;
            rest.lines(line, z ? z + (line - to) : nullptr, c.columns, pixels, nullptr, columns);
          }
        });
      }
    });
  }
}

template <class T>
bool winograd_weight_pays(const ConvShape& s) {
  bool fits = s.groups == 1 && s.in[0] == s.out[0] && s.pad[0] == 0;
  for (int i = 0; i < 3; ++i) {
    fits &= s.stride[i] == 1 && s.kernel[i] == (i == 0 ? 1 : 3) && s.dilation[i] == 1;
  }
  if (!fits) return false;
  const WinogradGrid g = {s.N * s.out[0], ceil_div(s.out[1], 2), ceil_div(s.out[2], 2)};
  return pays(g, s.out[1] * s.out[2], 0, s.C, s.K);
}

template <class T>
WinogradWeightCut winograd_weight_cut(const ConvShape& s) {
  constexpr int64_t kBlockBytes = 384 << 10, kPartialBytes = 2 << 20;
  const int64_t size = sizeof(T);
  WinogradWeightCut k = {};
  k.grid = {s.N * s.out[0], ceil_div(s.out[1], 2), ceil_div(s.out[2], 2)};
  k.nr = kTileColumns<T>;
  const int64_t most = max64(k.nr, 256 / size / k.nr * k.nr);
  k.channels = min64(round_up(s.C, k.nr), most);
  k.channel_blocks = ceil_div(s.C, k.channels);
  k.size = s.K * 9 * s.C;
  // Sixteen tasks, of as many channels of dy as the cache holds and of as few as must be: V is made
  // again for each block of them.
  for (int64_t bytes = 512; bytes >= 256; bytes /= 2) {
    k.output_blocks = ceil_div(s.K, bytes / size);
    k.outputs = ceil_div(s.K, k.output_blocks);
    const int64_t pitch = apart<T>(k.channels), output_pitch = apart<T>(k.outputs);
    k.block = max64(16, min64(64, kBlockBytes / (P * (pitch + output_pitch) * size)));
    k.bands = ceil_div(k.grid.tiles(), k.block);
    k.v = sheets_of<T>(k.block, pitch);
    k.w = sheets_of<T>(k.block, output_pitch);
    k.du = sheets_of<T>(k.outputs, k.channels);
    const int64_t blocks = k.channel_blocks * k.output_blocks;
    k.splits = min64(min64(ceil_div(16, blocks), k.bands), kPartialBytes / (k.size * size));
    k.splits = max64(1, k.splits);
    if (blocks * k.splits >= 16) break;
  }
  k.partial_bytes = k.splits > 1 ? k.splits * k.size * size : 0;
  const int64_t zeros = max64(k.v.pitch, k.w.pitch);
  k.worker_bytes = (k.v.size() + k.w.size() + k.du.size() + zeros) * size;
  return k;
}

template <class T>
void winograd_weight(Ctx& ctx, const ConvShape& s, const WinogradWeightCut& k, const T* dy,
                     const T* x, T* dw) {
  constexpr int64_t L = kLanes<T>;
  const Picture image = {s.in[1], s.in[2], s.C}, outputs = {s.out[1], s.out[2], s.K};
  const int64_t first[2] = {-s.pad[1], -s.pad[2]};
  T* partial = k.splits > 1 ? reinterpret_cast<T*>(ctx.shared) : dw;
  const int64_t tasks = k.splits * k.output_blocks * k.channel_blocks;
  parallel_for(ctx, tasks, 1, [&](int64_t begin, int64_t end, int worker) {
    T* v = worker_scratch<T>(ctx, worker);
    T* w = v + k.v.size();
    T* du = w + k.w.size();
    T* zeros = du + k.du.size();
    for (int64_t i = 0; i < max64(k.v.pitch, k.w.pitch); i += L) store(zeros + i, zero<T>());
    for (int64_t task = begin; task < end; ++task) {
      const int64_t c0 = task % k.channel_blocks * k.channels;
      const int64_t o0 = task / k.channel_blocks % k.output_blocks * k.outputs;
      const int64_t split = task / k.channel_blocks / k.output_blocks;
      const int64_t channels = min64(k.channels, s.C - c0), rows = min64(k.outputs, s.K - o0);
      const int64_t mr = even_part(rows, kTileRows, 1);
      const int64_t start = k.bands * split / k.splits, stop = k.bands * (split + 1) / k.splits;
      for (int64_t band = start; band < stop; ++band) {
        const int64_t tile0 = band * k.block, count = min64(k.block, k.grid.tiles() - tile0);
        image_block(k.grid, image, first, tile0, count, channels, x + c0, zeros, k.v, v);
        outputs_block(k.grid, outputs, tile0, count, rows, dy + o0, zeros, k.w, w);
        for (int64_t i = 0; i < P; ++i) {
          for (int64_t c = 0; c < channels; c += k.nr) {
            const int64_t n = min64(k.nr, channels - c);
            for (int64_t o = 0; o < rows; o += mr) {
              tile<T>(min64(mr, rows - o), ceil_div(n, L))(
                  {count, w + i * k.w.step + o, 1, k.w.pitch, v + i * k.v.step + c, k.v.pitch,
                   du + i * k.du.step + o * k.du.pitch + c, k.du.pitch, 1, n, T(1),
                   T(band > start)});
            }
          }
        }
      }
      T* into = partial + split * k.size;
      for (int64_t o = 0; o < rows; ++o) {
        const T* sum = du + o * k.du.pitch;
        T* line = into + (o0 + o) * 9 * s.C + c0;
        by_vectors<T>(channels, [&](int64_t c, auto lanes) {
          transform_gradient<T>([&](int p) { return load(sum + p * k.du.step + c); },
                                [&](int t, Vec<T> g) { lanes.put(line + t * s.C + c, g); });
        });
      }
    }
  });
  add_partials(ctx, partial, k.splits, k.size, dw);
}

#define HL_INSTANTIATE(T)                                                                      \
  template bool winograd_pays<T>(const Correlation&);                                          \
  template WinogradCut winograd_cut<T>(const Correlation&);                                    \
  template void winograd<T>(Ctx&, const Correlation&, const WinogradCut&, const T*, const T*,  \
                            const Finish<T>&, T*, T*);                                         \
  template bool winograd_weight_pays<T>(const ConvShape&);                                     \
  template WinogradWeightCut winograd_weight_cut<T>(const ConvShape&);                         \
  template void winograd_weight<T>(Ctx&, const ConvShape&, const WinogradWeightCut&, const T*, \
                                   const T*, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
