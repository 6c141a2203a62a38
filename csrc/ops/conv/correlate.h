// What forward and backward-data have in common: every output is a sum over taps of a source image
// times a matrix of weights,
//
//   to[n, place(j), o] = sum over t, c of  from[n, j * step + first + t * delta, c] W[t][c, o]
//
// Forward reads x with step = stride. Backward-data reads dy; the pixels of dx fall into one phase for
// each remainder modulo the stride, and within a phase step is 1 and the taps that meet it are every
// m-th one (Dumoulin and Visin 2016, section 4).
#pragma once

#include "ops/conv/conv.h"
#include "ops/elementwise/finish.h"

namespace hl::cpu::HL_ISA {

struct CorrelateAxis {
  int64_t from, to;            // sizes of source and destination
  int64_t out;                 // outputs computed
  int64_t step, first, delta;  // source of output j and tap t: j * step + first + t * delta
  int64_t taps;
  int64_t kernel, tap0, tap_step;  // tap t is number tap0 + t * tap_step of `kernel`
  int64_t place, place_step;       // output j lies at place + j * place_step
};

struct Correlation {
  int64_t N, groups;
  int64_t channels, columns;  // per group: of the source, of the destination
  bool transposed;            // W[t][c, o] = w[c, t, o], as backward-data has it, else w[o, t, c]
  CorrelateAxis axis[3];
};

Correlation forward_correlation(const ConvShape& s);
// The phases of backward-data: one for every remainder that a pixel of dx has.
inline int64_t phases_along(const ConvShape& s, int i) { return min64(s.stride[i], s.in[i]); }
inline int64_t phases(const ConvShape& s) {
  return phases_along(s, 0) * phases_along(s, 1) * phases_along(s, 2);
}
Correlation backward_correlation(const ConvShape& s, int64_t phase);

// How a correlation is cut: a task is a block of output rows and columns of one image and group.
struct CorrelateCut {
  bool in_place;         // no tap leaves the image: read it where it is
  bool dot;              // few columns: lanes along the sum (dot_line.h)
  bool planar;           // from one channel to few columns: lanes along the pixels (planar_line.h)
  int64_t mr, nr;        // pixels and channels of a tile
  int64_t rows, pixels;  // of a task
  int64_t row_tasks, pixel_tasks, tasks;
  int64_t group_panels;  // panels of W that stay in the cache together
  int64_t panels,
      depth;  // of W: panels of nr columns (all that there are if `dot` or `planar`), numbers per column
  int64_t run, runs;  // the taps of one pixel as stretches of contiguous numbers
  int64_t pitch[3];   // of what the tile reads, in numbers: planes, rows, pixels
  int64_t apart[3];   // rows and pixels from one tap to the next
  int64_t window_bytes, weight_bytes;
  bool panels_fit() const { return !dot && !planar; }  // those of the register tile (matmul/pack.h)
};

// What a window holds along one axis: all that the taps of some neighbouring outputs read, or, where the
// taps lie farther apart than one of them reaches, a stretch for each and nothing in between.
struct Stretches {
  int64_t count;  // stretches
  int64_t width;  // of each
  int64_t apart;  // from one tap to the next in the window
  int64_t size;   // in all
};
inline Stretches stretches_of(int64_t outputs, int64_t step, int64_t delta, int64_t taps) {
  const int64_t reach = (outputs - 1) * step + 1;
  if (taps > 1 && delta > reach) return {taps, reach, reach, taps * reach};
  const int64_t all = (taps - 1) * delta + reach;
  return {1, all, delta, all};
}

template <class T>
CorrelateCut correlate_cut(const Correlation& c);
inline int64_t correlate_worker_bytes(const CorrelateCut& k) {
  return k.window_bytes + k.runs * int64_t(sizeof(int64_t));
}

// `panels` are those of w where it was packed before (forward only), or null.
template <class T>
void correlate(Ctx& ctx, const Correlation& c, const CorrelateCut& k, const T* from, const T* w,
               const T* panels, const Finish<T>& finish, T* to, T* z);

// The same for one channel a group: a sum for every channel, vectors along the channels.
template <class T>
int64_t depthwise_bytes(const Correlation& c);
template <class T>
void depthwise(Ctx& ctx, const Correlation& c, const T* from, const T* w, const Finish<T>& finish,
               T* to, T* z);

// Pixels [begin, end) of one line of an image, zeros where they leave it (or everywhere, where there is no
// line): `channels` numbers of each, `pitch` apart there and `to_pitch` apart here.
template <class T>
void copy_line(const T* line, int64_t size, int64_t pitch, int64_t begin, int64_t end,
               int64_t channels, int64_t to_pitch, T* to) {
  constexpr int L = kLanes<T>;
  int64_t inside = begin < 0 ? (end < 0 ? end : 0) : begin;
  const int64_t stop = end <= size ? end : size > inside ? size : inside;
  if (!line) inside = end;
  auto zeros = [&](T* at, int64_t n) {
    for (int64_t i = 0; i < n; i += L) store_n(at + i, zero<T>(), min64(L, n - i));
  };
  zeros(to, (inside - begin) * to_pitch);
  if (!line) return;
  T* at = to + (inside - begin) * to_pitch;
  if (pitch == channels && to_pitch == channels) {
    const T* p = line + inside * channels;
    const int64_t n = (stop - inside) * channels;
    int64_t i = 0;
    for (; i + L <= n; i += L) store(at + i, load(p + i));
    if (i < n) store_n(at + i, load_n(p + i, n - i), n - i);
  } else {
    for (int64_t x = inside; x < stop; ++x) {
      const T* p = line + x * pitch;
      T* q = at + (x - inside) * to_pitch;
      for (int64_t i = 0; i < channels; i += L) {
        const int64_t n = min64(L, channels - i);
        store_n(q + i, load_n(p + i, n), n);
      }
    }
  }
  zeros(at + (stop - inside) * to_pitch, (end - stop) * to_pitch);
}

}  // namespace hl::cpu::HL_ISA
