#include "cpu/simd/math.h"
#include "kernel.h"
#include "ops/rnn/gradients.h"
#include "ops/rnn/operands.h"
#include "ops/rnn/variant.h"

namespace hl::cpu::HL_ISA {
namespace {

// Where a row of gradients has what. `sums` come first: what is only added up over all rows.
struct DRow {
  int64_t ax, ah;          // at the biases: of w_ih x, of w_hh h
  int64_t gain_x, gain_h;  // what the gains of the norms get
  int64_t peephole;        // what the peepholes get
  int64_t sums;            // how many so far
  int64_t dx, dh;          // at the products
  int64_t stride;

  DRow(const RnnShape& s, int64_t size) {
    const int64_t GH = product_gates(s.cell) * s.H;
    ax = 0, ah = GH;
    int64_t end = 2 * GH;
    gain_x = end, gain_h = end + GH;
    if (s.layer_norm) end += 2 * GH;
    peephole = end;
    if (s.peephole) end += 3 * s.H;
    sums = end;
    dx = s.layer_norm ? end : ax, dh = s.layer_norm ? end + GH : ah;
    if (s.layer_norm) end += 2 * GH;
    stride = odd_lines(end, size);
  }
};

// One sequence at one step; d is its row of gradients.
template <class T>
struct GateGradients {
  const T* dh;               // of h before projection and zoneout
  const T *gates, *h, *c;    // h and c before the step; null: zero
  const T *peephole, *kept;  // kept: the share of c, or null
  T *carry_h, *carry_c;
  T *d, *out;  // out: o tanh(c), or null
};

template <class T>
void lstm_gradients(const GateGradients<T>& p, const DRow& at, int64_t H) {
  using V = Vec<T>;
  each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const V one = set1(T(1));
    const V i = get(p.gates + j), f = get(p.gates + H + j);
    const V g = get(p.gates + 2 * H + j), o = get(p.gates + 3 * H + j);
    const V before = p.c ? get(p.c + j) : zero<T>();
    const V c = fma(f, before, i * g), t = tanh(c);
    const V dh = get(p.dh + j), zo = dh * t * (o * (one - o));
    const V carried = get(p.carry_c + j);
    const V share = p.kept ? get(p.kept + j) : zero<T>();
    V dc = fma(dh * o, fma(-t, t, one), carried * (one - share));
    if (p.peephole) dc = fma(zo, get(p.peephole + 2 * H + j), dc);
    const V zi = dc * g * (i * (one - i)), zf = dc * before * (f * (one - f));
    const V zg = dc * i * fma(-g, g, one);
    V back = fma(dc, f, carried * share);
    if (p.peephole) {
      back = fma(zi, get(p.peephole + j), fma(zf, get(p.peephole + H + j), back));
      put(p.d + at.peephole + j, zi * before);
      put(p.d + at.peephole + H + j, zf * before);
      put(p.d + at.peephole + 2 * H + j, zo * c);
    }
    put(p.carry_c + j, back);
    if (p.out) put(p.out + j, o * t);
    const V z[] = {zi, zf, zg, zo};
#pragma GCC unroll 4
    for (int64_t gate = 0; gate < 4; ++gate) {
      put(p.d + at.ax + gate * H + j, z[gate]);
      put(p.d + at.ah + gate * H + j, z[gate]);
    }
  });
}

// `after`: with r in front of u_n. Else r waits for the product with w_hn.
template <class T>
void gru_gradients(const GateGradients<T>& p, const DRow& at, int64_t H, bool after) {
  using V = Vec<T>;
  each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const V one = set1(T(1));
    const V r = get(p.gates + j), z = get(p.gates + H + j);
    const V n = get(p.gates + 2 * H + j), u = get(p.gates + 3 * H + j);
    const V h = p.h ? get(p.h + j) : zero<T>(), dh = get(p.dh + j);
    const V zz = dh * (h - n) * (z * (one - z)), zn = dh * (one - z) * fma(-n, n, one);
    put(p.carry_h + j, fma(dh, z, get(p.carry_h + j)));
    put(p.d + at.ax + H + j, zz), put(p.d + at.ah + H + j, zz);
    put(p.d + at.ax + 2 * H + j, zn);
    put(p.d + at.ah + 2 * H + j, after ? zn * r : zn);
    if (after) {
      const V zr = zn * u * (r * (one - r));
      put(p.d + at.ax + j, zr), put(p.d + at.ah + j, zr);
    }
  });
}

