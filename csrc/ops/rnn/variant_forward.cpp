#include "cpu/simd/math.h"
#include "kernel.h"
#include "ops/rnn/operands.h"
#include "ops/rnn/variant.h"

namespace hl::cpu::HL_ISA {
namespace {

// The gates of one sequence at one step, from both sides with their biases. ax and ah are in the order
// of the gates; h and c are those before the step.
template <class T>
struct Gates {
  const T *ax, *ah, *h, *c, *peephole;
  T* gates;  // i f g o; r z n u_n; h
  T* c_new;  // c before zoneout
  T* h_new;  // h before projection and zoneout
};

template <class T>
void lstm_gates(const Gates<T>& p, int64_t H) {
  using V = Vec<T>;
  each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    auto sum = [&](int64_t g)
                   HL_LAMBDA_INLINE { return get(p.ax + g * H + j) + get(p.ah + g * H + j); };
    const V before = get(p.c + j);
    V zi = sum(0), zf = sum(1), zo = sum(3);
    if (p.peephole) {
      zi = fma(get(p.peephole + j), before, zi);
      zf = fma(get(p.peephole + H + j), before, zf);
    }
    const V i = sigmoid(zi), f = sigmoid(zf), g = tanh(sum(2));
    const V c = fma(f, before, i * g);
    if (p.peephole) zo = fma(get(p.peephole + 2 * H + j), c, zo);
    const V o = sigmoid(zo);
    put(p.gates + j, i), put(p.gates + H + j, f);
    put(p.gates + 2 * H + j, g), put(p.gates + 3 * H + j, o);
    put(p.c_new + j, c);
    put(p.h_new + j, o * tanh(c));
  });
}

template <class T>
void gru_r_z(const Gates<T>& p, int64_t H) {
  each_vector<T>(2 * H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    put(p.gates + j, sigmoid(get(p.ax + j) + get(p.ah + j)));
  });
}
// `after`: r scales u_n, else u_n has it already.
template <class T>
void gru_n(const Gates<T>& p, int64_t H, bool after) {
  using V = Vec<T>;
  each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const V u = get(p.ah + 2 * H + j), x = get(p.ax + 2 * H + j);
    const V n = tanh(after ? fma(get(p.gates + j), u, x) : u + x);
    const V z = get(p.gates + H + j);
    put(p.gates + 2 * H + j, n);
    put(p.gates + 3 * H + j, u);
    put(p.h_new + j, fma(z, get(p.h + j) - n, n));
  });
}

template <class T>
void rnn_gate(const Gates<T>& p, int64_t H, bool relu) {
  each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const Vec<T> z = get(p.ax + j) + get(p.ah + j);
    const Vec<T> h = relu ? max(z, zero<T>()) : tanh(z);
    put(p.gates + j, h);
    put(p.h_new + j, h);
  });
}

// to = share * before + (1 - share) * to
template <class T>
void keep_share(const T* share, const T* before, int64_t n, T* to) {
  each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const Vec<T> z = get(share + j);
    put(to + j, fma(z, get(before + j), (set1(T(1)) - z) * get(to + j)));
  });
}

template <class T>
struct VariantForward {
  const RnnShape& s;
  const RnnInputs<T>& in;
  const RnnSaved<T>& saved;
  T* y;
  int64_t G, GH, block, chunk, input_stride, scratch_bytes, worker_numbers;
  GemmCut project;
  NormGroups groups;
  Order order;
  const T** x_at;
  T *h, *c, *inputs;  // (N, P), (N, H) by slot; w_ih x of a chunk
  T *packed, *packed_n, *packed_r;
  Lines<T> w, w_n, w_r;

  VariantForward(const RnnShape& shape, const RnnInputs<T>& given, const RnnSaved<T>& kept,
                 T* result, unsigned char* memory)
      : s(shape), in(given), saved(kept), y(result) {
    G = product_gates(s.cell), GH = G * s.H;
    block = variant_block(s);
    const int64_t size = sizeof(T);
    input_stride = odd_lines(GH, size);
    chunk = max64(1, kChunkBytes / max64(1, s.N * input_stride * size));
    const int64_t chunk_rows = min64(s.rows, chunk * s.N);
    groups = norm_groups(s);
    Scratch m = {memory, 0};
    unsigned char* for_order = m.take<unsigned char>(order_bytes(s));
    if (memory) order = make_order(s, in.lengths, for_order);
    x_at = m.take<const T*>(s.rows);
    h = m.take<T>(s.N * s.P);
    c = m.take<T>(s.N * s.H);
    inputs = m.take<T>(chunk_rows * input_stride);
    packed = m.take<T>(lines_numbers<T>(before() ? 2 * s.H : GH, s.P));
    packed_n = m.take<T>(before() ? lines_numbers<T>(s.H, s.P) : 0);
    packed_r = m.take<T>(s.projects ? lines_numbers<T>(s.P, s.H) : 0);
    project = picked_cut<T>(max64(1, chunk_rows), GH, s.I, true);
    scratch_bytes = m.used;
    worker_numbers = Work(*this, nullptr).used;
  }

