#include "ops/layout/copy.h"

#include "cpu/parallel.h"
#include "cpu/raw.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kPiece = 256 << 10;  // bytes of a row that one chunk copies
constexpr int64_t kChunk = 64 << 10;   // bytes of a chunk of short rows

enum class Algorithm { kRows, kBroadcast, kTranspose, kStrided };

// The same copy with axes of size 1 dropped, the axes of y in memory order and joined where they
// can be.
struct View {
  int ndim;
  int64_t size[kCopyDims], x[kCopyDims], y[kCopyDims];
  int64_t x_start, y_start;
  Algorithm algorithm;
  int across;  // kTranspose: the axis that is contiguous in x
};

View choose(const CopyShape& s) {
  View v = {};
  for (int i = 0; i < s.ndim; ++i) {
    if (s.size[i] == 1) continue;
    int64_t x = s.x_stride[i], y = s.y_stride[i];
    if (y < 0) {  // walk y upwards
      v.x_start += x * (s.size[i] - 1), v.y_start += y * (s.size[i] - 1);
      x = -x, y = -y;
    }
    int at = v.ndim++;
    for (; at > 0 && v.y[at - 1] < y; --at) {
      v.size[at] = v.size[at - 1], v.x[at] = v.x[at - 1], v.y[at] = v.y[at - 1];
    }
    v.size[at] = s.size[i], v.x[at] = x, v.y[at] = y;
  }
  int n = 0;
  for (int i = 1; i < v.ndim; ++i) {
    if (v.x[n] == v.x[i] * v.size[i] && v.y[n] == v.y[i] * v.size[i]) {
      v.size[n] *= v.size[i], v.x[n] = v.x[i], v.y[n] = v.y[i];
    } else {
      ++n;
      v.size[n] = v.size[i], v.x[n] = v.x[i], v.y[n] = v.y[i];
    }
  }
  if (v.ndim == 0) v.size[0] = 1, v.x[0] = v.y[0] = s.item;
  v.ndim = n + 1;

  v.algorithm = Algorithm::kStrided;
  const int last = v.ndim - 1;
  if (v.y[last] != s.item) return v;
  if (v.x[last] == s.item) {
    v.algorithm = Algorithm::kRows;
  } else if (v.x[last] == 0) {
    v.algorithm = Algorithm::kBroadcast;
  } else {
    for (int i = 0; i < last; ++i) {
      if (v.x[i] == s.item && v.size[i] >= 4 && v.size[last] >= 4) {
        v.algorithm = Algorithm::kTranspose;
        v.across = i;
      }
    }
  }
  return v;
}

// Where the item at `index` of the first `axes` axes starts, `skip` left out; steps on with next().
struct Odometer {
  const View& v;
  int axes, skip;
  int64_t at[kCopyDims];
  int64_t x, y;

  HL_INLINE Odometer(const View& v, int axes, int skip, int64_t index)
      : v(v), axes(axes), skip(skip), at{}, x(v.x_start), y(v.y_start) {
    for (int i = axes - 1; i >= 0; --i) {
      if (i == skip) continue;
      at[i] = index % v.size[i];
      index /= v.size[i];
      x += at[i] * v.x[i], y += at[i] * v.y[i];
    }
  }
  HL_INLINE void next() {
    for (int i = axes - 1; i >= 0; --i) {
      if (i == skip) continue;
      x += v.x[i], y += v.y[i];
      if (++at[i] < v.size[i]) return;
      x -= at[i] * v.x[i], y -= at[i] * v.y[i];
      at[i] = 0;
    }
  }
};

int64_t outer_count(const View& v) {
  int64_t n = 1;
  for (int i = 0; i < v.ndim - 1; ++i) n *= v.size[i];
  return n;
}

