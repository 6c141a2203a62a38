#include "kernel.h"
#include "ops/rnn/cut.h"
#include "ops/rnn/operands.h"
#include "ops/rnn/single.h"

namespace hl::cpu::HL_ISA {
namespace {

// What the steps of one call share.
template <class T>
struct Forward {
  const RnnShape& s;
  const RnnInputs<T>& in;
  const RnnSaved<T>& saved;
  T* y;
  RnnCut k;
  GemmCut project;  // w_ih x of a chunk
  Finisher<T> finish;
  Order order;
  const T** x_at;  // each row of x
  T *packed, *packed_x, *bias;
  T *h[2], *c;  // by slot; even steps find h_(t-1) in h[0]
  T* inputs;    // w_ih x of a chunk, unless it lies where the gates will be saved
  int64_t input_stride, scratch_bytes;
  Panels<T> w, wx;

  static constexpr int64_t W = kTileColumns<T>;

  Forward(const RnnShape& shape, const RnnInputs<T>& given, const RnnSaved<T>& kept, T* result,
          unsigned char* memory)
      : s(shape), in(given), saved(kept), y(result), k(rnn_cut<T>(shape, shape.H)) {
    const int64_t G = k.gates, GH = G * s.H, size = sizeof(T);
    const int64_t chunk_rows = min64(s.rows, k.chunk * s.N);
    finish = finisher<T>(s.cell);
    Scratch m = {memory, 0};
    unsigned char* for_order = m.take<unsigned char>(order_bytes(s));
    if (memory) order = make_order(s, in.lengths, for_order);
    x_at = m.take<const T*>(s.rows);
    bias = m.take<T>(k.blocks * s.H);
    for (T*& state : h) state = m.take<T>(s.N * k.h_stride);
    c = s.cell == RnnCell::kLstm ? m.take<T>(s.N * s.H) : nullptr;
    packed = m.take<T>(panels_bytes<T>(s.H, s.H, G) / size);
    packed_x = m.take<T>(k.fused ? panels_bytes<T>(s.H, s.I, G) / size : 0);
    input_stride = in_place() ? s.gate_stride : odd_lines(GH, size);
    inputs = m.take<T>(k.fused || in_place() ? 0 : chunk_rows * input_stride);
    project = k.fused ? GemmCut{} : picked_cut<T>(max64(1, chunk_rows), GH, s.I, true);
    scratch_bytes = m.used;
  }

  bool in_place() const { return s.saves && gate_blocks(s.cell) > 1; }

  int64_t worker_bytes() const {
    return (k.fused ? 2 * k.sums + k.block * s.I : k.sums) * int64_t(sizeof(T));
  }

  // w_ih x of the first row of step t, in the chunk that begins with step t0.
  T* inputs_at(int64_t t, int64_t t0) const {
    if (in_place()) return saved.gates + order.first[t] * input_stride;
    return inputs + (order.first[t] - order.first[t0]) * input_stride;
  }

  void make_inputs(Ctx& ctx, int64_t t0, int64_t t1) const {
    const PickedLines<T> x = {x_at + order.first[t0]};
    const Strided<T> w_ih = {in.w_ih, s.I, 1, false};
    gemm<T>(ctx, with_rows(project, order.first[t1] - order.first[t0]), x, w_ih,
            {inputs_at(t0, t0), input_stride, 1, T(1), T(0)});
  }

  // Rows of x at a step: where they are if they are evenly spaced, else copied together.
  const T* rows_of_x(int64_t t, int64_t i0, int64_t i1, T* to, int64_t& stride) const {
    const T* const* at = x_at + order.first[t];
    stride = in.lengths ? s.I : s.T * s.I;
    if (!in.lengths) return at[i0];
    for (int64_t i = i0; i < i1; ++i) copy_numbers(at[i], s.I, to + (i - i0) * s.I);
    return to;
  }

  // The inputs come from far; they are on their way while the products are formed.
  void fetch(const T* x, int64_t rows, int64_t units) const {
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t gate = 0; gate < k.gates; ++gate) {
        for (int64_t u = 0; u < units; u += line) {
          __builtin_prefetch(x + r * input_stride + gate * s.H + u);
        }
      }
    }
  }

