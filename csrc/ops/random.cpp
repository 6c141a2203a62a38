#include "ops/random.h"

#include "cpu/parallel.h"
#include "cpu/philox.h"
#include "cpu/random_float.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements of a chunk; a multiple of every tile
constexpr int64_t kTile = 1024;      // words that wait in the first cache

// The random bits of kLanes<T> elements of T: words for float, draws for double.
HL_INLINE Vec<uint32_t> bits_of(const uint32_t* words, int64_t element, float) {
  return load(words + element);
}
HL_INLINE Vec<uint64_t> bits_of(const uint32_t* words, int64_t element, double) {
  return as<Vec<uint64_t>>(load(words + 2 * element));
}

// f(first element, how many, words): tiles of a chunk whose elements take `per` words each.
template <class F>
HL_INLINE void tiles(const RandomShape& s, int per, int64_t begin, int64_t end, const F& f) {
  alignas(64) uint32_t words[kTile];
  const int64_t step = kTile / per;
  for (int64_t i = begin; i < end; i += step) {
    const int64_t n = end - i < step ? end - i : step;
    philox_words(s.seed, s.call, uint64_t(i * per / 4), n * per, words);
    f(i, n, words);
  }
}

// x into [0, range) without favour; `draw` numbers it for the case that it must be drawn again.
HL_INLINE uint64_t bounded(const RandomShape& s, uint64_t x, uint64_t range, int64_t draw) {
  unsigned __int128 m = static_cast<unsigned __int128>(x) * range;
  if (uint64_t(m) < range) {
    const uint64_t reject = -range % range;
    for (uint64_t t = 1; uint64_t(m) < reject; ++t) {
      x = philox_draw(s.seed, s.call, uint64_t(draw / 2) | t << 56, int(draw % 2));
      m = static_cast<unsigned __int128>(x) * range;
    }
  }
  return uint64_t(m >> 64);
}

HL_INLINE uint64_t draw_at(const uint32_t* words, int64_t i) {
  return words[2 * i] | uint64_t(words[2 * i + 1]) << 32;
}

Plan generator_plan(const char* algorithm, int64_t n, int64_t bytes) {
  Plan p = {};
  p.algorithm = algorithm;
  p.bytes = double(n) * double(bytes);
  return p;
}

// Elements [begin, end) of one call.
template <class T>
void uniform_run(const RandomShape& s, int64_t begin, int64_t end, T* y) {
  using V = Vec<T>;
  constexpr int L = kLanes<T>;
  const V low = set1(T(s.a)), span = set1(T(s.b) - T(s.a)), high = set1(T(s.b)),
          below = set1(T(s.below));
  tiles(s, sizeof(T) / 4, begin, end, [&](int64_t at, int64_t n, const uint32_t* words) {
    for (int64_t i = 0; i < n; i += L) {
      // Two roundings on every instruction set: the bits are promised to be the same.
      const V v = low + span * unit_interval(bits_of(words, i, T()));
      const V r = select(v < high, v, below);
      if (n - i >= L) {
        store(y + at + i, r);
      } else {
        store_n(y + at + i, r, n - i);
      }
    }
  });
}

template <class T>
void normal_run(const RandomShape& s, int64_t begin, int64_t end, T* y) {
  using V = Vec<T>;
  constexpr int L = kLanes<T>;
  const V mean = set1(T(s.a)), std = set1(T(s.b));
  tiles(s, sizeof(T) / 4, begin, end, [&](int64_t at, int64_t n, const uint32_t* words) {
    for (int64_t i = 0; i < n; i += 2 * L) {
      V first, second;
      normal_pairs(bits_of(words, i, T()), bits_of(words, i + L, T()), first, second);
      first = fma(first, std, mean), second = fma(second, std, mean);
      T* out = y + at + i;
      if (n - i >= 2 * L) {
        store(out, first);
        store(out + L, second);
      } else {
        store_n(out, first, n - i < L ? n - i : L);
        if (n - i > L) store_n(out + L, second, n - i - L);
      }
    }
  });
}