// f(x, y, items) for every row; long rows in pieces.
template <class F>
void each_row(Ctx& ctx, const View& v, int item, const char* x, char* y, const F& f) {
  const int last = v.ndim - 1;
  const int64_t rows = outer_count(v), n = v.size[last];
  const int64_t piece = kPiece / item;
  if (n > piece) {
    const int64_t pieces = ceil_div(n, piece);
    parallel_for(ctx, rows * pieces, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const Odometer row(v, last, -1, i / pieces);
        const int64_t from = i % pieces * piece, count = n - from < piece ? n - from : piece;
        f(x + row.x + from * v.x[last], y + row.y + from * v.y[last], count);
      }
    });
    return;
  }
  const int64_t grain = kChunk / (n * item) > 0 ? kChunk / (n * item) : 1;
  parallel_for(ctx, rows, grain, [&](int64_t begin, int64_t end, int) {
    Odometer row(v, last, -1, begin);
    for (int64_t i = begin; i < end; ++i, row.next()) f(x + row.x, y + row.y, n);
  });
}

template <class U>
HL_INLINE void strided(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    *reinterpret_cast<U*>(y + i * y_step) = *reinterpret_cast<const U*>(x + i * x_step);
  }
}

// A row read backwards.
template <int L>
struct PickReverse {
  static constexpr int lane(int i) { return L - 1 - i; }
};
template <class T>
HL_INLINE void reversed(const char* x, char* y, int64_t n) {
  constexpr int L = kLanes<T>;
  const T* from = reinterpret_cast<const T*>(x);
  T* to = reinterpret_cast<T*>(y);
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const Vec<T> v = load(from - i - (L - 1));
    store(to + i, shuffle<PickReverse<L>>(v, v));
  }
  strided<typename RawItem<sizeof(T)>::type>(x - i * int64_t(sizeof(T)), -int64_t(sizeof(T)),
                                             y + i * int64_t(sizeof(T)), sizeof(T), n - i);
}

// ---- transposition -----------------------------------------------------------------------------
template <class U>
constexpr int64_t kTile = sizeof(U) == 1 ? 128 : 256 / int64_t(sizeof(U));

// y[j, k] = x[k, j]: x contiguous along j, y along k.
template <class U>
HL_INLINE void turn_items(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t J,
                          int64_t K) {
  for (int64_t j = 0; j < J; ++j) {
    for (int64_t k = 0; k < K; ++k) {
      reinterpret_cast<U*>(y + j * y_step)[k] = reinterpret_cast<const U*>(x + k * x_step)[j];
    }
  }
}

template <class T>
HL_INLINE void turn_vectors(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t J,
                            int64_t K) {
  constexpr int L = kLanes<T>;
  constexpr int64_t kItem = sizeof(T);
  using U = typename RawItem<kItem>::type;
  const int64_t whole_j = J - J % L, whole_k = K - K % L;
  for (int64_t k = 0; k < whole_k; k += L) {
    for (int64_t j = 0; j < whole_j; j += L) {
      Vec<T> block[L];
      for (int i = 0; i < L; ++i) {
        block[i] = load(reinterpret_cast<const T*>(x + (k + i) * x_step) + j);
      }
      transpose<T>(block);
      for (int i = 0; i < L; ++i) store(reinterpret_cast<T*>(y + (j + i) * y_step) + k, block[i]);
    }
  }
  turn_items<U>(x + whole_j * kItem, x_step, y + whole_j * y_step, y_step, J - whole_j, whole_k);
  turn_items<U>(x + whole_k * x_step, x_step, y + whole_k * kItem, y_step, J, K - whole_k);
}

// Without a block transpose in registers, a tile is turned between two buffers: rows a power of two
// apart would fall on one set of the cache.
template <class U>
void turn_buffered(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t J, int64_t K) {
  constexpr int64_t N = kTile<U>, kRow = N * int64_t(sizeof(U));
  alignas(64) char from[N * kRow], to[N * kRow];
  for (int64_t k = 0; k < K; ++k)
    copy_bytes(from + k * kRow, x + k * x_step, J * int64_t(sizeof(U)));
  turn_items<U>(from, kRow, to, kRow, J, K);
  for (int64_t j = 0; j < J; ++j) copy_bytes(y + j * y_step, to + j * kRow, K * int64_t(sizeof(U)));
}

