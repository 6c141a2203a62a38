// One operation on one contiguous row: what the elementwise kernels walk over, and what other
// kernels use to finish their results (a product's activation, for example) while they are in the
// cache.
//
// y may be x itself, dx may be dy or saved.
#pragma once

#include "ops/elementwise/elementwise.h"

namespace hl::cpu::HL_ISA {

// y[i] = f(x[i]; p0, p1)
template <class T>
using UnaryRow = void (*)(const T* x, T* y, int64_t n, double p0, double p1);

// dx[i] = dy[i] * f'(x[i]), where `saved` is x or y as bind/elementwise.h says (any row if neither)
template <class T>
using UnaryBackwardRow = void (*)(const T* dy, const T* saved, T* dx, int64_t n, double p0,
                                  double p1);

template <class T>
struct UnaryRows {
  UnaryRow<T> forward;
  UnaryBackwardRow<T> backward;  // null: no gradient
};

template <class T>
UnaryRows<T> unary_rows(UnaryOp op);
template <class T>
UnaryRows<T> activation_rows(UnaryOp op);  // the activations among them

template <class T>
inline UnaryRow<T> unary_row(UnaryOp op) {
  return unary_rows<T>(op).forward;
}
template <class T>
inline UnaryBackwardRow<T> unary_backward_row(UnaryOp op) {
  return unary_rows<T>(op).backward;
}

}  // namespace hl::cpu::HL_ISA
