#include "cuda/gemm.h"
#include "cuda/kernel.h"
#include "cuda/unary.h"
#include "ops/rnn/chunks.cuh"

namespace hl::cuda {
namespace {

template <class T>
struct Forward {
  RnnShape s;
  RnnInputs<T> in;
  RnnSaved<T> saved;
  T* y;
  Walk walk;
  const T* mask;
  NormGroups groups;
  int64_t GH, chunk;
  bool before;
  T *c, *u, *gates, *h_new, *norms, *ax;  // ax: w_ih x of a chunk
  int64_t scratch_bytes;

  Forward(const Ctx& ctx, const RnnShape& shape, const RnnInputs<T>& given, const RnnSaved<T>& kept,
          T* result)
      : s(shape), in(given), saved(kept), y(result) {
    Taker scratch = {ctx.shared, 0};
    walk = make_walk(ctx, s, in.lengths, scratch);
    mask = make_mask<T>(ctx, s, scratch);
    groups = norm_groups(s);
    GH = product_gates(s.cell) * s.H;
    chunk = chunk_of(s, GH, sizeof(T));
    before = s.cell == RnnCell::kGruBefore;
    c = scratch.take<T>(s.N * s.H);
    u = scratch.take<T>(s.N * GH);
    gates = scratch.take<T>(s.N * 4 * s.H);
    h_new = scratch.take<T>(s.N * s.H);
    norms = scratch.take<T>(s.N * s.norm_stride);
    ax = scratch.take<T>(chunk * s.N * GH);
    scratch_bytes = scratch.used;
  }

  // Where gates and norms of a step go.
  __device__ T* gates_at(int64_t n, int64_t t) const {
    return saved.gates ? saved.gates + walk.row(n, t) * s.gate_stride : gates + n * 4 * s.H;
  }
  __device__ NormRow<T> norms_at(int64_t n, int64_t t) const {
    return {saved.norms ? saved.norms + walk.row(n, t) * s.norm_stride : norms + n * s.norm_stride,
            GH};
  }
  __device__ const T* product(int side, int64_t n, int64_t t, int64_t t0) const {
    return side == 0 ? ax + ((t - t0) * s.N + n) * GH : u + n * GH;
  }
  // One side of a gate's number with its bias.
  __device__ T part(int side, int64_t n, int64_t t, int64_t t0, int64_t at) const {
    const T *bias = side == 0 ? in.b_ih : in.b_hh, *gain = side == 0 ? in.norm_ih : in.norm_hh;
    const T v =
        s.layer_norm ? norms_at(n, t).values(side)[at] * gain[at] : product(side, n, t, t0)[at];
    return bias ? v + bias[at] : v;
  }
  // h of a step, before zoneout, to its place.
  __device__ void put_h(int64_t n, int64_t t, int64_t p, T h) const {
    const T share = walk.template kept_of_h<T>(n, t, p);
    const T old = share != 0 ? walk.h_before(y, in.h0, n, t, p) : T(0);
    y[walk.place(n, t) * s.P + p] = share * old + (1 - share) * h;
  }
  __device__ void put_made(int64_t n, int64_t t, int64_t j, T h) const {
    if (s.projects) {
      h_new[n * s.H + j] = h;
    } else {
      put_h(n, t, j, h);
    }
  }
  // What w_hh sees of h.
  __device__ T seen(int64_t n, int64_t t, int64_t p) const {
    if (!walk.live(n, t)) return 0;
    const T h = walk.h_before(y, in.h0, n, t, p);
    return mask ? h * mask[n * s.P + p] : h;
  }

