#include "kernels.h"
#include "ops/elementwise/rows.h"
#include "ops/elementwise/walk.h"

namespace hl::cpu::HL_ISA {
namespace {

Plan element_plan(const ElementShape& s, int operands, int64_t item) {
  Plan p = {};
  p.algorithm = "rows";
  double n = 1;
  for (int i = 0; i < s.dims; ++i) n *= double(s.size[i]);
  p.flops = n;
  p.bytes = n * double(item) * operands;
  return p;
}

template <class T>
struct Forward {
  UnaryRow<T> row;
  double p0, p1;
};
template <class T>
struct Backward {
  UnaryBackwardRow<T> row;
  double p0, p1;
};

}  // namespace

template <class T>
Plan unary_forward_plan(const ElementShape& s) {
  return element_plan(s, 2, sizeof(T));
}
template <class T>
void unary_forward(Ctx& ctx, const ElementShape& s, const T* x, T* y) {
  const Forward<T> op = {unary_row<T>(UnaryOp(s.op)), s.p0, s.p1};
  if (one_run(s, 2)) return op.row(x, y, s.dims ? s.size[0] : 1, op.p0, op.p1);
  Walk w = {2, {const_cast<T*>(x), y}, {sizeof(T), sizeof(T)}, nullptr, &op};
  w.body = [](const void* f, void* const* p, int64_t n) {
    const auto* op = static_cast<const Forward<T>*>(f);
    op->row(static_cast<const T*>(p[0]), static_cast<T*>(p[1]), n, op->p0, op->p1);
  };
  walk(ctx, s, w);
}

template <class T>
Plan unary_backward_plan(const ElementShape& s) {
  return element_plan(s, 3, sizeof(T));
}
template <class T>
void unary_backward(Ctx& ctx, const ElementShape& s, const T* dy, const T* saved, T* dx) {
  const Backward<T> op = {unary_backward_row<T>(UnaryOp(s.op)), s.p0, s.p1};
  if (one_run(s, 3)) return op.row(dy, saved, dx, s.dims ? s.size[0] : 1, op.p0, op.p1);
  Walk w = {3, {const_cast<T*>(dy), const_cast<T*>(saved), dx}, {}, nullptr, &op};
  for (int& item : w.item) item = sizeof(T);
  w.body = [](const void* f, void* const* p, int64_t n) {
    const auto* op = static_cast<const Backward<T>*>(f);
    op->row(static_cast<const T*>(p[0]), static_cast<const T*>(p[1]), static_cast<T*>(p[2]), n,
            op->p0, op->p1);
  };
  walk(ctx, s, w);
}

HL_DEFINE_KERNEL(unary_forward);
HL_DEFINE_KERNEL(unary_backward);

}  // namespace hl::cpu::HL_ISA