// f(one row's shape, row, first element, one past the last), in parallel; long rows are cut.
template <class F>
void for_rows(Ctx& ctx, const RandomShape& s, const int64_t* calls, const F& f) {
  if (s.n == 0) return;
  const int64_t pieces = ceil_div(s.n, kGrain), grain = max64(1, kGrain / s.n);
  parallel_for(ctx, s.rows * pieces, grain, [&](int64_t begin, int64_t end, int) {
    RandomShape row = s;
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t % pieces * kGrain;
      row.call = uint64_t(calls[t / pieces]);
      f(row, t / pieces, first, min64(s.n, first + kGrain));
    }
  });
}

}  // namespace

// ---- numbers -----------------------------------------------------------------------------------
template <class T>
Plan random_uniform_plan(const RandomShape& s) {
  return generator_plan("philox", s.n, sizeof(T));
}

template <class T>
void random_uniform(Ctx& ctx, const RandomShape& s, T* y) {
  parallel_for(ctx, s.n, kGrain,
               [&](int64_t begin, int64_t end, int) { uniform_run(s, begin, end, y); });
}

template <class T>
Plan random_uniform_rows_plan(const RandomShape& s) {
  return generator_plan("philox", s.rows * s.n, sizeof(T));
}

template <class T>
void random_uniform_rows(Ctx& ctx, const RandomShape& s, const int64_t* calls, T* y) {
  for_rows(ctx, s, calls, [&](const RandomShape& row, int64_t r, int64_t begin, int64_t end) {
    uniform_run(row, begin, end, y + r * s.n);
  });
}

template <class T>
Plan random_normal_plan(const RandomShape& s) {
  return generator_plan("philox, Box-Muller", s.n, sizeof(T));
}

template <class T>
void random_normal(Ctx& ctx, const RandomShape& s, T* y) {
  parallel_for(ctx, s.n, kGrain,
               [&](int64_t begin, int64_t end, int) { normal_run(s, begin, end, y); });
}

template <class T>
Plan random_normal_rows_plan(const RandomShape& s) {
  return generator_plan("philox, Box-Muller", s.rows * s.n, sizeof(T));
}

template <class T>
void random_normal_rows(Ctx& ctx, const RandomShape& s, const int64_t* calls, T* y) {
  for_rows(ctx, s, calls, [&](const RandomShape& row, int64_t r, int64_t begin, int64_t end) {
    normal_run(row, begin, end, y + r * s.n);
  });
}

template <class T>
struct FlagOf {
  using type = T;
};
template <>
struct FlagOf<void> {
  using type = unsigned char;
};

template <class T>
Plan random_bernoulli_plan(const RandomShape& s) {
  return generator_plan("philox", s.n, sizeof(typename FlagOf<T>::type));
}

template <class T>
void random_bernoulli(Ctx& ctx, const RandomShape& s, void* y) {
  using Flag = typename FlagOf<T>::type;
  Flag* flags = static_cast<Flag*>(y);
  parallel_for(ctx, s.n, kGrain, [&](int64_t begin, int64_t end, int) {
    tiles(s, 1, begin, end, [&](int64_t at, int64_t n, const uint32_t* words) {
      // For p = 1 no word reaches the threshold. Bytes may alias anything, so nothing is read
      // through the shape in the loop.
      const uint32_t threshold = uint32_t(s.threshold), certain = uint32_t(s.threshold >> 32);
      Flag* __restrict out = flags + at;
      const uint32_t* __restrict in = words;
      for (int64_t i = 0; i < n; ++i) out[i] = Flag(uint32_t(in[i] < threshold) | certain);
    });
  });
}

Plan random_integers_plan(const RandomShape& s) { return generator_plan("philox", s.n, 8); }

void random_integers(Ctx& ctx, const RandomShape& s, int64_t* y) {
  parallel_for(ctx, s.n, kGrain, [&](int64_t begin, int64_t end, int) {
    tiles(s, 2, begin, end, [&](int64_t at, int64_t n, const uint32_t* words) {
      for (int64_t i = 0; i < n; ++i) {
        y[at + i] = int64_t(uint64_t(s.low) + bounded(s, draw_at(words, i), s.range, at + i));
      }
    });
  });
}

