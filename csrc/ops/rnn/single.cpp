#include "ops/rnn/single.h"

#include "ops/matmul/product.h"
#include "ops/rnn/gradients.h"

namespace hl::cpu::HL_ISA {
namespace {

// rows (N, K) with a stride times w^T, w (n, K)
template <class T>
Product times_transposed(int64_t N, int64_t n, int64_t K, int64_t stride, int64_t c_stride) {
  return choose_product<T>({N, n, K, stride, 1, 1, K, c_stride, 1, false});
}
// rows (N, K) with a stride times w (K, n)
template <class T>
Product times(int64_t N, int64_t n, int64_t K, int64_t stride) {
  return choose_product<T>({N, n, K, stride, 1, n, 1, n, 1, false});
}
// (N, m)^T with a stride times (N, n)
template <class T>
Product outer(int64_t N, int64_t m, int64_t n, int64_t stride) {
  return choose_product<T>({m, n, N, 1, stride, n, 1, n, 1, false});
}

template <class T>
struct SingleForward {
  int64_t GH, input_stride, scratch_bytes;
  bool in_place;
  T *inputs, *sums, *bias;
  Product from_x, from_h;

  SingleForward(const RnnShape& s, const RnnSaved<T>& saved, unsigned char* memory) {
    GH = product_gates(s.cell) * s.H;
    in_place = s.saves && gate_blocks(s.cell) > 1;
    input_stride = in_place ? s.gate_stride : GH;
    Scratch m = {memory, 0};
    sums = m.take<T>(s.N * GH);
    bias = m.take<T>(gate_blocks(s.cell) * s.H);
    inputs = in_place ? saved.gates : m.take<T>(s.N * GH);
    scratch_bytes = m.used;
    from_x = times_transposed<T>(s.N, GH, s.I, s.I, input_stride);
    from_h = times_transposed<T>(s.N, GH, s.H, s.H, GH);
  }
};

template <class T>
struct SingleBackward {
  int64_t GH, d_stride, scratch_bytes;
  bool apart;  // the GRU's n
  T *d, *carry, *bias_sums;
  const T** h_at;
  Product to_h, to_x, to_x_of_n, to_w_ih, to_w_ih_of_n, to_w_hh;
  GemvCut to_bias;

