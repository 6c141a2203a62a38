#include "kernel.h"
#include "ops/rnn/cut.h"
#include "ops/rnn/gradients.h"
#include "ops/rnn/operands.h"
#include "ops/rnn/single.h"

namespace hl::cpu::HL_ISA {
namespace {

// What the steps of one call share.
template <class T>
struct Backward {
  const RnnShape& s;
  const T *dy, *dhn;
  const RnnInputs<T>& in;
  const RnnSaved<T>& saved;
  const T* y;
  const RnnGradients<T>& out;
  RnnCut k;
  Deriver<T> derive;
  Order order;
  const T **x_at, **h_at;  // each row of x and of h_(t-1)
  T* packed;
  T* carry;      // (N, H) by slot
  T* c_first;    // (N, H) by slot: c0
  T* d;          // da of a chunk
  T* d_after;    // da of the first step after the chunk
  T* dx_rows;    // dx of a chunk, in the order of the rows
  T* bias_sums;  // (blocks H)
  GemmCut to_x, to_w_ih, to_w_hh;
  GemvCut to_bias;
  int64_t scratch_bytes;
  Panels<T> w;

  static constexpr int64_t W = kTileColumns<T>;

  Backward(const RnnShape& shape, const T* dy_in, const T* dhn_in, const RnnInputs<T>& given,
           const RnnSaved<T>& kept, const T* result, const RnnGradients<T>& wanted,
           unsigned char* memory)
      : s(shape),
        dy(dy_in),
        dhn(dhn_in),
        in(given),
        saved(kept),
        y(result),
        out(wanted),
        k(rnn_cut<T>(shape, shape.H)) {
    const int64_t G = k.gates, GH = G * s.H, size = sizeof(T);
    const int64_t chunk_rows = min64(s.rows, k.chunk * s.N);
    derive = deriver<T>(s.cell);
    Scratch m = {memory, 0};
    unsigned char* for_order = m.take<unsigned char>(order_bytes(s));
    if (memory) order = make_order(s, in.lengths, for_order);
    x_at = m.take<const T*>(s.rows);
    h_at = m.take<const T*>(s.rows);
    packed = m.take<T>(panels_bytes<T>(s.H, s.H, G) / size);
    carry = m.take<T>(s.N * s.H);
    c_first = s.cell == RnnCell::kLstm ? m.take<T>(s.N * s.H) : nullptr;
    d = m.take<T>(chunk_rows * k.d_stride);
    d_after = m.take<T>(s.N * k.d_stride);
    dx_rows = m.take<T>(chunk_rows * s.I);
    bias_sums = m.take<T>(k.blocks * s.H);
    const int64_t M = max64(1, chunk_rows);
    to_x = picked_cut<T>(M, s.I, GH, false, reads_in_place<T>(s.I));
    to_w_ih = picked_cut<T>(GH, s.I, M, false);
    to_w_hh = picked_cut<T>(GH, s.H, M, false);
    to_bias = gemv_cut(1, k.blocks * s.H, M, false);
    scratch_bytes = m.used;
  }

  void begin(Ctx& ctx, const T* dcn) {
    for (int64_t t = 0; t < s.steps; ++t) {
      for (int64_t i = 0; i < order.live[t]; ++i) {
        const int64_t row = order.first[t] + i;
        x_at[row] = in.x + order.place[row] * s.I;
        if (t > 0) {
          h_at[row] = y + order.place[order.first[t - 1] + i] * s.H;
        } else {
          h_at[row] = in.h0 ? in.h0 + order.slot[i] * s.H : nullptr;
        }
      }
    }
    parallel_for(ctx, s.N, max64(1, 8192 / s.H), [&](int64_t i0, int64_t i1, int) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t n = order.slot[i] * s.H;
        copy_numbers(dcn ? dcn + n : nullptr, s.H, carry + i * s.H);
        if (s.cell == RnnCell::kLstm) {
          copy_numbers(in.c0 ? in.c0 + n : nullptr, s.H, c_first + i * s.H);
        }
      }
    });
    w = pack_panels_of(ctx, in.w_hh, s.H, s.H, k.gates, s.H * s.H, 1, s.H, s.H, packed);
  }

