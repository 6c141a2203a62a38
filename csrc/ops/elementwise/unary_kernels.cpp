#include "kernel.h"
#include "ops/elementwise/rows.h"
#include "ops/elementwise/walk.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class Row>
struct Call {
  Row row;
  double p0, p1;
};

template <class T>
void forward_tile(const void* op, void* const* p, int64_t n) {
  const auto& call = *static_cast<const Call<UnaryRow<T>>*>(op);
  call.row(static_cast<const T*>(p[0]), static_cast<T*>(p[1]), n, call.p0, call.p1);
}
template <class T>
void backward_tile(const void* op, void* const* p, int64_t n) {
  const auto& call = *static_cast<const Call<UnaryBackwardRow<T>>*>(op);
  call.row(static_cast<const T*>(p[0]), static_cast<const T*>(p[1]), static_cast<T*>(p[2]), n,
           call.p0, call.p1);
}

}  // namespace

template <class T>
Plan unary_forward_plan(const ElementShape& s) {
  return walk_plan(s, 2, sizeof(T));
}
template <class T>
void unary_forward(Ctx& ctx, const ElementShape& s, const T* x, T* y) {
  const Call<UnaryRow<T>> call = {unary_row<T>(UnaryOp(s.op)), s.p0, s.p1};
  if (one_run(s, 2)) return call.row(x, y, s.size[0], s.p0, s.p1);
  walk(ctx, s, walk_of<T>(call, &forward_tile<T>, x, y));
}

template <class T>
Plan unary_backward_plan(const ElementShape& s) {
  return walk_plan(s, 3, sizeof(T));
}
template <class T>
void unary_backward(Ctx& ctx, const ElementShape& s, const T* dy, const T* saved, T* dx) {
  const Call<UnaryBackwardRow<T>> call = {unary_backward_row<T>(UnaryOp(s.op)), s.p0, s.p1};
  if (one_run(s, 3)) return call.row(dy, saved, dx, s.size[0], s.p0, s.p1);
  walk(ctx, s, walk_of<T>(call, &backward_tile<T>, dy, saved, dx));
}

HL_DEFINE_KERNEL(unary_forward);
HL_DEFINE_KERNEL(unary_backward);

}  // namespace hl::cpu::HL_ISA
