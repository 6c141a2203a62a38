#include "cuda/gemm.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/rnn/chunks.cuh"

namespace hl::cuda {
namespace {

// Where a row of gradients has what. `sums` come first: what is only added up over all rows.
struct DRow {
  int64_t ax, ah;          // at the biases: of w_ih x, of w_hh h
  int64_t gain_x, gain_h;  // what the gains of the norms get
  int64_t peephole;        // what the peepholes get
  int64_t sums;            // how many so far
  int64_t dx, dh;          // at the products
  int64_t stride;

  explicit DRow(const RnnShape& s) {
    const int64_t GH = product_gates(s.cell) * s.H;
    ax = 0, ah = GH, gain_x = 2 * GH, gain_h = 3 * GH;
    peephole = s.layer_norm ? 4 * GH : 2 * GH;
    sums = peephole + (s.peephole ? 3 * s.H : 0);
    dx = s.layer_norm ? sums : ax, dh = s.layer_norm ? sums + GH : ah;
    stride = sums + (s.layer_norm ? 2 * GH : 0);
  }
};

template <class T>
struct Backward {
  RnnShape s;
  const T* dy;
  RnnInputs<T> in;
  RnnSaved<T> saved;
  const T* y;
  Walk walk;
  const T* mask;
  NormGroups groups;
  DRow at;
  int64_t GH, chunk;
  bool before;
  T *carry_h, *carry_c;  // (N, P), (N, H)
  T *dm, *back;          // (N, H), (N, P): of one step
  // Rows of a chunk: gradients, what w_hh and w_hn saw of h, dh before the projection, o tanh(c).
  T *d, *seen, *seen_n, *dh, *made;
  double* sums;
  Two* pairs;
  unsigned char* part;
  int64_t scratch_bytes;

  Backward(const Ctx& ctx, const RnnShape& shape, const T* dy_in, const RnnInputs<T>& given,
           const RnnSaved<T>& kept, const T* result)
      : s(shape), dy(dy_in), in(given), saved(kept), y(result), at(shape) {
    Taker scratch = {ctx.shared, 0};
    walk = make_walk(ctx, s, in.lengths, scratch);
    mask = make_mask<T>(ctx, s, scratch);
    groups = norm_groups(s);
    GH = product_gates(s.cell) * s.H;
    before = s.cell == RnnCell::kGruBefore;
    chunk = chunk_of(s, at.stride + 3 * s.P + s.H, sizeof(T));
    const int64_t rows = chunk * s.N;
    carry_h = scratch.take<T>(s.N * s.P);
    carry_c = scratch.take<T>(s.N * s.H);
    dm = scratch.take<T>(s.N * s.H);
    back = scratch.take<T>(s.N * s.P);
    d = scratch.take<T>(rows * at.stride);
    seen = scratch.take<T>(rows * s.P);
    seen_n = scratch.take<T>(before ? rows * s.P : 0);
    dh = scratch.take<T>(rows * s.P);
    made = scratch.take<T>(s.projects ? rows * s.H : 0);
    sums = scratch.take<double>(at.sums);
    pairs = scratch.take<Two>(at.sums);
    part = scratch.take<unsigned char>(sum_bytes(at.sums, rows, true));
    scratch_bytes = scratch.used;
  }

  __device__ int64_t chunk_row(int64_t n, int64_t t, int64_t t0) const {
    return (t - t0) * s.N + n;
  }
  __device__ T h_before(int64_t n, int64_t t, int64_t p) const {
    return walk.h_before(y, in.h0, n, t, p);
  }

  // dh of a row through zoneout, into dh and the carry; what w_hh saw. Rows of sequences that have
  // ended are zero.
  __device__ void open(int64_t n, int64_t t, int64_t t0, int64_t p) const {
    const int64_t row = chunk_row(n, t, t0) * s.P + p;
    T slope = 0, v = 0;
    if (walk.live(n, t)) {
      T* carry = carry_h + n * s.P + p;
      const T g = dy ? *carry + dy[walk.place(n, t) * s.P + p] : *carry;
      const T share = walk.template kept_of_h<T>(n, t, p);
      slope = g * (1 - share);
      *carry = g * share;
      v = h_before(n, t, p);
      if (mask) v *= mask[n * s.P + p];
    }
    dh[row] = slope;
    seen[row] = v;
  }

