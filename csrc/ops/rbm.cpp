#include "ops/rbm.h"

#include "cpu/random_float.h"
#include "kernel.h"
#include "ops/elementwise/finish.h"
#include "ops/matmul/product.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kPiece = 256;      // elements whose random numbers wait in the first cache
constexpr int64_t kGrain = 1 << 14;  // elements of a chunk
constexpr int64_t kAhead = 4;        // a run may begin inside a block

HL_INLINE Vec<uint32_t> bits_of(const uint32_t* words, int64_t element, float) {
  return load(words + element);
}
HL_INLINE Vec<uint64_t> bits_of(const uint32_t* words, int64_t element, double) {
  return as<Vec<uint64_t>>(load(words + 2 * element));
}

// Turns means into samples, element by element of one call of the generator.
template <class T>
struct Sampler {
  uint64_t seed, call;
  bool gaussian;

  // Elements [at, at + n) of the call; sample may be mean.
  void run(int64_t at, int64_t n, const T* mean, T* sample) const {
    constexpr int kWords = sizeof(T) / 4, L = kLanes<T>;
    alignas(64) uint32_t words[(kPiece + kAhead) * kWords + 4 * kPhiloxGroup];
    alignas(64) T normals[kPiece + kAhead + 4 * L];
    for (int64_t i = 0; i < n; i += kPiece) {
      const int64_t first = at + i, count = min64(kPiece, n - i);
      const int64_t skip = first * kWords % 4 / kWords;
      philox_words(seed, call, uint64_t(first * kWords / 4), (skip + count) * kWords, words);
      if (gaussian) {
        for (int64_t j = 0; j < skip + count; j += 2 * L) {
          Vec<T> one, two;
          normal_pairs(bits_of(words, j, T()), bits_of(words, j + L, T()), one, two);
          store(normals + j, one);
          store(normals + j + L, two);
        }
      }
      for (int64_t j = 0; j < count; j += L) {
        const int64_t m = min64(L, count - j);
        const Vec<T> p = load_n(mean + i + j, m);
        Vec<T> s;
        if (gaussian) {
          s = p + load(normals + skip + j);
        } else {
          const Vec<T> u = unit_interval(bits_of(words, skip + j, T()));
          s = select(u < p, set1(T(1)), zero<T>());
          s = select(p == p, s, p);  // NaN stays
        }
        store_n(sample + i + j, s, m);
      }
    }
  }
};

// The layer's epilogue: bias, sigmoid and sample of a piece that has just been computed.
template <class T>
struct Layer {
  FinishProduct<T> mean;
  Sampler<T> sampler;
  T* sample;  // null: not wanted

  static void apply(const void* self, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const Layer& l = *static_cast<const Layer*>(self);
    FinishProduct<T>::apply(&l.mean, row, rows, column, columns);
    if (!l.sample) return;
    int64_t m = l.mean.swapped ? column : row, lines = l.mean.swapped ? columns : rows;
    const int64_t o = l.mean.swapped ? row : column;
    int64_t n = l.mean.swapped ? rows : columns;
    if (n == l.mean.columns) n *= lines, lines = 1;
    for (int64_t r = 0; r < lines; ++r) {
      const int64_t at = (m + r) * l.mean.columns + o;
      l.sampler.run(at, n, l.mean.y + at, l.sample + at);
    }
  }
};

template <class T>
Product hidden_product(const RbmShape& s, int64_t rows) {  // (rows, H) = v (rows, V) w^T
  return choose_product<T>({rows, s.H, s.V, s.V, 1, 1, s.V, s.H, 1, false});
}
template <class T>
Product visible_product(const RbmShape& s, int64_t rows) {  // (rows, V) = h (rows, H) w
  return choose_product<T>({rows, s.V, s.H, s.H, 1, s.V, 1, s.V, 1, false});
}
template <class T>
Product gradient_product(const RbmShape& s) {  // dw (H, V) = p^T (H, N + C) v
  return choose_product<T>({s.H, s.V, s.N + s.C, 1, s.H, s.V, 1, s.V, 1, false});
}

template <class T>
void make_layer(Ctx& ctx, const Product& product, const Sampler<T>& sampler, bool linear,
                const T* x, const T* w, const T* bias, int64_t columns, T* mean, T* sample) {
  const int act = linear ? -1 : int(UnaryOp::kSigmoid);
  const Finish<T> rest = finish_with<T>(bias, nullptr, act, 0, 0);
  const Layer<T> layer = {{rest, mean, nullptr, columns, product.view.swapped}, sampler, sample};
  const Epilogue epilogue = {&Layer<T>::apply, &layer};
  run_product(ctx, product, x, w, mean, 1.0, 0.0, &epilogue);
}

// The scratch of a contrast: both layers of data and chain below each other, the hidden states that the
// next step reads, two sums.
template <class T>
struct Room {
  int64_t visible, hidden, state, sum, rest;  // bytes from the start

  explicit Room(const RbmShape& s) {
    auto bytes = [](int64_t n) { return round_up(n * int64_t(sizeof(T)), 64); };
    const int64_t data = s.need_gradients ? s.N : 0;
    const int64_t first = s.chain ? data : s.N;
    visible = 0;
    hidden = visible + bytes((data + s.C) * s.V);
    state = hidden + bytes((max64(data, first) + s.C) * s.H);
    sum = state + bytes(s.C * s.H);
    rest = sum + bytes(s.H);
  }
};

}  // namespace