template <class T>
void rnn_gradient(const GateGradients<T>& p, const DRow& at, int64_t H, bool relu) {
  each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
    const Vec<T> h = get(p.gates + j), dh = get(p.dh + j);
    const Vec<T> z = relu ? select(h <= zero<T>(), zero<T>(), dh) : dh * fma(-h, h, set1(T(1)));
    put(p.d + at.ax + j, z), put(p.d + at.ah + j, z);
  });
}

template <class T>
struct VariantBackward {
  const RnnShape& s;
  const T* dy;
  const RnnInputs<T>& in;
  const RnnSaved<T>& saved;
  const T* y;
  const RnnGradients<T>& out;
  int64_t G, GH, block, chunk, scratch_bytes, worker_numbers;
  DRow at;
  NormGroups groups;
  Order order;
  const T** x_at;
  T *carry_h, *carry_c;    // (N, P), (N, H) by slot
  T *d, *seen, *seen_n;    // rows of a chunk: gradients, what w_hh and w_hn saw of h
  T *dh, *made, *dx_rows;  // dh before the projection, o tanh(c), dx
  T* sums;
  T *packed, *packed_n, *packed_r;
  Lines<T> w, w_n, w_r;
  GemmCut to_x, to_w_ih, to_w_hh, to_w_hr;
  GemvCut to_sums;

  VariantBackward(const RnnShape& shape, const T* dy_in, const RnnInputs<T>& given,
                  const RnnSaved<T>& kept, const T* result, const RnnGradients<T>& wanted,
                  unsigned char* memory)
      : s(shape), dy(dy_in), in(given), saved(kept), y(result), out(wanted), at(shape, sizeof(T)) {
    G = product_gates(s.cell), GH = G * s.H;
    block = variant_block(s);
    chunk = max64(1, kChunkBytes / max64(1, s.N * at.stride * int64_t(sizeof(T))));
    const int64_t rows = min64(s.rows, chunk * s.N), M = max64(1, rows);
    groups = norm_groups(s);
    Scratch m = {memory, 0};
    unsigned char* for_order = m.take<unsigned char>(order_bytes(s));
    if (memory) order = make_order(s, in.lengths, for_order);
    x_at = m.take<const T*>(s.rows);
    carry_h = m.take<T>(s.N * s.P);
    carry_c = m.take<T>(s.N * s.H);
    d = m.take<T>(rows * at.stride);
    seen = m.take<T>(rows * s.P);
    seen_n = m.take<T>(before() ? rows * s.P : 0);
    dh = m.take<T>(rows * s.P);
    made = m.take<T>(s.projects ? rows * s.H : 0);
    dx_rows = m.take<T>(rows * s.I);
    sums = m.take<T>(at.sums);
    packed = m.take<T>(lines_numbers<T>(s.P, before() ? 2 * s.H : GH));
    packed_n = m.take<T>(before() ? lines_numbers<T>(s.P, s.H) : 0);
    packed_r = m.take<T>(s.projects ? lines_numbers<T>(s.H, s.P) : 0);
    to_x = picked_cut<T>(M, s.I, GH, false);
    to_w_ih = picked_cut<T>(GH, s.I, M, false);
    to_w_hh = picked_cut<T>(GH, s.P, M, false);
    to_w_hr = picked_cut<T>(s.P, s.H, M, false);
    to_sums = gemv_cut(1, at.sums, M, false);
    scratch_bytes = m.used;
    worker_numbers = Work(*this, nullptr).used;
  }

  bool before() const { return s.cell == RnnCell::kGruBefore; }

  // A task's memory.
  struct Work {
    T *mask, *kept, *dm, *back;
    int64_t used;

    Work(const VariantBackward& f, T* base) : used(0) {
      const RnnShape& s = f.s;
      auto take = [&](int64_t n) {
        T* p = base ? base + used : nullptr;
        used += round_up(n, 16);
        return p;
      };
      mask = take(f.block * s.P), kept = take(max64(s.P, s.H));
      dm = take(f.block * lines_width<T>(s.H)), back = take(f.block * lines_width<T>(s.P));
    }
  };

