#include "ops/matmul/linear.h"

#include "kernel.h"
#include "ops/elementwise/finish.h"
#include "ops/matmul/packed.h"
#include "ops/matmul/product.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T>
Product forward_product(const LinearShape& s) {  // y (M, O) = x (M, I) w^T
  return choose_product<T>({s.M, s.O, s.I, s.I, 1, 1, s.I, s.O, 1, false});
}
template <class T>
Product dx_product(const LinearShape& s) {  // dx (M, I) = dz (M, O) w
  return choose_product<T>({s.M, s.I, s.O, s.O, 1, s.I, 1, s.I, 1, false});
}
template <class T>
Product dw_product(const LinearShape& s) {  // dw (O, I) = dz^T (O, M) x
  return choose_product<T>({s.O, s.I, s.M, 1, s.O, s.I, 1, s.I, 1, false});
}

constexpr int64_t kGrain = 1 << 14;  // elements of dz a chunk

}  // namespace

template <class T>
Plan linear_forward_plan(const LinearShape& s) {
  const Product product = forward_product<T>(s);
  const double M = double(s.M), I = double(s.I), O = double(s.O);
  Plan p = {};
  if (s.packed && packed_pays(s.M)) {
    p.algorithm = "tiles, packed before", p.why = "few rows: packing would take its share";
    p.tile[0] = even_part(s.M, kTileRows, 1), p.tile[1] = kTileColumns<T>, p.tile[2] = s.I;
  } else {
    p.algorithm = algorithm_name(product), p.why = algorithm_reason(product);
    p.tile[0] = product.gemm.mr, p.tile[1] = product.gemm.nr, p.tile[2] = product.gemm.kc;
    p.shared_bytes = product.shared_bytes;
    p.worker_bytes = product.worker_bytes;
  }
  p.flops = 2 * M * I * O;
  p.bytes = sizeof(T) * (M * I + I * O + O + M * O);
  return p;
}

template <class T>
void linear_forward(Ctx& ctx, const LinearShape& s, const T* x, const T* w, const T* panels,
                    const T* b, T* y, T* z) {
  const Finish<T> rest = finish_with(b, z, s.activation, s.p0, s.p1);
  if (s.packed && packed_pays(s.M)) {
    return packed_product(ctx, s.M, s.O, s.I, x, panels, rest, y, z);
  }
  const Product product = forward_product<T>(s);
  const FinishProduct<T> finish = {rest, y, z, s.O, product.view.swapped};
  const Epilogue epilogue = {&FinishProduct<T>::apply, &finish};
  run_product(ctx, product, x, w, y, 1.0, 0.0, finish.finish.needed() ? &epilogue : nullptr);
}

template <class T>
Plan linear_backward_plan(const LinearShape& s) {
  const Product dx = dx_product<T>(s), dw = dw_product<T>(s);
  const double M = double(s.M), I = double(s.I), O = double(s.O);
  Plan p = {};
  p.algorithm = algorithm_name(dw), p.why = algorithm_reason(dw);
  p.tile[0] = dw.gemm.mr, p.tile[1] = dw.gemm.nr, p.tile[2] = dw.gemm.kc;
  const int64_t dz_bytes = s.activation == kNoActivation ? 0 : s.M * s.O * int64_t(sizeof(T));
  p.shared_bytes = round_up(dz_bytes, 64) +
                   max64(column_sums_bytes<T>(s.M, s.O), max64(dx.shared_bytes, dw.shared_bytes));
  p.worker_bytes = max64(dx.worker_bytes, dw.worker_bytes);
  const double wanted = s.need_dx + s.need_dw;
  p.flops = 2 * M * I * O * wanted;
  p.bytes = sizeof(T) * ((M * I + I * O) * wanted + O + M * O);
  return p;
}

template <class T>
void linear_backward(Ctx& ctx, const LinearShape& s, const T* dy, const T* x, const T* w,
                     const T* saved, T* dx, T* dw, T* db) {
  Ctx rest = ctx;
  const T* dz = dy;
  if (s.activation != kNoActivation) {
    T* made = reinterpret_cast<T*>(ctx.shared);
    rest.shared += round_up(s.M * s.O * int64_t(sizeof(T)), 64);
    const UnaryBackwardRow<T> act = unary_backward_row<T>(UnaryOp(s.activation));
    parallel_for(ctx, s.M * s.O, kGrain, [&](int64_t begin, int64_t end, int) {
      act(dy + begin, saved + begin, made + begin, end - begin, s.p0, s.p1);
    });
    dz = made;
  }
  if (db) column_sums(rest, s.M, s.O, dz, db);
  if (dw) run_product<T>(rest, dw_product<T>(s), dz, x, dw, 1.0, 0.0, nullptr);
  if (dx) run_product<T>(rest, dx_product<T>(s), dz, w, dx, 1.0, 0.0, nullptr);
}

HL_DEFINE_KERNEL(linear_forward);
HL_DEFINE_KERNEL(linear_backward);

}  // namespace hl::cpu::HL_ISA