template <class U>
HL_INLINE void transpose_tile(const char* x, int64_t x_step, char* y, int64_t y_step, int64_t J,
                              int64_t K) {
  if constexpr (sizeof(U) == 4) {
    turn_vectors<float>(x, x_step, y, y_step, J, K);
  } else if constexpr (sizeof(U) == 8) {
    turn_vectors<double>(x, x_step, y, y_step, J, K);
  } else {
    turn_buffered<U>(x, x_step, y, y_step, J, K);
  }
}

template <class U>
void transpose_all(Ctx& ctx, const View& v, const char* x, char* y) {
  constexpr int64_t kItem = sizeof(U), N = kTile<U>;
  const int last = v.ndim - 1;
  const int64_t J = v.size[v.across], K = v.size[last];
  const int64_t tiles_j = ceil_div(J, N), tiles_k = ceil_div(K, N);
  const int64_t tiles = outer_count(v) / J * tiles_j * tiles_k;
  const int64_t area = (J < N ? J : N) * (K < N ? K : N) * kItem;
  const int64_t grain = kChunk / area > 0 ? kChunk / area : 1;
  parallel_for(ctx, tiles, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      // Tiles follow each other along y, so that a page of it is finished before the next is begun.
      const int64_t k = i % tiles_k * N, j = i / tiles_k % tiles_j * N;
      const Odometer at(v, last, v.across, i / tiles_k / tiles_j);
      transpose_tile<U>(x + at.x + j * kItem + k * v.x[last], v.x[last],
                        y + at.y + j * v.y[v.across] + k * kItem, v.y[v.across],
                        J - j < N ? J - j : N, K - k < N ? K - k : N);
    }
  });
}

}  // namespace

Plan copy_strided_plan(const CopyShape& s) {
  Plan p = {};
  int64_t n = 1, read = 1;
  for (int i = 0; i < s.ndim; ++i) {
    n *= s.size[i];
    if (s.x_stride[i] != 0) read *= s.size[i];
  }
  p.bytes = double(s.item) * (double(n) + double(read));
  if (n == 0) return p;
  switch (choose(s).algorithm) {
    case Algorithm::kRows:
      p.algorithm = "rows";
      break;
    case Algorithm::kBroadcast:
      p.algorithm = "broadcast";
      break;
    case Algorithm::kTranspose:
      p.algorithm = "transpose";
      break;
    case Algorithm::kStrided:
      p.algorithm = "strided";
      break;
  }
  return p;
}

void copy_strided(Ctx& ctx, const CopyShape& s, const void* x_in, void* y_out) {
  for (int i = 0; i < s.ndim; ++i) {
    if (s.size[i] == 0) return;
  }
  const View v = choose(s);
  const char* x = static_cast<const char*>(x_in);
  char* y = static_cast<char*>(y_out);
  const int last = v.ndim - 1;
  with_item(s.item, [&](auto item) {
    using U = decltype(item);
    switch (v.algorithm) {
      case Algorithm::kRows:
        each_row(ctx, v, s.item, x, y, [](const char* from, char* to, int64_t n) {
          if (n == 1) {
            *reinterpret_cast<U*>(to) = *reinterpret_cast<const U*>(from);
          } else {
            copy_bytes(to, from, n * int64_t(sizeof(U)));
          }
        });
        break;
      case Algorithm::kBroadcast:
        each_row(ctx, v, s.item, x, y, [](const char* from, char* to, int64_t n) {
          fill_items(reinterpret_cast<U*>(to), *reinterpret_cast<const U*>(from), n);
        });
        break;
      case Algorithm::kTranspose:
        transpose_all<U>(ctx, v, x, y);
        break;
      case Algorithm::kStrided:
        each_row(ctx, v, s.item, x, y, [&](const char* from, char* to, int64_t n) {
          const bool back = v.x[last] == -s.item && v.y[last] == s.item;
          if (sizeof(U) == 4 && back) {
            reversed<float>(from, to, n);
          } else if (sizeof(U) == 8 && back) {
            reversed<double>(from, to, n);
          } else {
            strided<U>(from, v.x[last], to, v.y[last], n);
          }
        });
        break;
    }
  });
}

HL_DEFINE_RAW_KERNEL(copy_strided);

}  // namespace hl::cpu::HL_ISA