  __device__ void lstm(int64_t n, int64_t t, int64_t t0, int64_t j) const {
    const int64_t H = s.H;
    const auto sum = [&](int64_t g) {
      return part(0, n, t, t0, g * H + j) + part(1, n, t, t0, g * H + j);
    };
    T* state = c + n * H + j;
    const T old = *state;
    T zi = sum(0), zf = sum(1), zo = sum(3);
    if (in.peephole) zi += in.peephole[j] * old, zf += in.peephole[H + j] * old;
    const T i = sigmoid(zi), f = sigmoid(zf), g = tanh(sum(2)), made = f * old + i * g;
    if (in.peephole) zo += in.peephole[2 * H + j] * made;
    const T o = sigmoid(zo), share = walk.template kept_of_c<T>(n, t, j);
    *state = share * old + (1 - share) * made;
    T* to = gates_at(n, t) + j;
    to[0] = i, to[H] = f, to[2 * H] = g, to[3 * H] = o;
    if (saved.cells) saved.cells[walk.row(n, t) * H + j] = *state;
    put_made(n, t, j, o * tanh(made));
  }
  __device__ void gru_r_z(int64_t n, int64_t t, int64_t t0, int64_t j) const {
    T* to = gates_at(n, t) + j;
    to[0] = sigmoid(part(0, n, t, t0, j) + part(1, n, t, t0, j));
    to[s.H] = sigmoid(part(0, n, t, t0, s.H + j) + part(1, n, t, t0, s.H + j));
  }
  __device__ void gru_n(int64_t n, int64_t t, int64_t t0, int64_t j) const {
    T* to = gates_at(n, t) + j;
    const T x = part(0, n, t, t0, 2 * s.H + j), v = part(1, n, t, t0, 2 * s.H + j);
    const T made = tanh(before ? v + x : to[0] * v + x), z = to[s.H];
    to[2 * s.H] = made, to[3 * s.H] = v;
    put_made(n, t, j, z * (walk.h_before(y, in.h0, n, t, j) - made) + made);
  }
  __device__ void gates_of(int64_t n, int64_t t, int64_t t0, int64_t j) const {
    if (s.cell == RnnCell::kLstm) return lstm(n, t, t0, j);
    if (s.cell == RnnCell::kGru || before) {
      gru_r_z(n, t, t0, j);
      if (!before) gru_n(n, t, t0, j);
      return;
    }
    const T z = part(0, n, t, t0, j) + part(1, n, t, t0, j);
    const T h = s.cell == RnnCell::kRelu ? (z <= 0 ? T(0) : z) : tanh(z);
    if (saved.gates) gates_at(n, t)[j] = h;
    put_made(n, t, j, h);
  }