  __device__ void put(T* row, int64_t g, int64_t j, T x, T h) const {
    row[at.ax + g * s.H + j] = x, row[at.ah + g * s.H + j] = h;
  }
  __device__ void lstm(int64_t n, int64_t t, int64_t row, int64_t j, T g_h, T* to) const {
    const int64_t H = s.H;
    const T* gates = saved.gates + walk.row(n, t) * s.gate_stride + j;
    const T i = gates[0], f = gates[H], g = gates[2 * H], o = gates[3 * H];
    const T old = t > 0 ? saved.cells[walk.row(n, t - 1) * H + j] : in.c0 ? in.c0[n * H + j] : T(0);
    // c before zoneout, which what is saved has behind it.
    const T c = s.zoneout == Zoneout::kNone ? saved.cells[walk.row(n, t) * H + j] : f * old + i * g;
    const T th = tanh(c), zo = g_h * th * (o * (1 - o));
    T* carry = carry_c + n * H + j;
    const T share = walk.template kept_of_c<T>(n, t, j);
    T dc = g_h * o * (1 - th * th) + *carry * (1 - share);
    if (in.peephole) dc += zo * in.peephole[2 * H + j];
    const T zi = dc * g * (i * (1 - i)), zf = dc * old * (f * (1 - f)), zg = dc * i * (1 - g * g);
    T left = dc * f + *carry * share;
    if (in.peephole) {
      left += zi * in.peephole[j] + zf * in.peephole[H + j];
      T* p = to + at.peephole + j;
      p[0] = zi * old, p[H] = zf * old, p[2 * H] = zo * c;
    }
    *carry = left;
    put(to, 0, j, zi, zi), put(to, 1, j, zf, zf), put(to, 2, j, zg, zg), put(to, 3, j, zo, zo);
    if (s.projects) made[row * H + j] = o * th;
  }
  // With r in front of u_n; else r waits for the product with w_hn.
  __device__ void gru(int64_t n, int64_t t, int64_t j, T g_h, T* to) const {
    const int64_t H = s.H;
    const T* gates = saved.gates + walk.row(n, t) * s.gate_stride + j;
    const T r = gates[0], z = gates[H], v = gates[2 * H], u = gates[3 * H];
    const T zz = g_h * (h_before(n, t, j) - v) * (z * (1 - z)), zn = g_h * (1 - z) * (1 - v * v);
    carry_h[n * H + j] += g_h * z;
    put(to, 1, j, zz, zz);
    put(to, 2, j, zn, before ? zn : zn * r);
    if (!before) {
      const T zr = zn * u * (r * (1 - r));
      put(to, 0, j, zr, zr);
    }
  }
  __device__ void gates_of(int64_t n, int64_t t, int64_t t0, int64_t j) const {
    const int64_t row = chunk_row(n, t, t0);
    T* to = d + row * at.stride;
    if (!walk.live(n, t)) {
      for (int64_t k = j; k < at.stride; k += s.H) to[k] = 0;
      if (s.projects) made[row * s.H + j] = 0;
      return;
    }
    const T g_h = s.projects ? dm[n * s.H + j] : dh[row * s.P + j];
    if (s.cell == RnnCell::kLstm) return lstm(n, t, row, j, g_h, to);
    if (s.cell == RnnCell::kGru || before) return gru(n, t, j, g_h, to);
    const T h = saved.gates ? saved.gates[walk.row(n, t) * s.gate_stride + j]
                            : y[walk.place(n, t) * s.P + j];
    const T z = s.cell == RnnCell::kRelu ? (h <= 0 ? T(0) : g_h) : g_h * (1 - h * h);
    put(to, 0, j, z, z);
  }

  // The GRU with its reset in front: r scales h before w_hn sees it; back is the gradient of that.
  __device__ void through_reset(int64_t n, int64_t t, int64_t t0, int64_t j) const {
    const int64_t row = chunk_row(n, t, t0);
    if (!walk.live(n, t)) {
      seen_n[row * s.H + j] = 0;
      return;
    }
    const T r = saved.gates[walk.row(n, t) * s.gate_stride + j], v = seen[row * s.H + j];
    const T db = back[n * s.H + j], z = db * v * (r * (1 - r));
    put(d + row * at.stride, 0, j, z, z);
    seen_n[row * s.H + j] = r * v;
    add_back(n, j, db * r);
  }
  __device__ void add_back(int64_t n, int64_t p, T g) const {
    carry_h[n * s.P + p] += mask ? g * mask[n * s.P + p] : g;
  }

