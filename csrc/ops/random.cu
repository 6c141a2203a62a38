#include "ops/random.h"

#include "cuda/kernel.h"
#include "cuda/packs.h"
#include "cuda/philox.h"
#include "cuda/sort.h"

namespace hl::cuda {
namespace {

Plan generator_plan(const char* algorithm, int64_t n, int64_t bytes) {
  return {algorithm, nullptr, {1, 1, 1}, 0, 0, 0, double(n) * double(bytes)};
}

// Elements that one block of words makes.
template <class T>
constexpr int kPerBlock = 16 / int(sizeof(T));

__device__ void bits_of(const PhiloxBlock& b, uint32_t (&bits)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) bits[i] = b.word[i];
}
__device__ void bits_of(const PhiloxBlock& b, uint64_t (&bits)[2]) {
  bits[0] = b.draw(0), bits[1] = b.draw(1);
}
template <class T>
struct BitsOf {
  using type = uint32_t;
};
template <>
struct BitsOf<double> {
  using type = uint64_t;
};

template <class T>
struct Uniform {
  using U = typename BitsOf<T>::type;
  T low, span, high, below;
  explicit Uniform(const RandomShape& s)
      : low(T(s.a)), span(T(s.b) - T(s.a)), high(T(s.b)), below(T(s.below)) {}
  __device__ void operator()(const U (&bits)[kPerBlock<T>], T (&v)[kPerBlock<T>]) const {
#pragma unroll
    for (int i = 0; i < kPerBlock<T>; ++i) {
      // Two roundings on every device: the bits are promised to be the same.
      v[i] = low + product(span, unit_interval(bits[i]));
      if (!(v[i] < high)) v[i] = below;
    }
  }
};

template <class T>
struct Normal {
  using U = typename BitsOf<T>::type;
  T mean, std;
  explicit Normal(const RandomShape& s) : mean(T(s.a)), std(T(s.b)) {}
  __device__ void operator()(const U (&bits)[kPerBlock<T>], T (&v)[kPerBlock<T>]) const {
#pragma unroll
    for (int i = 0; i < kPerBlock<T>; i += 2) {
      normal_pair(bits[i], bits[i + 1], v[i], v[i + 1]);
      v[i] = fma(v[i], std, mean), v[i + 1] = fma(v[i + 1], std, mean);
    }
  }
};

// Rows of n numbers, a block of words per thread; `calls` may be null for one row of s.call.
template <class T, class Make>
void generate(Ctx& ctx, const RandomShape& s, int64_t rows, const int64_t* calls, T* y, Make make) {
  const int64_t blocks = ceil_div(s.n, int64_t(kPerBlock<T>));
  const Draw draw = draw_of(s.seed, s.call);
  each(ctx, rows * blocks, [=] __device__(int64_t e) {
    const int64_t row = e / blocks, block = e % blocks, first = block * kPerBlock<T>;
    typename BitsOf<T>::type bits[kPerBlock<T>];
    T values[kPerBlock<T>];
    bits_of(calls ? philox(s.seed, uint64_t(calls[row]), uint64_t(block))
                  : philox(draw, uint64_t(block)),
            bits);
    make(bits, values);
#pragma unroll
    for (int i = 0; i < kPerBlock<T>; ++i) {
      if (first + i < s.n) y[row * s.n + first + i] = values[i];
    }
  });
}

// ---- numbers -----------------------------------------------------------------------------------
template <class T>
Plan random_uniform_plan(const RandomShape& s) {
  return generator_plan("philox", s.n, sizeof(T));
}
template <class T>
void random_uniform(Ctx& ctx, const RandomShape& s, T* y) {
  generate(ctx, s, 1, nullptr, y, Uniform<T>(s));
}

template <class T>
Plan random_uniform_rows_plan(const RandomShape& s) {
  return generator_plan("philox", s.rows * s.n, sizeof(T));
}
template <class T>
void random_uniform_rows(Ctx& ctx, const RandomShape& s, const int64_t* calls, T* y) {
  generate(ctx, s, s.rows, calls, y, Uniform<T>(s));
}

template <class T>
Plan random_normal_plan(const RandomShape& s) {
  return generator_plan("philox, Box-Muller", s.n, sizeof(T));
}
template <class T>
void random_normal(Ctx& ctx, const RandomShape& s, T* y) {
  generate(ctx, s, 1, nullptr, y, Normal<T>(s));
}

template <class T>
Plan random_normal_rows_plan(const RandomShape& s) {
  return generator_plan("philox, Box-Muller", s.rows * s.n, sizeof(T));
}
template <class T>
void random_normal_rows(Ctx& ctx, const RandomShape& s, const int64_t* calls, T* y) {
  generate(ctx, s, s.rows, calls, y, Normal<T>(s));
}

template <class T>
struct FlagOf {
  using type = T;
};
template <>
struct FlagOf<void> {
  using type = uint8_t;
};

template <class T>
Plan random_bernoulli_plan(const RandomShape& s) {
  return generator_plan("philox", s.n, sizeof(typename FlagOf<T>::type));
}
template <class T>
void random_bernoulli(Ctx& ctx, const RandomShape& s, void* y) {
  using Flag = typename FlagOf<T>::type;
  Flag* flags = static_cast<Flag*>(y);
  const Draw draw = draw_of(s.seed, s.call);
  each(ctx, ceil_div(s.n, int64_t(4)), [=] __device__(int64_t block) {
    const PhiloxBlock b = philox(draw, uint64_t(block));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (4 * block + i < s.n) flags[4 * block + i] = Flag(b.word[i] < s.threshold);
    }
  });
}