Plan random_permutation_plan(const RandomShape& s) {
  return generator_plan("Fisher-Yates", s.n, 8);
}

void random_permutation(Ctx&, const RandomShape& s, int64_t* y) {
  // One place after another: the next exchange needs the last. The places of a tile are known at
  // once, though, so their memory is asked for before it is needed.
  int64_t places[kTile / 2];
  tiles(s, 2, 0, s.n, [&](int64_t at, int64_t n, const uint32_t* words) {
    for (int64_t i = 0; i < n; ++i) {
      places[i] = int64_t(bounded(s, draw_at(words, i), uint64_t(at + i + 1), at + i));
      __builtin_prefetch(y + places[i], 1);
    }
    for (int64_t i = 0; i < n; ++i) {
      y[at + i] = y[places[i]];
      y[places[i]] = at + i;
    }
  });
}

Plan random_words_plan(const RandomShape& s) { return generator_plan("philox", s.n, 4); }

void random_words(Ctx& ctx, const RandomShape& s, uint32_t* y) {
  parallel_for(ctx, s.n, kGrain, [&](int64_t begin, int64_t end, int) {
    alignas(64) uint32_t words[kTile];
    for (int64_t i = begin; i < end; i += kTile) {
      const int64_t n = end - i < kTile ? end - i : kTile;
      philox_words(s.seed, s.call, s.block + uint64_t(i / 4), n, words);
      __builtin_memcpy(y + i, words, uint64_t(n) * 4);
    }
  });
}

HL_DEFINE_KERNEL(random_uniform);
HL_DEFINE_KERNEL(random_uniform_rows);
HL_DEFINE_KERNEL(random_normal);
HL_DEFINE_KERNEL(random_normal_rows);
HL_DEFINE_KERNEL(random_bernoulli);
HL_DEFINE_KERNEL_ENTRY(random_bernoulli, void, &random_bernoulli<void>,
                       &random_bernoulli_plan<void>);
HL_DEFINE_RAW_KERNEL(random_integers);
HL_DEFINE_RAW_KERNEL(random_permutation);
HL_DEFINE_RAW_KERNEL(random_words);

// ---- dropout -----------------------------------------------------------------------------------
namespace {

// y = x m + s, chosen lane by lane. The product keeps NaN where it was dropped, as PyTorch does.
template <class T>
struct Dropper {
  using V = Vec<T>;
  V keep_scale, keep_shift, drop_shift;
  decltype(lanes_of(nullptr, T())) last;  // the largest word that drops
  Int<V> some;                            // all bits set, unless nothing is dropped

  HL_INLINE explicit Dropper(const DropoutShape& s)
      : keep_scale(set1(T(s.keep_scale))),
        keep_shift(set1(T(s.keep_shift))),
        drop_shift(set1(T(s.drop_shift))),
        last(decltype(last){} + uint32_t(s.threshold - 1)),
        some(Int<V>{} - (s.threshold != 0)) {}