  bool before() const { return s.cell == RnnCell::kGruBefore; }
  bool zoned() const { return s.zoneout != Zoneout::kNone; }

  // A task's memory.
  struct Work {
    T *mask, *seen, *u, *u_n, *h_new, *h_out, *ax, *gates, *c_new, *keep, *norms;
    int64_t used;

    Work(const VariantForward& f, T* base) : used(0) {
      const RnnShape& s = f.s;
      auto take = [&](int64_t n) {
        T* p = base ? base + used : nullptr;
        used += round_up(n, 16);
        return p;
      };
      mask = take(f.block * s.P), seen = take(f.block * s.P);
      u = take(f.block * lines_width<T>(f.GH)), u_n = take(f.block * lines_width<T>(s.H));
      h_new = take(f.block * s.H), h_out = take(f.block * lines_width<T>(s.P));
      ax = take(f.block * f.GH), gates = take(f.block * 4 * s.H), c_new = take(s.H);
      keep = take(max64(s.P, s.H));
      norms = take(s.norm_stride);
    }
  };

  // One side of a row's products, from gate group `first` on: normalised where asked, biases added.
  void side(const T* products, const T* gain, const T* bias, int64_t first, int64_t count, T* kept,
            T* kept_scale, T* to) const {
    int64_t at = first == 0 ? 0 : groups.size[0];
    for (int64_t g = first; g < first + count; ++g) {
      const int64_t n = groups.size[g];
      const T* from = products + at;
      if (s.layer_norm) {
        kept_scale[g] = normalise(from, n, s.eps, kept + at);
        from = kept + at;
      }
      each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
        Vec<T> v = get(from + j);
        if (s.layer_norm) v *= get(gain + at + j);
        if (bias) v += get(bias + at + j);
        put(to + at + j, v);
      });
      at += n;
    }
  }

  void step(int64_t t, int64_t t0, int64_t i0, int64_t i1, const Work& m) const {
    const int64_t rows = i1 - i0, row0 = order.first[t] + i0, H = s.H, P = s.P;
    const T* seen = h + i0 * P;
    if (s.drop > 0) {
      each_vector<T>(rows * P, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
        put(m.seen + j, get(seen + j) * get(m.mask + j));
      });
      seen = m.seen;
    }
    multiply(w, seen, P, rows, m.u);
    for (int64_t r = 0; r < rows; ++r) {
      const NormRow<T> kept(s, s.saves ? saved.norms : m.norms, s.saves ? row0 + r : 0);
      const T* x = inputs + (row0 + r - order.first[t0]) * input_stride;
      T *ax = m.ax + r * GH, *ah = m.u + r * w.width;
      side(x, in.norm_ih, in.b_ih, 0, groups.count, kept.x, kept.x_scale, ax);
      side(ah, in.norm_hh, in.b_hh, 0, before() ? 1 : groups.count, kept.h, kept.h_scale, ah);
      Gates<T> p = gates_of(t, i0, r, m);
      p.ax = ax, p.ah = ah;
      switch (s.cell) {
        case RnnCell::kLstm:
          lstm_gates(p, H);
          break;
        case RnnCell::kGru:
          gru_r_z(p, H);
          gru_n(p, H, true);
          break;
        case RnnCell::kGruBefore:
          gru_r_z(p, H);
          each_vector<T>(P, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
            put(m.seen + r * P + j, get(seen + r * P + j) * get(p.gates + j));
          });
          break;
        default:
          rnn_gate(p, H, s.cell == RnnCell::kRelu);
      }
      if (s.cell == RnnCell::kLstm) finish_c(t, i0, r, m);
    }
    if (before()) {
      multiply(w_n, m.seen, P, rows, m.u_n);
      for (int64_t r = 0; r < rows; ++r) {
        const NormRow<T> kept(s, s.saves ? saved.norms : m.norms, s.saves ? row0 + r : 0);
        T* u_n = m.u_n + r * w_n.width - 2 * H;  // as if r and z lay in front of it
        side(u_n, in.norm_hh, in.b_hh, 1, 1, kept.h, kept.h_scale, u_n);
        Gates<T> p = gates_of(t, i0, r, m);
        p.ax = m.ax + r * GH, p.ah = u_n;
        gru_n(p, H, false);
      }
    }
    const T* made = m.h_new;
    int64_t stride = H;
    if (s.projects) {
      multiply(w_r, m.h_new, H, rows, m.h_out);
      made = m.h_out, stride = w_r.width;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t place = order.place[row0 + r];
      T *state = h + (i0 + r) * P, *to = y + place * P;
      copy_numbers(made + r * stride, P, to);
      if (zoned()) {
        kept_of_h(s, place, m.keep);
        keep_share(m.keep, state, P, to);
      }
      copy_numbers(to, P, state);
    }
  }

  Gates<T> gates_of(int64_t t, int64_t i0, int64_t r, const Work& m) const {
    const int64_t row = order.first[t] + i0 + r;
    Gates<T> p;
    p.h = h + (i0 + r) * s.P;
    p.c = c + (i0 + r) * s.H;
    p.peephole = in.peephole;
    p.gates = s.saves ? saved.gates + row * s.gate_stride : m.gates + r * 4 * s.H;
    p.c_new = m.c_new;
    p.h_new = m.h_new + r * s.H;
    return p;
  }

  void finish_c(int64_t t, int64_t i0, int64_t r, const Work& m) const {
    const int64_t row = order.first[t] + i0 + r;
    T* state = c + (i0 + r) * s.H;
    if (zoned()) {
      kept_of_c(s, order.place[row], m.keep);
      keep_share(m.keep, state, s.H, m.c_new);
    }
    copy_numbers(m.c_new, s.H, state);
    if (s.saves) copy_numbers(m.c_new, s.H, saved.cells + row * s.H);
  }

  void begin(Ctx& ctx) {
    for (int64_t r = 0; r < s.rows; ++r) x_at[r] = in.x + order.place[r] * s.I;
    for (int64_t i = 0; i < s.N; ++i) {
      const int64_t n = order.slot[i];
      copy_numbers(in.h0 ? in.h0 + n * s.P : nullptr, s.P, h + i * s.P);
      copy_numbers(in.c0 ? in.c0 + n * s.H : nullptr, s.H, c + i * s.H);
    }
    w = pack_lines(ctx, in.w_hh, before() ? 2 * s.H : GH, s.P, s.P, 1, packed);
    if (before()) w_n = pack_lines(ctx, in.w_hh + 2 * s.H * s.P, s.H, s.P, s.P, 1, packed_n);
    if (s.projects) w_r = pack_lines(ctx, in.w_hr, s.P, s.H, s.H, 1, packed_r);
  }

  void steps(Ctx& ctx, int64_t t0, int64_t t1) const {
    const PickedLines<T> x = {x_at + order.first[t0]};
    const Strided<T> w_ih = {in.w_ih, s.I, 1, false};
    gemm<T>(ctx, with_rows(project, order.first[t1] - order.first[t0]), x, w_ih,
            {inputs, input_stride, 1, T(1), T(0)});
    parallel_for(ctx, ceil_div(s.N, block), 1, [&](int64_t begin, int64_t end, int worker) {
      const Work m(*this, worker_scratch<T>(ctx, worker));
      for (int64_t i0 = begin * block; i0 < min64(s.N, end * block); i0 += block) {
        for (int64_t i = i0; s.drop > 0 && i < min64(s.N, i0 + block); ++i) {
          recurrent_mask(s, order.slot[i], m.mask + (i - i0) * s.P);
        }
        for (int64_t t = t0; t < t1 && order.live[t] > i0; ++t) {
          step(t, t0, i0, min64(order.live[t], i0 + block), m);
        }
      }
    });
  }

  void end(T* hn, T* cn) const {
    for (int64_t i = 0; i < s.N; ++i) {
      const int64_t n = order.slot[i], length = in.lengths ? in.lengths[n] : s.T;
      copy_numbers<T>(nullptr, (s.T - length) * s.P, y + (n * s.T + length) * s.P);
      copy_numbers(h + i * s.P, s.P, hn + n * s.P);
      if (s.cell == RnnCell::kLstm) copy_numbers(c + i * s.H, s.H, cn + n * s.H);
    }
  }
};

}  // namespace