  // da of step t; t1 is the end of the chunk that begins with t0.
  T* d_at(int64_t t, int64_t t0, int64_t t1) const {
    return t < t1 ? d + (order.first[t] - order.first[t0]) * k.d_stride : d_after;
  }

  // Groups [g0, g1) of slots [i0, i1) at step t.
  void step(int64_t t, int64_t t0, int64_t t1, int64_t i0, int64_t i1, int64_t g0, int64_t g1,
            T* sums) const {
    const int64_t rows = i1 - i0, row = order.first[t] + i0, set = groups_together(rows);
    const int64_t after = max64(0, min64(order.live[t + 1], i1) - i0);
    BackwardBlock<T> b;
    b.rows = rows, b.H = s.H;
    b.s_rows = after, b.s_gate = W, b.parts = k.gates;
    b.dy = b.dhn = b.gates = b.cells = b.cells_before = nullptr;
    b.place = order.place + row, b.slot = order.slot + i0;
    b.h = t > 0 || in.h0 ? h_at + row : nullptr;
    b.gate_rs = s.gate_stride, b.d_rs = k.d_stride;
    for (int64_t g = g0; g < g1; g += set) {
      const int64_t end = min64(g1, g + set);
      b.s_rs = (end - g) * k.gates * W;
      fetch(row, rows, g * W, min64(s.H, end * W));
      if (after > 0) {
        step_products(w, g, end, d_at(t + 1, t0, t1) + i0 * k.d_stride, k.d_stride, after, sums,
                      b.s_rs);
      }
      for (int64_t one = g; one < end; ++one) {
        const int64_t unit = one * W;
        b.unit = unit, b.units = min64(W, s.H - unit);
        b.s = after > 0 ? sums + (one - g) * k.gates * W : nullptr;
        if (dy) b.dy = dy + unit;
        if (dhn) b.dhn = dhn + unit;
        b.y = y + unit;
        if (k.blocks > 1) b.gates = saved.gates + row * s.gate_stride + unit;
        if (s.cell == RnnCell::kLstm) {
          b.cells = saved.cells + row * s.H + unit;
          b.cells_before = t > 0 ? saved.cells + (row - order.live[t - 1]) * s.H + unit
                                 : c_first + i0 * s.H + unit;
        }
        b.carry = carry + i0 * s.H + unit;
        b.d = d_at(t, t0, t1) + i0 * k.d_stride + unit;
        derive(b);
      }
    }
  }

  void fetch(int64_t row, int64_t rows, int64_t u0, int64_t u1) const {
    if (k.blocks == 1) return;
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    for (int64_t r = row; r < row + rows; ++r) {
      const T* gates = saved.gates + r * s.gate_stride;
      for (int64_t block = 0; block < k.blocks; ++block) {
        for (int64_t u = u0; u < u1; u += line) __builtin_prefetch(gates + block * s.H + u);
      }
    }
  }