  HL_INLINE Int<V> dropped(const uint32_t* words) const {
    return (lanes_of(words, T()) <= last) & some;
  }
};

int64_t feature_rows(const DropoutShape& s) {
  const int64_t rows = kGrain / (s.C > 0 ? s.C : 1);
  return rows > 0 ? rows : 1;
}

int64_t feature_lanes(const DropoutShape& s) { return round_up(s.C, kPhiloxGroup); }

template <class T>
Plan dropout_plan(const DropoutShape& s) {
  Plan p = {};
  const bool feature = s.unit == DropoutUnit::kFeature;
  p.algorithm = feature ? "philox, by feature" : "philox, by element";
  if (feature) {
    p.worker_bytes =
        feature_lanes(s) * 2 * int64_t(sizeof(T)) + (feature_lanes(s) + 4 * kPhiloxGroup) * 4;
  }
  p.bytes = 2.0 * double(s.N) * double(s.R) * double(s.C) * sizeof(T);
  return p;
}

template <class T>
void dropout_elements(Ctx& ctx, const DropoutShape& s, const T* x, T* y) {
  using V = Vec<T>;
  constexpr int L = kLanes<T>;
  const Dropper<T> drop(s);
  const int64_t count = s.N * s.R * s.C;
  parallel_for(ctx, count, kGrain, [&](int64_t begin, int64_t end, int) {
    alignas(64) uint32_t words[kTile];
    for (int64_t at = begin; at < end; at += kTile) {
      const int64_t n = end - at < kTile ? end - at : kTile;
      philox_words(s.seed, s.call, uint64_t(at / 4), n, words);
      for (int64_t i = 0; i < n; i += L) {
        const Int<V> gone = drop.dropped(words + i);
        const V m = select(gone, zero<T>(), drop.keep_scale);
        const V shift = select(gone, drop.drop_shift, drop.keep_shift);
        if (n - i >= L) {
          store(y + at + i, load(x + at + i) * m + shift);
        } else {
          store_n(y + at + i, load_n(x + at + i, n - i) * m + shift, n - i);
        }
      }
    }
  });
}

template <class T>
void dropout_features(Ctx& ctx, const DropoutShape& s, const T* x, T* y) {
  using V = Vec<T>;
  constexpr int L = kLanes<T>;
  const Dropper<T> drop(s);
  const int64_t rows = feature_rows(s), parts = ceil_div(s.R, rows);
  parallel_for(ctx, s.N * parts, 1, [&](int64_t begin, int64_t end, int worker) {
    T* scale = worker_scratch<T>(ctx, worker);
    T* shift = scale + feature_lanes(s);
    auto* words = reinterpret_cast<uint32_t*>(shift + feature_lanes(s));
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / parts, first = unit % parts * rows;
      const int64_t last = first + rows < s.R ? first + rows : s.R;
      // A sample's channels may begin in the middle of a block.
      const int64_t word = n * s.C, skip = word % 4;
      philox_words(s.seed, s.call, uint64_t(word / 4), s.C + skip + L, words);
      for (int64_t c = 0; c < s.C; c += L) {
        const Int<V> gone = drop.dropped(words + skip + c);
        store(scale + c, select(gone, zero<T>(), drop.keep_scale));
        store(shift + c, select(gone, drop.drop_shift, drop.keep_shift));
      }
      for (int64_t r = first; r < last; ++r) {
        const int64_t row = (n * s.R + r) * s.C;
        for (int64_t c = 0; c < s.C; c += L) {
          if (s.C - c >= L) {
            store(y + row + c, load(x + row + c) * load(scale + c) + load(shift + c));
          } else {
            store_n(y + row + c, load_n(x + row + c, s.C - c) * load(scale + c) + load(shift + c),
                    s.C - c);
          }
        }
      }
    }
  });
}

template <class T>
void dropout(Ctx& ctx, const DropoutShape& s, const T* x, T* y) {
  if (s.unit == DropoutUnit::kFeature) {
    dropout_features(ctx, s, x, y);
  } else {
    dropout_elements(ctx, s, x, y);
  }
}

}  // namespace

template <class T>
Plan dropout_forward_plan(const DropoutShape& s) {
  return dropout_plan<T>(s);
}
template <class T>
void dropout_forward(Ctx& ctx, const DropoutShape& s, const T* x, T* y) {
  dropout(ctx, s, x, y);
}

template <class T>
Plan dropout_backward_plan(const DropoutShape& s) {
  return dropout_plan<T>(s);
}
template <class T>
void dropout_backward(Ctx& ctx, const DropoutShape& s, const T* dy, T* dx) {
  DropoutShape linear = s;
  linear.keep_shift = linear.drop_shift = 0;
  dropout(ctx, linear, dy, dx);
}

HL_DEFINE_KERNEL(dropout_forward);
HL_DEFINE_KERNEL(dropout_backward);

}  // namespace hl::cpu::HL_ISA