  SingleBackward(const RnnShape& s, unsigned char* memory) {
    const int64_t blocks = gate_blocks(s.cell), H = s.H;
    GH = product_gates(s.cell) * H;
    apart = blocks * H > GH;
    d_stride = blocks * H;
    Scratch m = {memory, 0};
    d = m.take<T>(s.N * d_stride);
    carry = m.take<T>(s.N * H);
    bias_sums = m.take<T>(d_stride);
    h_at = m.take<const T*>(s.N);
    scratch_bytes = m.used;
    const int64_t x_gates = apart ? 2 * H : GH;
    to_h = times<T>(s.N, H, GH, d_stride);
    to_x = times<T>(s.N, s.I, x_gates, d_stride);
    to_w_ih = outer<T>(s.N, x_gates, s.I, d_stride);
    to_w_hh = outer<T>(s.N, GH, H, d_stride);
    to_x_of_n = times<T>(s.N, s.I, H, d_stride);
    to_w_ih_of_n = outer<T>(s.N, H, s.I, d_stride);
    to_bias = gemv_cut(1, d_stride, s.N, false);
  }
};

void reserve(Plan& p, const Product& product) {
  p.shared_bytes = max64(p.shared_bytes, product.shared_bytes);
  p.worker_bytes = max64(p.worker_bytes, product.worker_bytes);
}

int64_t row_grain(const RnnShape& s) { return max64(1, 4096 / s.H); }

}  // namespace

template <class T>
void single_forward_scratch(const RnnShape& s, Plan& p) {
  const SingleForward<T> f(s, {}, nullptr);
  reserve(p, f.from_x);
  reserve(p, f.from_h);
  p.shared_bytes += f.scratch_bytes;
}

template <class T>
void single_forward(Ctx& ctx, const RnnShape& s, const RnnInputs<T>& in, const RnnSaved<T>& saved,
                    T* y, T* hn, T* cn) {
  const SingleForward<T> f(s, saved, ctx.shared);
  Ctx rest = ctx;
  rest.shared += f.scratch_bytes;
  join_biases(s, in, f.bias);
  run_product<T>(rest, f.from_x, in.x, in.w_ih, f.inputs, 1.0, 0.0, nullptr);
  if (in.h0) run_product<T>(rest, f.from_h, in.h0, in.w_hh, f.sums, 1.0, 0.0, nullptr);
  const Finisher<T> finish = finisher<T>(s.cell);
  parallel_for(ctx, s.N, row_grain(s), [&](int64_t begin, int64_t end, int) {
    ForwardBlock<T> b = {};
    b.rows = end - begin, b.units = b.H = s.H;
    b.s = in.h0 ? f.sums + begin * f.GH : nullptr;
    b.s_rs = f.GH, b.s_gate = b.x_gate = b.h_rs = s.H;
    b.x = f.inputs + begin * f.input_stride, b.x_rs = f.input_stride;
    b.bias = f.bias;
    b.h = in.h0 ? in.h0 + begin * s.H : nullptr;
    b.h_next = hn + begin * s.H;
    b.y = y + begin * s.H;
    if (f.in_place) b.gates = saved.gates + begin * s.gate_stride, b.gate_rs = s.gate_stride;
    if (s.cell == RnnCell::kLstm) {
      b.c = cn + begin * s.H;
      copy_numbers(in.c0 ? in.c0 + begin * s.H : nullptr, b.rows * s.H, b.c);
      if (saved.cells) b.cells = saved.cells + begin * s.H;
    }
    finish(b);
  });
}

template <class T>
void single_backward_scratch(const RnnShape& s, Plan& p) {
  const SingleBackward<T> b(s, nullptr);
  const Product* products[] = {&b.to_h,      &b.to_x,         &b.to_w_ih,
                               &b.to_x_of_n, &b.to_w_ih_of_n, &b.to_w_hh};
  for (const Product* product : products) reserve(p, *product);
  p.shared_bytes = max64(p.shared_bytes, gemv_shared_bytes<T>(b.to_bias)) + b.scratch_bytes;
}

template <class T>
void single_backward(Ctx& ctx, const RnnShape& s, const T* dy, const T* dhn, const T* dcn,
                     const RnnInputs<T>& in, const RnnSaved<T>& saved, const T* y,
                     const RnnGradients<T>& out) {
  const SingleBackward<T> k(s, ctx.shared);
  Ctx rest = ctx;
  rest.shared += k.scratch_bytes;
  const int64_t H = s.H;
  for (int64_t n = 0; n < s.N && in.h0; ++n) k.h_at[n] = in.h0 + n * H;
  const Deriver<T> derive = deriver<T>(s.cell);
  parallel_for(ctx, s.N, row_grain(s), [&](int64_t begin, int64_t end, int) {
    const int64_t at = begin * H;
    BackwardBlock<T> b = {};
    b.rows = end - begin, b.units = b.H = H;
    b.dy = dy ? dy + at : nullptr;
    b.dhn = dhn ? dhn + at : nullptr;
    b.y = y + at;
    b.h = in.h0 ? k.h_at + begin : nullptr;
    b.gates = saved.gates ? saved.gates + begin * s.gate_stride : nullptr,
    b.gate_rs = s.gate_stride;
    b.carry = k.carry + at;
    copy_numbers(dcn ? dcn + at : nullptr, b.rows * H, b.carry);
    if (s.cell == RnnCell::kLstm) {
      b.cells = saved.cells + at;
      b.cells_before = in.c0 ? in.c0 + at : nullptr;
    }
    b.d = k.d + begin * k.d_stride, b.d_rs = k.d_stride;
    derive(b);
    if (out.c0) copy_numbers(b.carry, b.rows * H, out.c0 + at);
    if (out.h0) copy_numbers(s.cell == RnnCell::kGru ? b.carry : nullptr, b.rows * H, out.h0 + at);
  });
  if (out.h0) run_product<T>(rest, k.to_h, k.d, in.w_hh, out.h0, 1.0, 1.0, nullptr);
  if (out.x) {
    run_product<T>(rest, k.to_x, k.d, in.w_ih, out.x, 1.0, 0.0, nullptr);
    if (k.apart) {
      run_product<T>(rest, k.to_x_of_n, k.d + 3 * H, in.w_ih + 2 * H * s.I, out.x, 1.0, 1.0,
                     nullptr);
    }
  }
  if (out.w_ih) {
    run_product<T>(rest, k.to_w_ih, k.d, in.x, out.w_ih, 1.0, 0.0, nullptr);
    if (k.apart) {
      run_product<T>(rest, k.to_w_ih_of_n, k.d + 3 * H, in.x, out.w_ih + 2 * H * s.I, 1.0, 0.0,
                     nullptr);
    }
  }
  if (out.w_hh) {
    if (in.h0) {
      run_product<T>(rest, k.to_w_hh, k.d, in.h0, out.w_hh, 1.0, 0.0, nullptr);
    } else {
      copy_numbers<T>(nullptr, k.GH * H, out.w_hh);
    }
  }
  if (out.b_ih || out.b_hh) {
    sum_rows(rest, k.to_bias, s.N, k.d, k.d_stride, T(0), k.bias_sums);
    spread_biases(s, k.bias_sums, out);
  }
}

#define HL_INSTANTIATE(T)                                                                         \
  template void single_forward_scratch<T>(const RnnShape&, Plan&);                                \
  template void single_forward<T>(Ctx&, const RnnShape&, const RnnInputs<T>&, const RnnSaved<T>&, \
                                  T*, T*, T*);                                                    \
  template void single_backward_scratch<T>(const RnnShape&, Plan&);                               \
  template void single_backward<T>(Ctx&, const RnnShape&, const T*, const T*, const T*,           \
                                   const RnnInputs<T>&, const RnnSaved<T>&, const T*,             \
                                   const RnnGradients<T>&);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