  // dh0, as if it were a step before the first, and dc0.
  void finish_states(Ctx& ctx, T* dc0) const {
    const int64_t live = s.steps > 0 ? order.live[0] : 0;
    if (out.h0 && live > 0) {
      const T* d_first = d_at(0, 0, k.chunk);
      parallel_for(ctx, k.groups, max64(1, 8192 / (s.H * W)),
                   [&](int64_t begin, int64_t end, int worker) {
                     T* sums = worker_scratch<T>(ctx, worker);
                     for (int64_t g = begin; g < end; ++g) hand_back(d_first, live, g, sums);
                   });
    }
    parallel_for(ctx, s.N, max64(1, 8192 / s.H), [&](int64_t i0, int64_t i1, int) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t n = order.slot[i] * s.H;
        if (out.h0 && i >= live) copy_numbers(dhn ? dhn + n : nullptr, s.H, out.h0 + n);
        if (dc0) copy_numbers(carry + i * s.H, s.H, dc0 + n);
      }
    });
  }

  void hand_back(const T* d_first, int64_t live, int64_t group, T* sums) const {
    constexpr int L = kLanes<T>;
    const int64_t s_rs = k.gates * W, unit = group * W;
    for (int64_t i0 = 0; i0 < live; i0 += k.block) {
      const int64_t i1 = min64(live, i0 + k.block);
      step_products(w, group, group + 1, d_first + i0 * k.d_stride, k.d_stride, i1 - i0, sums,
                    s_rs);
      for (int64_t i = i0; i < i1; ++i) {
        for (int64_t j = 0; j < min64(W, s.H - unit); j += L) {
          const int64_t n = min64(L, s.H - unit - j);
          const T* part = sums + (i - i0) * s_rs + j;
          Vec<T> sum = load(part);
          for (int64_t gate = 1; gate < k.gates; ++gate) sum += load(part + gate * W);
          if (s.cell == RnnCell::kGru) sum += load_n(carry + i * s.H + unit + j, n);
          store_n(out.h0 + order.slot[i] * s.H + unit + j, sum, n);
        }
      }
    }
  }

  // What the rows of a chunk add to the gradients of the weights, and their dx.
  void products(Ctx& ctx, int64_t t0, int64_t t1, T beta) const {
    const int64_t row = order.first[t0], rows = order.first[t1] - row, H = s.H;
    const bool apart = k.blocks > k.gates;  // the GRU's n
    const int64_t x_gates = apart ? 2 * H : k.gates * H;
    const PickedSteps<T> x = {x_at + row};
    if (out.w_ih) {
      add_product(ctx, with_steps(with_rows(to_w_ih, x_gates), rows), d, x, beta, s.I, out.w_ih);
      if (apart) {
        add_product(ctx, with_steps(with_rows(to_w_ih, H), rows), d + 3 * H, x, beta, s.I,
                    out.w_ih + 2 * H * s.I);
      }
    }
    if (out.w_hh) {
      // Without h0 the first step has no h_(t-1).
      const int64_t skip = t0 == 0 && !in.h0 ? order.live[0] : 0;
      const PickedSteps<T> h = {h_at + row + skip};
      if (rows > skip) {
        add_product(ctx, with_steps(to_w_hh, rows - skip), d + skip * k.d_stride, h, beta, H,
                    out.w_hh);
      }
    }
    if (out.b_ih || out.b_hh) {
      sum_rows(ctx, to_bias, rows, d, k.d_stride, beta, bias_sums);
    }
    if (out.x) {
      const RowScatter<T> scatter = {dx_rows, s.I, out.x, order.place + row};
      const Epilogue last = {&RowScatter<T>::apply, &scatter};
      const Output<T> to = {dx_rows, s.I, 1, T(1), T(0)};
      GemmCut cut = with_rows(to_x, rows);
      const bool direct = reads_in_place<T>(s.I);
      const Strided<T> da = {d, k.d_stride, 1, direct};
      if (apart) {
        gemm<T>(ctx, with_steps(cut, 2 * H), da, Strided<T>{in.w_ih, 1, s.I, false}, to);
        gemm<T>(ctx, with_steps(cut, H), Strided<T>{d + 3 * H, k.d_stride, 1, direct},
                Strided<T>{in.w_ih + 2 * H * s.I, 1, s.I, false}, {dx_rows, s.I, 1, T(1), T(1)},
                &last);
      } else {
        gemm<T>(ctx, cut, da, Strided<T>{in.w_ih, 1, s.I, false}, to, &last);
      }
    }
  }

  void add_product(Ctx& ctx, const GemmCut& cut, const T* da, const PickedSteps<T>& other, T beta,
                   int64_t columns, T* to) const {
    const Strided<T> left = {da, 1, k.d_stride, false};
    gemm<T>(ctx, cut, left, other, {to, columns, 1, T(1), beta});
  }

  void end(Ctx& ctx) const {
    spread_biases(s, bias_sums, out);
    if (!out.x || !in.lengths) return;
    parallel_for(ctx, s.N, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t n = begin; n < end; ++n) {
        const int64_t length = in.lengths[n];
        copy_numbers<T>(nullptr, (s.T - length) * s.I, out.x + (n * s.T + length) * s.I);
      }
    });
  }
};

}  // namespace