  // Through the norm of one side of a row, for gate groups [g0, g1), by a block:
  // da = scale (d - mean(d) - y mean(d y)), d = dz gain.
  __device__ void norm_side(int64_t n, int64_t t, int64_t t0, int side, int g0, int g1,
                            void* room) const {
    const NormRow<T> kept = {saved.norms + walk.row(n, t) * s.norm_stride, GH};
    T* row = d + chunk_row(n, t, t0) * at.stride;
    const T *dz = row + (side == 0 ? at.ax : at.ah), *gain = side == 0 ? in.norm_ih : in.norm_hh;
    T *gains = row + (side == 0 ? at.gain_x : at.gain_h), *to = row + (side == 0 ? at.dx : at.dh);
    for (int g = g0; g < g1; ++g) {
      const int64_t begin = groups.begin[g], end = groups.begin[g + 1];
      Two sum = {0, 0};
      for (int64_t j = begin + threadIdx.x; j < end; j += kThreads) {
        const double v = double(dz[j] * gain[j]);
        sum.a += v, sum.b += v * double(kept.values(side)[j]);
      }
      sum = block_sum(sum, room);
      const T mean = T(sum.a / double(end - begin)), along = T(sum.b / double(end - begin));
      for (int64_t j = begin + threadIdx.x; j < end; j += kThreads) {
        const T v = kept.values(side)[j];
        gains[j] = dz[j] * v;
        to[j] = kept.scale(side)[g] * (dz[j] * gain[j] - mean - v * along);
      }
    }
  }
};

// back = the gradients of lines [begin, begin + count) of w_hh's products, through w_hh.
template <class T, class Store>
void hand_back(const Ctx& ctx, const Backward<T>& b, int64_t t, int64_t t0, int64_t begin,
               int64_t count, Store store) {
  gemm<T>(
      ctx, 1, b.s.N, b.s.P, count,
      [=] __device__(int64_t, int64_t n, int64_t k) {
        return b.d[b.chunk_row(n, t, t0) * b.at.stride + b.at.dh + begin + k];
      },
      [=] __device__(int64_t, int64_t k, int64_t p) { return b.in.w_hh[(begin + k) * b.s.P + p]; },
      [=] __device__(int64_t, int64_t n, int64_t p, T sum) {
        if (b.walk.live(n, t)) store(n, p, sum);
      });
}

template <class T>
void step(const Ctx& ctx, const Backward<T>& b, int64_t t, int64_t t0) {
  const RnnShape& s = b.s;
  const int64_t N = s.N, H = s.H, P = s.P;
  each(ctx, N * P, [=] __device__(int64_t i) { b.open(i / P, t, t0, i % P); });
  if (s.projects) {
    gemm<T>(
        ctx, 1, N, H, P,
        [=] __device__(int64_t, int64_t n, int64_t k) {
          return b.dh[b.chunk_row(n, t, t0) * P + k];
        },
        [=] __device__(int64_t, int64_t k, int64_t j) { return b.in.w_hr[k * H + j]; },
        [=] __device__(int64_t, int64_t n, int64_t j, T sum) { b.dm[n * H + j] = sum; });
  }
  each(ctx, N * H, [=] __device__(int64_t i) { b.gates_of(i / H, t, t0, i % H); });
  each_row(ctx, s.layer_norm ? 2 * N : 0, [=] __device__(int64_t i, void* room) {
    const int side = int(i % 2);
    if (!b.walk.live(i / 2, t) || (b.before && side == 0)) return;
    b.norm_side(i / 2, t, t0, side, b.before ? 1 : 0, b.groups.count, room);
  });
  if (b.before) {
    hand_back(ctx, b, t, t0, 2 * H, H,
              [=] __device__(int64_t n, int64_t p, T sum) { b.back[n * P + p] = sum; });
    each(ctx, N * H, [=] __device__(int64_t i) { b.through_reset(i / H, t, t0, i % H); });
    each_row(ctx, s.layer_norm ? 2 * N : 0, [=] __device__(int64_t i, void* room) {
      const int side = int(i % 2);
      if (b.walk.live(i / 2, t)) b.norm_side(i / 2, t, t0, side, 0, side == 0 ? 2 : 1, room);
    });
  }
  hand_back(ctx, b, t, t0, 0, b.before ? 2 * H : b.GH,
            [=] __device__(int64_t n, int64_t p, T sum) { b.add_back(n, p, sum); });
}

// to (+)= rows^T other, (lines, columns), over the rows of a chunk.
template <class T, class Other>
void add_product(const Ctx& ctx, const T* rows, int64_t stride, int64_t count, int64_t lines,
                 int64_t columns, bool more, T* to, Other other) {
  gemm<T>(
      ctx, 1, lines, columns, count,
      [=] __device__(int64_t, int64_t i, int64_t k) { return rows[k * stride + i]; },
      [=] __device__(int64_t, int64_t k, int64_t j) { return other(k, j); },
      [=] __device__(int64_t, int64_t i, int64_t j, T sum) {
        to[i * columns + j] = more ? to[i * columns + j] + sum : sum;
      });
}

// What the rows of a chunk add to the gradients; `more`: to those of chunks before.
template <class T>
void products(const Ctx& ctx, const Backward<T>& b, const RnnGradients<T>& out, int64_t t0,
              int64_t steps, bool more) {
  const RnnShape& s = b.s;
  const int64_t rows = steps * s.N, H = s.H, P = s.P, I = s.I;
  sum_columns(ctx, 1, rows, b.at.sums, b.part, b.pairs,
              [=] __device__(int64_t, int64_t r, int64_t c) {
                return Two{double(b.d[r * b.at.stride + c]), 0};
              });
  each(ctx, b.at.sums,
       [=] __device__(int64_t i) { b.sums[i] = more ? b.sums[i] + b.pairs[i].a : b.pairs[i].a; });
  if (out.w_ih) {
    add_product(ctx, b.d + b.at.dx, b.at.stride, rows, b.GH, I, more, out.w_ih,
                [=] __device__(int64_t k, int64_t j) {
                  const int64_t n = k % s.N, t = t0 + k / s.N;
                  return b.walk.live(n, t) ? b.in.x[b.walk.place(n, t) * I + j] : T(0);
                });
  }
  if (out.w_hh) {
    add_product(ctx, b.d + b.at.dh, b.at.stride, rows, b.before ? 2 * H : b.GH, P, more, out.w_hh,
                [=] __device__(int64_t k, int64_t j) { return b.seen[k * P + j]; });
    if (b.before) {
      add_product(ctx, b.d + b.at.dh + 2 * H, b.at.stride, rows, H, P, more, out.w_hh + 2 * H * P,
                  [=] __device__(int64_t k, int64_t j) { return b.seen_n[k * P + j]; });
    }
  }
  if (out.w_hr) {
    add_product(ctx, b.dh, P, rows, P, H, more, out.w_hr,
                [=] __device__(int64_t k, int64_t j) { return b.made[k * H + j]; });
  }
  if (out.x) {
    gemm<T>(
        ctx, 1, rows, I, b.GH,
        [=] __device__(int64_t, int64_t i, int64_t k) {
          return b.d[i * b.at.stride + b.at.dx + k];
        },
        [=] __device__(int64_t, int64_t k, int64_t j) { return b.in.w_ih[k * I + j]; },
        [=] __device__(int64_t, int64_t i, int64_t j, T sum) {
          const int64_t n = i % s.N, t = t0 + i / s.N;
          if (b.walk.live(n, t)) out.x[b.walk.place(n, t) * I + j] = sum;
        });
  }
}

void steps_by(const Ctx&, const Backward<double>&, int64_t, int64_t, const BackwardSteps&) {}
void steps_by(const Ctx& ctx, const Backward<float>& b, int64_t t0, int64_t steps,
              const BackwardSteps& by) {
  const int64_t N = b.s.N, P = b.s.P;
  each(ctx, steps * N * P, [=] __device__(int64_t i) {
    const int64_t n = i / P % N, t = t0 + i / P / N;
    b.seen[i] = b.walk.live(n, t) ? b.h_before(n, t, i % P) : 0.0f;
  });
  by.run(ctx, {b.walk, b.dy, b.y, b.d, b.at.stride, b.carry_h, b.carry_c, t0, steps});
}

// `by`: the steps, if not one by one.
template <class T>
void run(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
         const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y, const RnnGradients<T>& out,
         const BackwardSteps* by = nullptr) {
  const Backward<T> b(ctx, s, dy, in, saved, y);
  const auto copy = [&](int64_t n, const T* from, T* to) {
    if (to) each(ctx, n, [=] __device__(int64_t i) { to[i] = from ? from[i] : T(0); });
  };
  copy(s.N * s.P, dhn, b.carry_h);
  copy(s.N * s.H, dcn, b.carry_c);
  const int64_t last = s.N > 0 && s.steps > 0 ? (s.steps - 1) / b.chunk * b.chunk : -1;
  for (int64_t t0 = last; t0 >= 0; t0 -= b.chunk) {
    const int64_t steps = s.steps - t0 < b.chunk ? s.steps - t0 : b.chunk;
    if (by) steps_by(ctx, b, t0, steps, *by);
    for (int64_t t = t0 + steps - 1; t >= t0 && !by; --t) step(ctx, b, t, t0);
    products(ctx, b, out, t0, steps, t0 < last);
  }
  if (last < 0) {
    copy(b.GH * s.I, nullptr, out.w_ih);
    copy(b.GH * s.P, nullptr, out.w_hh);
    copy(s.P * s.H, nullptr, out.w_hr);
  }
  copy(s.N * s.P, b.carry_h, out.h0);
  copy(s.N * s.H, b.carry_c, out.c0);
  each(ctx, out.x && in.lengths ? s.N * s.T * s.I : 0, [=] __device__(int64_t i) {
    if (!b.walk.live(i / s.I / s.T, i / s.I % s.T)) out.x[i] = 0;
  });
  const auto spread = [&](int64_t n, int64_t from, T* to) {
    if (to) {
      each(ctx, n, [=] __device__(int64_t i) { to[i] = last < 0 ? T(0) : T(b.sums[from + i]); });
    }
  };
  spread(b.GH, b.at.ax, out.b_ih);
  spread(b.GH, b.at.ah, out.b_hh);
  spread(b.GH, b.at.gain_x, out.norm_ih);
  spread(b.GH, b.at.gain_h, out.norm_hh);
  spread(3 * s.H, b.at.peephole, out.peephole);
}

template <class T>
Plan plan_of(const RnnShape& s) {
  const Backward<T> b(Ctx{}, s, nullptr, {}, {}, nullptr);
  const double rows = double(s.rows), GH = double(b.GH), H = double(s.H), I = double(s.I);
  const double P = double(s.P), kept = double(s.gate_stride + s.norm_stride);
  return {"steps, a product each",
          nullptr,
          {kTile, kTile, b.chunk},
          b.scratch_bytes,
          0,
          4 * rows * (GH * (I + P) + (s.projects ? H * P : 0)),
          sizeof(T) * (rows * (2 * I + 2 * P + kept) + 2 * GH * (I + P + 2))};
}
template <class T>
Plan rnn_backward_plan(const RnnShape& s) {
  return plan_of<T>(s);
}
template <class T>
Plan rnn_variant_backward_plan(const RnnShape& s) {
  return plan_of<T>(s);
}
template <class T>
void rnn_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                  const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                  const RnnGradients<T>& out) {
  run(ctx, s, dy, dhn, dcn, in, saved, y, out);
}
template <class T>
void rnn_variant_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                          const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                          const RnnGradients<T>& out) {
  run(ctx, s, dy, dhn, dcn, in, saved, y, out);
}

HL_CUDA_KERNEL(rnn_backward);
HL_CUDA_KERNEL(rnn_variant_backward);

}  // namespace

void rnn_backward_by(Ctx& ctx, const RnnShape& s, const float* dy, const float* dhn,
                     const float* dcn, const RnnInputs<float>& in, const RnnSaved<float>& saved,
                     const float* y, const RnnGradients<float>& out, const BackwardSteps& by) {
  run(ctx, s, dy, dhn, dcn, in, saved, y, out, &by);
}

}  // namespace hl::cuda