Plan random_integers_plan(const RandomShape& s) { return generator_plan("philox", s.n, 8); }
void random_integers(Ctx& ctx, const RandomShape& s, int64_t* y) {
  const Draw draw = draw_of(s.seed, s.call);
  each(ctx, s.n, [=] __device__(int64_t i) {
    const Draw d = now(draw);
    const uint64_t x = philox(d, uint64_t(i / 2)).draw(int(i % 2));
    y[i] = int64_t(uint64_t(s.low) + bounded(d.seed, d.call, x, s.range, i));
  });
}

// The exchanges of Fisher and Yates, each looked up instead of made: step t writes t to place
// p(t) <= t, after what was there has gone to place t. So a place holds the last step that wrote to it,
// or, if none has since its own, what was at p(its own) before. Sorted by place, the steps that wrote to
// a place lie together in order.
Plan random_permutation_plan(const RandomShape& s) {
  Plan p = generator_plan("Fisher-Yates, looked up", s.n, 8);
  p.shared_bytes = sort_bytes<uint64_t>(1, s.n) + s.n * int64_t(sizeof(uint64_t));
  return p;
}
void random_permutation(Ctx& ctx, const RandomShape& s, int64_t* y) {
  uint64_t* place = reinterpret_cast<uint64_t*>(ctx.shared);
  const Draw draw = draw_of(s.seed, s.call);
  each(ctx, s.n, [=] __device__(int64_t i) {
    const Draw d = now(draw);
    const uint64_t x = philox(d, uint64_t(i / 2)).draw(int(i % 2));
    place[i] = bounded(d.seed, d.call, x, uint64_t(i) + 1, i);
  });
  const auto* steps = sort_lines<uint64_t>(ctx, 1, s.n, place + s.n,
                                           [=] __device__(int64_t, int64_t i) { return place[i]; });
  each(ctx, s.n, [=] __device__(int64_t i) {
    uint64_t at = uint64_t(i), before = uint64_t(s.n);
    for (;;) {
      const int64_t written = rank_of(steps, s.n, {at, before});
      if (written > 0 && steps[written - 1].key == at) {
        y[i] = int64_t(steps[written - 1].index);
        return;
      }
      before = at, at = place[at];
    }
  });
}