  // Groups [g0, g1) of slots [i0, i1) at step t of the chunk that begins with step t0.
  void step(int64_t t, int64_t t0, int64_t i0, int64_t i1, int64_t g0, int64_t g1, T* sums) const {
    const int64_t rows = i1 - i0, set = groups_together(rows), row = order.first[t] + i0;
    const bool has_state = t > 0 || in.h0;
    T* x_sums = sums + k.sums;
    int64_t x_stride = 0;
    const T* x = k.fused ? rows_of_x(t, i0, i1, x_sums + k.sums, x_stride) : nullptr;
    ForwardBlock<T> b;
    b.rows = rows, b.H = s.H;
    b.h_rs = k.h_stride, b.gate_rs = s.gate_stride;
    b.place = order.place + row;
    b.s_gate = W, b.x_gate = k.fused ? W : s.H;
    for (int64_t g = g0; g < g1; g += set) {
      const int64_t end = min64(g1, g + set), s_rs = (end - g) * k.gates * W;
      b.s_rs = s_rs, b.x_rs = k.fused ? s_rs : input_stride;
      const T* inputs_here = k.fused ? x_sums : inputs_at(t, t0) + i0 * input_stride + g * W;
      if (k.fused) {
        step_products(wx, g, end, x, x_stride, rows, x_sums, s_rs);
      } else {
        fetch(inputs_here, rows, min64(s.H, end * W) - g * W);
      }
      if (has_state) {
        step_products(w, g, end, h[t % 2] + i0 * k.h_stride, k.h_stride, rows, sums, s_rs);
      }
      for (int64_t one = g; one < end; ++one) {
        const int64_t unit = one * W, at = (one - g) * k.gates * W;
        b.units = min64(W, s.H - unit);
        b.s = has_state ? sums + at : nullptr;
        b.x = inputs_here + (k.fused ? at : unit - g * W);
        b.bias = bias + unit;
        b.h = h[t % 2] + i0 * k.h_stride + unit;
        b.h_next = h[(t + 1) % 2] + i0 * k.h_stride + unit;
        b.c = c ? c + i0 * s.H + unit : nullptr;
        b.gates = in_place() ? saved.gates + row * s.gate_stride + unit : nullptr;
        b.cells = saved.cells ? saved.cells + row * s.H + unit : nullptr;
        b.y = y + unit;
        finish(b);
      }
    }
  }

  void begin(Ctx& ctx) {
    const int64_t G = k.gates;
    for (int64_t r = 0; r < s.rows; ++r) x_at[r] = in.x + order.place[r] * s.I;
    join_biases(s, in, bias);
    parallel_for(ctx, s.N, max64(1, 8192 / s.H), [&](int64_t i0, int64_t i1, int) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t n = order.slot[i] * s.H;
        copy_numbers(in.h0 ? in.h0 + n : nullptr, s.H, h[0] + i * k.h_stride);
        if (s.cell == RnnCell::kLstm) {
          copy_numbers(in.c0 ? in.c0 + n : nullptr, s.H, c + i * s.H);
        }
      }
    });
    w = pack_panels_of(ctx, in.w_hh, s.H, s.H, G, s.H * s.H, s.H, 1, 0, packed);
    if (k.fused) wx = pack_panels_of(ctx, in.w_ih, s.H, s.I, G, s.H * s.I, s.I, 1, 0, packed_x);
  }

  void end(Ctx& ctx, T* hn, T* cn) const {
    parallel_for(ctx, s.N, max64(1, 8192 / s.H), [&](int64_t i0, int64_t i1, int) {
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t n = order.slot[i], length = in.lengths ? in.lengths[n] : s.T;
        copy_numbers<T>(nullptr, (s.T - length) * s.H, y + (n * s.T + length) * s.H);
        copy_numbers(h[length % 2] + i * k.h_stride, s.H, hn + n * s.H);
        if (s.cell == RnnCell::kLstm) copy_numbers(c + i * s.H, s.H, cn + n * s.H);
      }
    });
  }
};

}  // namespace

template <class T>
Plan rnn_forward_plan(const RnnShape& s) {
  const RnnInputs<T> in = {};
  const RnnSaved<T> saved = {};
  const RnnCut k = rnn_cut<T>(s, s.H);
  Plan p = {};
  p.algorithm = way_name(k), p.why = way_reason(k);
  p.tile[0] = k.block, p.tile[1] = kTileColumns<T>, p.tile[2] = k.chunk;
  if (k.way == Way::kSingle) {
    single_forward_scratch<T>(s, p);
  } else {
    const Forward<T> f(s, in, saved, nullptr, nullptr);
    p.shared_bytes = f.scratch_bytes + gemm_shared_bytes(f.project);
    p.worker_bytes = max64(f.worker_bytes(), gemm_worker_bytes(f.project));
  }
  const double rows = double(s.rows), G = double(k.gates), H = double(s.H), I = double(s.I);
  p.flops = 2 * rows * G * H * (I + H);
  const double kept = s.saves ? double(s.gate_stride) : 0;
  p.bytes = sizeof(T) * (rows * (I + H + kept) + G * H * (I + H + 2));
  return p;
}

template <class T>
void rnn_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in, const RnnSaved<T>& saved,
                 T* y, T* hn, T* cn) {
  if (s.N == 0) return;
  if (rnn_cut<T>(s, s.H).way == Way::kSingle) {
    return single_forward(ctx, s, in, saved, y, hn, cn);
  }
  Forward<T> f(s, in, saved, y, ctx.shared);
  Ctx rest = ctx;
  rest.shared += f.scratch_bytes;
  f.begin(rest);
  for (int64_t t0 = 0; t0 < s.steps; t0 += f.k.chunk) {
    const int64_t t1 = min64(s.steps, t0 + f.k.chunk);
    if (!f.k.fused) f.make_inputs(rest, t0, t1);
    share_steps(rest, f.k, f.order, s.N, t0, t1, Direction::kUp,
                [&](int64_t t, int64_t i0, int64_t i1, int64_t g0, int64_t g1, int worker) {
                  f.step(t, t0, i0, i1, g0, g1, worker_scratch<T>(rest, worker));
                });
  }
  f.end(rest, hn, cn);
}

HL_DEFINE_KERNEL(rnn_forward);

}  // namespace hl::cpu::HL_ISA