template <class T>
Plan rnn_variant_forward_plan(const RnnShape& s) {
  const RnnInputs<T> in = {};
  const RnnSaved<T> saved = {};
  const VariantForward<T> f(s, in, saved, nullptr, nullptr);
  Plan p = {};
  p.algorithm = "rows, part by part";
  p.why = "variants go through each step one part after the other, sequences in parallel";
  p.tile[0] = f.block, p.tile[1] = kTileColumns<T>, p.tile[2] = f.chunk;
  p.shared_bytes = f.scratch_bytes + gemm_shared_bytes(f.project);
  p.worker_bytes = max64(f.worker_numbers * int64_t(sizeof(T)), gemm_worker_bytes(f.project));
  const double rows = double(s.rows), GH = double(f.GH), H = double(s.H), I = double(s.I);
  const double P = double(s.P);
  p.flops = 2 * rows * (GH * (I + P) + (s.projects ? H * P : 0));
  const double kept = s.saves ? double(s.gate_stride + s.norm_stride) : 0;
  p.bytes = sizeof(T) * (rows * (I + P + kept) + GH * (I + P + 2));
  return p;
}

template <class T>
void rnn_variant_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in,
                         const RnnSaved<T>& saved, T* y, T* hn, T* cn) {
  VariantForward<T> f(s, in, saved, y, ctx.shared);
  Ctx rest = ctx;
  rest.shared += f.scratch_bytes;
  f.begin(rest);
  for (int64_t t0 = 0; t0 < s.steps; t0 += f.chunk) {
    f.steps(rest, t0, min64(s.steps, t0 + f.chunk));
  }
  f.end(hn, cn);
}

HL_DEFINE_KERNEL(rnn_variant_forward);

}  // namespace hl::cpu::HL_ISA