template <class T>
Plan rnn_backward_plan(const RnnShape& s) {
  const RnnInputs<T> in = {};
  const RnnSaved<T> saved = {};
  const RnnGradients<T> out = {};
  const RnnCut k = rnn_cut<T>(s, s.H);
  Plan p = {};
  p.algorithm = way_name(k), p.why = way_reason(k);
  p.tile[0] = k.block, p.tile[1] = kTileColumns<T>, p.tile[2] = k.chunk;
  if (k.way == Way::kSingle && s.N > 0) {
    single_backward_scratch<T>(s, p);
  } else {
    const Backward<T> b(s, nullptr, nullptr, in, saved, nullptr, out, nullptr);
    p.shared_bytes = gemv_shared_bytes<T>(b.to_bias);
    p.worker_bytes = k.sums * int64_t(sizeof(T));
    const GemmCut cuts[] = {b.to_x, b.to_w_ih, b.to_w_hh};
    for (const GemmCut& cut : cuts) {
      p.shared_bytes = max64(p.shared_bytes, gemm_shared_bytes(cut));
      p.worker_bytes = max64(p.worker_bytes, gemm_worker_bytes(cut));
    }
    p.shared_bytes += b.scratch_bytes;
  }
  const double rows = double(s.rows), G = double(k.gates), H = double(s.H), I = double(s.I);
  p.flops = 4 * rows * G * H * (I + H);
  p.bytes = sizeof(T) * (rows * (2 * I + 2 * H + double(s.gate_stride)) + 2 * G * H * (I + H + 2));
  return p;
}

template <class T>
void rnn_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                  const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                  const RnnGradients<T>& out) {
  if (rnn_cut<T>(s, s.H).way == Way::kSingle && s.N > 0) {
    return single_backward(ctx, s, dy, dhn, dcn, in, saved, y, out);
  }
  Backward<T> b(s, dy, dhn, in, saved, y, out, ctx.shared);
  Ctx rest = ctx;
  rest.shared += b.scratch_bytes;
  if (s.rows == 0) zero_weight_gradients(s, b.bias_sums, out);
  if (s.steps <= 1 && !in.h0 && out.w_hh) {
    copy_numbers<T>(nullptr, b.k.gates * s.H * s.H, out.w_hh);
  }
  b.begin(rest, dcn);
  const int64_t chunk = b.k.chunk, last = s.steps > 0 ? (s.steps - 1) / chunk * chunk : -1;
  for (int64_t t0 = last; t0 >= 0; t0 -= chunk) {
    const int64_t t1 = min64(s.steps, t0 + chunk);
    if (t0 < last) {
      copy_numbers(b.d, b.order.live[t1] * b.k.d_stride, b.d_after);
    }
    share_steps(rest, b.k, b.order, s.N, t0, t1, Direction::kDown,
                [&](int64_t t, int64_t i0, int64_t i1, int64_t g0, int64_t g1, int worker) {
                  b.step(t, t0, t1, i0, i1, g0, g1, worker_scratch<T>(rest, worker));
                });
    b.products(rest, t0, t1, T(t0 < last));
  }
  b.finish_states(rest, out.c0);
  b.end(rest);
}

HL_DEFINE_KERNEL(rnn_backward);

}  // namespace hl::cpu::HL_ISA