  // Normalises groups [g0, g1) of one side of a row, by a block.
  __device__ void normalise(int64_t n, int64_t t, int64_t t0, int side, int g0, int g1,
                            void* room) const {
    const NormRow<T> to = norms_at(n, t);
    const T* from = product(side, n, t, t0);
    for (int g = g0; g < g1; ++g) {
      const int64_t begin = groups.begin[g], end = groups.begin[g + 1];
      double mean = 0, squares = 0;
      for (int64_t j = begin + threadIdx.x; j < end; j += kThreads) mean += double(from[j]);
      mean = block_reduce(mean, static_cast<double*>(room), Plus()) / double(end - begin);
      for (int64_t j = begin + threadIdx.x; j < end; j += kThreads) {
        squares += (double(from[j]) - mean) * (double(from[j]) - mean);
      }
      squares = block_reduce(squares, static_cast<double*>(room), Plus());
      const double scale = 1 / sqrt(squares / double(end - begin) + s.eps);
      for (int64_t j = begin + threadIdx.x; j < end; j += kThreads) {
        to.values(side)[j] = T((double(from[j]) - mean) * scale);
      }
      if (threadIdx.x == 0) to.scale(side)[g] = T(scale);
    }
  }
};

// Lines [begin, end) of w_hh times what they see of h.
template <class T, class A>
void recur(const Ctx& ctx, const Forward<T>& f, int64_t begin, int64_t end, A a) {
  gemm<T>(
      ctx, 1, f.s.N, end - begin, f.s.P, a,
      [=] __device__(int64_t, int64_t k, int64_t j) { return f.in.w_hh[(begin + j) * f.s.P + k]; },
      [=] __device__(int64_t, int64_t n, int64_t j, T sum) { f.u[n * f.GH + begin + j] = sum; });
}

template <class T>
void step(const Ctx& ctx, const Forward<T>& f, int64_t t, int64_t t0) {
  const RnnShape& s = f.s;
  const int64_t N = s.N, H = s.H;
  recur(ctx, f, 0, f.before ? 2 * H : f.GH,
        [=] __device__(int64_t, int64_t n, int64_t k) { return f.seen(n, t, k); });
  if (s.layer_norm) {
    each_row(ctx, 2 * N, [=] __device__(int64_t i, void* room) {
      const int side = int(i % 2), last = f.before && side == 1 ? 1 : f.groups.count;
      if (f.walk.live(i / 2, t)) f.normalise(i / 2, t, t0, side, 0, last, room);
    });
  }
  each(ctx, N * H, [=] __device__(int64_t i) {
    if (f.walk.live(i / H, t)) f.gates_of(i / H, t, t0, i % H);
  });
  if (f.before) {
    recur(ctx, f, 2 * H, 3 * H, [=] __device__(int64_t, int64_t n, int64_t k) {
      return f.walk.live(n, t) ? f.seen(n, t, k) * f.gates_at(n, t)[k] : T(0);
    });
    each_row(ctx, s.layer_norm ? N : 0, [=] __device__(int64_t n, void* room) {
      if (f.walk.live(n, t)) f.normalise(n, t, t0, 1, 1, 2, room);
    });
    each(ctx, N * H, [=] __device__(int64_t i) {
      if (f.walk.live(i / H, t)) f.gru_n(i / H, t, t0, i % H);
    });
  }
  if (s.projects) {
    gemm<T>(
        ctx, 1, N, s.P, H,
        [=] __device__(int64_t, int64_t n, int64_t k) {
          return f.walk.live(n, t) ? f.h_new[n * H + k] : T(0);
        },
        [=] __device__(int64_t, int64_t k, int64_t p) { return f.in.w_hr[p * H + k]; },
        [=] __device__(int64_t, int64_t n, int64_t p, T sum) {
          if (f.walk.live(n, t)) f.put_h(n, t, p, sum);
        });
  }
}

void steps_by(const Ctx&, const Forward<double>&, int64_t, int64_t, const ForwardSteps&) {}
void steps_by(const Ctx& ctx, const Forward<float>& f, int64_t t0, int64_t steps,
              const ForwardSteps& by) {
  by.run(ctx, {f.walk, f.ax, f.c, t0, steps});
}

// `by`: the steps, if not one by one.
template <class T>
void run(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in, const RnnSaved<T>& saved, T* y, T* hn,
         T* cn, const ForwardSteps* by = nullptr) {
  const Forward<T> f(ctx, s, in, saved, y);
  const int64_t H = s.H, P = s.P;
  each(ctx, s.N * H, [=] __device__(int64_t i) { f.c[i] = in.c0 ? in.c0[i] : T(0); });
  for (int64_t t0 = 0; t0 < s.steps; t0 += f.chunk) {
    const int64_t steps = s.steps - t0 < f.chunk ? s.steps - t0 : f.chunk;
    gemm<T>(
        ctx, 1, steps * s.N, f.GH, s.I,
        [=] __device__(int64_t, int64_t i, int64_t k) {
          const int64_t n = i % s.N, t = t0 + i / s.N;
          return f.walk.live(n, t) ? in.x[f.walk.place(n, t) * s.I + k] : T(0);
        },
        [=] __device__(int64_t, int64_t k, int64_t j) { return in.w_ih[j * s.I + k]; },
        [=] __device__(int64_t, int64_t i, int64_t j, T sum) { f.ax[i * f.GH + j] = sum; });
    if (by) steps_by(ctx, f, t0, steps, *by);
    for (int64_t t = t0; t < t0 + steps && !by; ++t) step(ctx, f, t, t0);
  }
  each(ctx, in.lengths ? s.N * s.T * P : 0, [=] __device__(int64_t i) {
    if (!f.walk.live(i / P / s.T, i / P % s.T)) y[i] = 0;
  });
  // A step has y for hn: then they are the same.
  each(ctx, hn == y ? 0 : s.N * P, [=] __device__(int64_t i) {
    hn[i] = f.walk.h_before(y, in.h0, i / P, f.walk.length(i / P), i % P);
  });
  each(ctx, cn ? s.N * H : 0, [=] __device__(int64_t i) { cn[i] = f.c[i]; });
}

template <class T>
Plan plan_of(const RnnShape& s) {
  // With everything that may be wanted, and nothing launched.
  const Forward<T> f(Ctx{}, s, {}, {}, nullptr);
  const double rows = double(s.rows), GH = double(f.GH), H = double(s.H), I = double(s.I);
  const double P = double(s.P), kept = s.saves ? double(s.gate_stride + s.norm_stride) : 0;
  return {"steps, a product each",
          nullptr,
          {kTile, kTile, f.chunk},
          f.scratch_bytes,
          0,
          2 * rows * (GH * (I + P) + (s.projects ? H * P : 0)),
          sizeof(T) * (rows * (I + P + kept) + GH * (I + P + 2))};
}
template <class T>
Plan rnn_forward_plan(const RnnShape& s) {
  return plan_of<T>(s);
}
template <class T>
Plan rnn_variant_forward_plan(const RnnShape& s) {
  return plan_of<T>(s);
}
template <class T>
void rnn_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in, const RnnSaved<T>& saved,
                 T* y, T* hn, T* cn) {
  run(ctx, s, in, saved, y, hn, cn);
}
template <class T>
void rnn_variant_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in,
                         const RnnSaved<T>& saved, T* y, T* hn, T* cn) {
  run(ctx, s, in, saved, y, hn, cn);
}

HL_CUDA_KERNEL(rnn_forward);
HL_CUDA_KERNEL(rnn_variant_forward);

}  // namespace

void rnn_forward_by(Ctx& ctx, const RnnShape& s, const RnnInputs<float>& in,
                    const RnnSaved<float>& saved, float* y, float* hn, float* cn,
                    const ForwardSteps& by) {
  run(ctx, s, in, saved, y, hn, cn, &by);
}

}  // namespace hl::cuda