  // dh of a row through zoneout, into dh and the carry; what w_hh saw; where there is none, zero.
  void open_row(int64_t i, int64_t row, int64_t row0, const T* h, const Work& m, int64_t r) const {
    const int64_t P = s.P, place = order.place[row];
    T *carry = carry_h + i * P, *to = dh + (row - row0) * P, *seen_to = seen + (row - row0) * P;
    const bool zoned = s.zoneout != Zoneout::kNone;
    if (zoned) kept_of_h(s, place, m.kept);
    each_vector<T>(P, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
      Vec<T> g = get(carry + j);
      if (dy) g += get(dy + place * P + j);
      const Vec<T> share = zoned ? get(m.kept + j) : zero<T>();
      put(to + j, g * (set1(T(1)) - share));
      put(carry + j, g * share);
      Vec<T> v = h ? get(h + j) : zero<T>();
      if (s.drop > 0) v *= get(m.mask + r * P + j);
      put(seen_to + j, v);
    });
  }

  // Through the norm of one side of a row, for gate groups [first, last).
  void norm_side(const T* dz, const T* gain, const T* kept, const T* scale, int64_t first,
                 int64_t last, T* gain_row, T* to) const {
    int64_t from = first == 0 ? 0 : groups.size[0];
    for (int64_t g = first; g < last; ++g) {
      const int64_t n = groups.size[g];
      each_vector<T>(n, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
        put(gain_row + from + j, get(dz + from + j) * get(kept + from + j));
      });
      normalise_backward(dz + from, gain + from, kept + from, scale[g], n, to + from);
      from += n;
    }
  }

  void norm_row(int64_t row, T* d_row, int64_t first, int64_t last, bool x_side) const {
    if (!s.layer_norm) return;
    const NormRow<T> kept(s, saved.norms, row);
    norm_side(d_row + at.ah, in.norm_hh, kept.h, kept.h_scale, first, last, d_row + at.gain_h,
              d_row + at.dh);
    if (!x_side) return;
    norm_side(d_row + at.ax, in.norm_ih, kept.x, kept.x_scale, 0, groups.count, d_row + at.gain_x,
              d_row + at.dx);
  }

  // carry += mask * from
  void add_back(const T* from, const T* mask, T* carry) const {
    each_vector<T>(s.P, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
      const Vec<T> v = get(from + j);
      put(carry + j, get(carry + j) + (s.drop > 0 ? v * get(mask + j) : v));
    });
  }

  void step(int64_t t, int64_t t0, int64_t i0, int64_t i1, const Work& m) const {
    const int64_t rows = i1 - i0, first = order.first[t] + i0, row0 = order.first[t0];
    const int64_t H = s.H, P = s.P;
    auto h_before = [&](int64_t i) -> const T* {
      if (t > 0) return y + order.place[order.first[t - 1] + i] * P;
      return in.h0 ? in.h0 + order.slot[i] * P : nullptr;
    };
    for (int64_t r = 0; r < rows; ++r) {
      open_row(i0 + r, first + r, row0, h_before(i0 + r), m, r);
    }
    const T* dm = dh + (first - row0) * P;
    int64_t dm_stride = P;
    if (s.projects) {
      multiply(w_r, dm, P, rows, m.dm);
      dm = m.dm, dm_stride = w_r.width;
    }
    T* d_first = d + (first - row0) * at.stride;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = i0 + r, row = first + r;
      GateGradients<T> p;
      p.dh = dm + r * dm_stride;
      p.gates = saved.gates + row * s.gate_stride;
      p.h = h_before(i);
      p.c = nullptr;
      p.peephole = in.peephole;
      p.kept = nullptr;
      p.carry_h = carry_h + i * P, p.carry_c = carry_c + i * H;
      p.d = d_first + r * at.stride;
      p.out = s.projects ? made + (row - row0) * H : nullptr;
      switch (s.cell) {
        case RnnCell::kLstm:
          if (t > 0) {
            p.c = saved.cells + (row - order.live[t - 1]) * H;
          } else if (in.c0) {
            p.c = in.c0 + order.slot[i] * H;
          }
          if (s.zoneout != Zoneout::kNone) {
            kept_of_c(s, order.place[row], m.kept);
            p.kept = m.kept;
          }
          lstm_gradients(p, at, H);
          break;
        case RnnCell::kGru:
        case RnnCell::kGruBefore:
          gru_gradients(p, at, H, !before());
          break;
        default:
          rnn_gradient(p, at, H, s.cell == RnnCell::kRelu);
      }
      norm_row(row, p.d, before() ? 1 : 0, groups.count, !before());
    }
    if (before()) through_reset(first, row0, rows, i0, d_first, m);
    multiply(w, d_first + at.dh, at.stride, rows, m.back);
    for (int64_t r = 0; r < rows; ++r) {
      add_back(m.back + r * w.width, m.mask + r * P, carry_h + (i0 + r) * P);
    }
  }

  // The GRU with its reset in front: r scales h before w_hn sees it.
  void through_reset(int64_t first, int64_t row0, int64_t rows, int64_t i0, T* d_first,
                     const Work& m) const {
    const int64_t H = s.H;
    multiply(w_n, d_first + at.dh + 2 * H, at.stride, rows, m.back);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = first + r;
      const T *gate = saved.gates + row * s.gate_stride, *h = seen + (row - row0) * H;
      T *d_row = d_first + r * at.stride, *back = m.back + r * w_n.width;
      T* to = seen_n + (row - row0) * H;
      each_vector<T>(H, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
        const Vec<T> reset = get(gate + j), v = get(h + j), db = get(back + j);
        const Vec<T> z = db * v * (reset * (set1(T(1)) - reset));
        put(d_row + at.ax + j, z), put(d_row + at.ah + j, z);
        put(to + j, reset * v);
        put(back + j, db * reset);
      });
      add_back(back, m.mask + r * H, carry_h + (i0 + r) * H);
      norm_row(row, d_row, 0, 1, true);
    }
  }

  void begin(Ctx& ctx, const T* dhn, const T* dcn) {
    for (int64_t r = 0; r < s.rows; ++r) x_at[r] = in.x + order.place[r] * s.I;
    for (int64_t i = 0; i < s.N; ++i) {
      const int64_t n = order.slot[i];
      copy_numbers(dhn ? dhn + n * s.P : nullptr, s.P, carry_h + i * s.P);
      copy_numbers(dcn ? dcn + n * s.H : nullptr, s.H, carry_c + i * s.H);
    }
    w = pack_lines(ctx, in.w_hh, s.P, before() ? 2 * s.H : GH, 1, s.P, packed);
    if (before()) w_n = pack_lines(ctx, in.w_hh + 2 * s.H * s.P, s.P, s.H, 1, s.P, packed_n);
    if (s.projects) w_r = pack_lines(ctx, in.w_hr, s.H, s.P, 1, s.H, packed_r);
  }

  void steps(Ctx& ctx, int64_t t0, int64_t t1) const {
    parallel_for(ctx, ceil_div(s.N, block), 1, [&](int64_t begin, int64_t end, int worker) {
      const Work m(*this, worker_scratch<T>(ctx, worker));
      for (int64_t i0 = begin * block; i0 < min64(s.N, end * block); i0 += block) {
        for (int64_t i = i0; s.drop > 0 && i < min64(s.N, i0 + block); ++i) {
          recurrent_mask(s, order.slot[i], m.mask + (i - i0) * s.P);
        }
        for (int64_t t = t1 - 1; t >= t0; --t) {
          const int64_t i1 = min64(order.live[t], i0 + block);
          if (i0 < i1) step(t, t0, i0, i1, m);
        }
      }
    });
  }

  // to (+)= rows^T other, both with the rows of the chunk.
  void add_product(Ctx& ctx, const GemmCut& cut, const T* rows, int64_t stride, const T* other,
                   int64_t columns, T beta, T* to) const {
    gemm<T>(ctx, cut, Strided<T>{rows, 1, stride, false}, Strided<T>{other, 1, columns, false},
            {to, columns, 1, T(1), beta});
  }

  void products(Ctx& ctx, int64_t t0, int64_t t1, T beta) const {
    const int64_t row = order.first[t0], rows = order.first[t1] - row, H = s.H, P = s.P;
    sum_rows(ctx, to_sums, rows, d, at.stride, beta, sums);
    if (out.w_ih) {
      gemm<T>(ctx, with_steps(to_w_ih, rows), Strided<T>{d + at.dx, 1, at.stride, false},
              PickedSteps<T>{x_at + row}, {out.w_ih, s.I, 1, T(1), beta});
    }
    if (out.w_hh) {
      const GemmCut cut = with_steps(to_w_hh, rows);
      const int64_t lines = before() ? 2 * H : GH;
      add_product(ctx, with_rows(cut, lines), d + at.dh, at.stride, seen, P, beta, out.w_hh);
      if (before()) {
        add_product(ctx, with_rows(cut, H), d + at.dh + 2 * H, at.stride, seen_n, P, beta,
                    out.w_hh + 2 * H * P);
      }
    }
    if (out.w_hr) {
      add_product(ctx, with_steps(to_w_hr, rows), dh, P, made, H, beta, out.w_hr);
    }
    if (out.x) {
      const RowScatter<T> scatter = {dx_rows, s.I, out.x, order.place + row};
      const Epilogue last = {&RowScatter<T>::apply, &scatter};
      gemm<T>(ctx, with_rows(to_x, rows), Strided<T>{d + at.dx, at.stride, 1, false},
              Strided<T>{in.w_ih, 1, s.I, false}, {dx_rows, s.I, 1, T(1), T(0)}, &last);
    }
  }

  void end() const {
    for (int64_t i = 0; i < s.N; ++i) {
      const int64_t n = order.slot[i], length = in.lengths ? in.lengths[n] : s.T;
      if (out.h0) copy_numbers(carry_h + i * s.P, s.P, out.h0 + n * s.P);
      if (out.c0) copy_numbers(carry_c + i * s.H, s.H, out.c0 + n * s.H);
      if (out.x) {
        copy_numbers<T>(nullptr, (s.T - length) * s.I, out.x + (n * s.T + length) * s.I);
      }
    }
    struct Part {
      T* to;
      int64_t from, n;
    };
    const Part parts[] = {{out.b_ih, at.ax, GH},
                          {out.b_hh, at.ah, GH},
                          {out.norm_ih, at.gain_x, GH},
                          {out.norm_hh, at.gain_h, GH},
                          {out.peephole, at.peephole, 3 * s.H}};
    for (const Part& part : parts) {
      if (part.to) copy_numbers(s.rows > 0 ? sums + part.from : nullptr, part.n, part.to);
    }
    if (s.rows > 0) return;
    const Part weights[] = {
        {out.w_ih, 0, GH * s.I}, {out.w_hh, 0, GH * s.P}, {out.w_hr, 0, s.P * s.H}};
    for (const Part& part : weights) {
      if (part.to) copy_numbers<T>(nullptr, part.n, part.to);
    }
  }
};

}  // namespace