template <class T>
Plan rbm_sample_plan(const RbmShape& s) {
  const Product p = s.to_visible ? visible_product<T>(s, s.N) : hidden_product<T>(s, s.N);
  Plan plan = {};
  plan.algorithm = algorithm_name(p), plan.why = algorithm_reason(p);
  plan.tile[0] = p.gemm.mr, plan.tile[1] = p.gemm.nr, plan.tile[2] = p.gemm.kc;
  plan.shared_bytes = p.shared_bytes, plan.worker_bytes = p.worker_bytes;
  const double N = double(s.N), V = double(s.V), H = double(s.H);
  plan.flops = 2 * N * V * H;
  plan.bytes = sizeof(T) * (V * H + N * (V + 2 * H));
  return plan;
}

template <class T>
void rbm_sample(Ctx& ctx, const RbmShape& s, const T* x, const T* w, const T* bias, T* mean,
                T* sample) {
  const bool linear = s.to_visible && s.visible == RbmVisible::kGaussian;
  const Product p = s.to_visible ? visible_product<T>(s, s.N) : hidden_product<T>(s, s.N);
  make_layer<T>(ctx, p, {s.seed, s.call, linear}, linear, x, w, bias, s.to_visible ? s.V : s.H,
                mean, sample);
}

template <class T>
Plan rbm_contrast_plan(const RbmShape& s) {
  const Product up = hidden_product<T>(s, s.C), down = visible_product<T>(s, s.C);
  const Product first = hidden_product<T>(s, s.N), grad = gradient_product<T>(s);
  Plan plan = {};
  plan.algorithm = algorithm_name(up), plan.why = algorithm_reason(up);
  plan.tile[0] = up.gemm.mr, plan.tile[1] = up.gemm.nr, plan.tile[2] = up.gemm.kc;
  int64_t shared = max64(max64(up.shared_bytes, down.shared_bytes), first.shared_bytes);
  int64_t worker = max64(max64(up.worker_bytes, down.worker_bytes), first.worker_bytes);
  if (s.need_gradients) {
    shared = max64(shared, grad.shared_bytes), worker = max64(worker, grad.worker_bytes);
    shared = max64(shared, column_sums_bytes<T>(s.N + s.C, s.V));
    shared = max64(shared, column_sums_bytes<T>(max64(s.N, s.C), s.H));
  }
  plan.shared_bytes = Room<T>(s).rest + shared;
  plan.worker_bytes = worker;
  const double N = double(s.N), C = double(s.C), V = double(s.V), H = double(s.H);
  const double products = 2.0 * double(s.steps) * C + (s.need_gradients || !s.chain ? N : 0) +
                          (s.need_gradients ? N + C : 0);
  plan.flops = 2 * products * V * H;
  plan.bytes = sizeof(T) * (V * H * (s.need_gradients ? 2 : 1) + N * V + C * (V + H));
  return plan;
}

template <class T>
void rbm_contrast(Ctx& ctx, const RbmShape& s, const T* v, const T* w, const T* b, const T* c,
                  const T* chain, T* dw, T* db, T* dc, T* v_k, T* h_k) {
  const Room<T> room(s);
  auto at = [&](int64_t bytes) { return reinterpret_cast<T*>(ctx.shared + bytes); };
  T *visible = at(room.visible), *hidden = at(room.hidden), *state = at(room.state);
  T* sum = at(room.sum);
  Ctx rest = ctx;
  rest.shared += room.rest;
  const bool gaussian = s.visible == RbmVisible::kGaussian;
  const int64_t data = s.need_gradients ? s.N : 0;
  T *v_t = visible + data * s.V, *p_t = hidden + data * s.H;

  const T* from = chain;
  if (s.need_gradients || !chain) {
    make_layer<T>(rest, hidden_product<T>(s, s.N), {s.seed, s.call, false}, false, v, w, c, s.H,
                  hidden, chain ? nullptr : state);
    if (!chain) from = state;
  }
  const Product up = hidden_product<T>(s, s.C), down = visible_product<T>(s, s.C);
  for (int64_t t = 1; t <= s.steps; ++t) {
    const uint64_t call = s.call + 2 * uint64_t(t);
    make_layer<T>(rest, down, {s.seed, call - 1, gaussian}, gaussian, from, w, b, s.V, v_t,
                  s.visible_means ? nullptr : v_t);
    const bool last = t == s.steps;
    if (last && !s.need_gradients && !h_k) break;
    T* to = last ? h_k : state;
    make_layer<T>(rest, up, {s.seed, call, false}, false, v_t, w, c, s.H, p_t, to);
    from = to;
  }
  if (v_k) {
    parallel_for(ctx, s.C * s.V, kGrain, [&](int64_t begin, int64_t end, int) {
      __builtin_memcpy(v_k + begin, v_t + begin, uint64_t(end - begin) * sizeof(T));
    });
  }
  if (!s.need_gradients) return;

  // One product over data and chain together: the data with a minus, and weighed as if they were as
  // many as the chain.
  const T weight = T(-double(s.C) / double(s.N)), share = T(1) / T(s.C);
  parallel_for(ctx, s.N * s.V, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) visible[i] = weight * v[i];
  });
  run_product<T>(rest, gradient_product<T>(s), hidden, visible, dw, double(share), 0.0, nullptr);
  column_sums<T>(rest, s.N + s.C, s.V, visible, db);
  for (int64_t i = 0; i < s.V; ++i) db[i] *= share;
  column_sums<T>(rest, s.N, s.H, hidden, sum);
  column_sums<T>(rest, s.C, s.H, p_t, dc);
  for (int64_t j = 0; j < s.H; ++j) dc[j] = (dc[j] + weight * sum[j]) * share;
}

HL_DEFINE_KERNEL(rbm_sample);
HL_DEFINE_KERNEL(rbm_contrast);

}  // namespace hl::cpu::HL_ISA