Plan random_words_plan(const RandomShape& s) { return generator_plan("philox", s.n, 4); }
void random_words(Ctx& ctx, const RandomShape& s, uint32_t* y) {
  const Draw draw = draw_of(s.seed, s.call);
  each(ctx, s.n / 4, [=] __device__(int64_t i) {
    const PhiloxBlock b = philox(draw, s.block + uint64_t(i));
#pragma unroll
    for (int k = 0; k < 4; ++k) y[4 * i + k] = b.word[k];
  });
}

// ---- dropout -----------------------------------------------------------------------------------
template <class T>
Plan dropout_plan(const DropoutShape& s) {
  const bool feature = s.unit == DropoutUnit::kFeature;
  return generator_plan(feature ? "philox, by feature" : "philox, by element", s.N * s.R * s.C,
                        2 * sizeof(T));
}

template <class T>
struct Dropper {
  uint64_t threshold;
  T keep_scale, keep_shift, drop_shift;
  // The product keeps NaN where it was dropped, as PyTorch does.
  __device__ T operator()(T x, uint32_t word) const {
    const bool gone = word < threshold;
    return product(x, gone ? T(0) : keep_scale) + (gone ? drop_shift : keep_shift);
  }
};

template <class T>
void dropout(Ctx& ctx, const DropoutShape& s, const Dropper<T>& drop, const T* x, T* y) {
  const int64_t n = s.N * s.R * s.C;
  const Draw draw = draw_of(s.seed, s.call);
  if (s.unit == DropoutUnit::kFeature) {
    each(ctx, n, [=] __device__(int64_t e) {
      int64_t row = e;
      const int64_t c = split(row, s.C), sample = row / s.R;
      y[e] = drop(x[e], philox_word(draw, uint64_t(sample * s.C + c)));
    });
    return;
  }
  const bool x_whole = all_aligned({x}), y_whole = all_aligned({y});
  each(ctx, ceil_div(n, int64_t(4)), [=] __device__(int64_t block) {
    using P = Pack<T>;
    const PhiloxBlock b = philox(draw, uint64_t(block));
    const int64_t first = 4 * block;
    if (first + 4 > n) {
      for (int64_t i = first; i < n; ++i) y[i] = drop(x[i], b.word[i - first]);
      return;
    }
#pragma unroll
    for (int i = 0; i < 4; i += P::kSize) {
      P v = P::load(x + first + i, x_whole);
#pragma unroll
      for (int e = 0; e < P::kSize; ++e) v.v[e] = drop(v.v[e], b.word[i + e]);
      v.store(y + first + i, y_whole);
    }
  });
}

template <class T>
Plan dropout_forward_plan(const DropoutShape& s) {
  return dropout_plan<T>(s);
}
template <class T>
void dropout_forward(Ctx& ctx, const DropoutShape& s, const T* x, T* y) {
  dropout(ctx, s, {s.threshold, T(s.keep_scale), T(s.keep_shift), T(s.drop_shift)}, x, y);
}

template <class T>
Plan dropout_backward_plan(const DropoutShape& s) {
  return dropout_plan<T>(s);
}
template <class T>
void dropout_backward(Ctx& ctx, const DropoutShape& s, const T* dy, T* dx) {
  dropout(ctx, s, {s.threshold, T(s.keep_scale), T(0), T(0)}, dy, dx);
}

HL_CUDA_KERNEL(random_uniform);
HL_CUDA_KERNEL(random_uniform_rows);
HL_CUDA_KERNEL(random_normal);
HL_CUDA_KERNEL(random_normal_rows);
HL_CUDA_KERNEL(random_bernoulli);
HL_REGISTER_(random_bernoulli, void, 4u, "simt", &random_bernoulli<void>,
             &random_bernoulli_plan<void>);
HL_CUDA_RAW_KERNEL(random_integers);
HL_CUDA_RAW_KERNEL(random_permutation);
HL_CUDA_RAW_KERNEL(random_words);
HL_CUDA_KERNEL(dropout_forward);
HL_CUDA_KERNEL(dropout_backward);

}  // namespace
}  // namespace hl::cuda