template <class T>
Plan rnn_variant_backward_plan(const RnnShape& s) {
  const RnnInputs<T> in = {};
  const RnnSaved<T> saved = {};
  const RnnGradients<T> out = {};
  const VariantBackward<T> b(s, nullptr, in, saved, nullptr, out, nullptr);
  Plan p = {};
  p.algorithm = "rows, part by part";
  p.why = "variants go through each step one part after the other, sequences in parallel";
  p.tile[0] = b.block, p.tile[1] = kTileColumns<T>, p.tile[2] = b.chunk;
  p.shared_bytes = gemv_shared_bytes<T>(b.to_sums);
  p.worker_bytes = b.worker_numbers * int64_t(sizeof(T));
  const GemmCut cuts[] = {b.to_x, b.to_w_ih, b.to_w_hh, b.to_w_hr};
  for (const GemmCut& cut : cuts) {
    p.shared_bytes = max64(p.shared_bytes, gemm_shared_bytes(cut));
    p.worker_bytes = max64(p.worker_bytes, gemm_worker_bytes(cut));
  }
  p.shared_bytes += b.scratch_bytes;
  const double rows = double(s.rows), GH = double(b.GH), H = double(s.H), I = double(s.I);
  const double P = double(s.P), kept = double(s.gate_stride + s.norm_stride);
  p.flops = 4 * rows * (GH * (I + P) + (s.projects ? H * P : 0));
  p.bytes = sizeof(T) * (rows * (2 * I + 2 * P + kept) + 2 * GH * (I + P + 2));
  return p;
}

template <class T>
void rnn_variant_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                          const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                          const RnnGradients<T>& out) {
  VariantBackward<T> b(s, dy, in, saved, y, out, ctx.shared);
  Ctx rest = ctx;
  rest.shared += b.scratch_bytes;
  b.begin(rest, dhn, dcn);
  const int64_t last = s.steps > 0 ? (s.steps - 1) / b.chunk * b.chunk : -1;
  for (int64_t t0 = last; t0 >= 0; t0 -= b.chunk) {
    const int64_t t1 = min64(s.steps, t0 + b.chunk);
    b.steps(rest, t0, t1);
    b.products(rest, t0, t1, T(t0 < last));
  }
  b.end();
}

HL_DEFINE_KERNEL(rnn_variant_backward);

}  // namespace hl::cpu::HL_ISA
