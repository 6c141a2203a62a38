// What the bindings know of elementwise operations, and how strided arrays become an ElementShape.
#pragma once

#include "bind/array.h"
#include "ops/elementwise/elementwise.h"

namespace hl::bind {

// One row per UnaryOp.
struct UnaryInfo {
  const char* name;
  const char* backward;  // its gradient's name, as errors give it
  const char* saves;     // what backward reads: "x", "y", or "" for neither
  double p0, p1;         // the parameters' defaults
};
const UnaryInfo& unary_info(UnaryOp op);

// _C.unary_backward
py::object unary_backward(int op, py::handle dy, py::handle x, py::handle y, double p0, double p1);

// An operand's memory as seen over the broadcast shape: strides in bytes, aligned at the last axis.
struct Operand {
  int ndim;
  const ssize_t* shape;
  const ssize_t* strides;
  int64_t item;
};
inline Operand operand(const Array& a) { return {a.ndim, a.shape, a.strides, a.itemsize}; }
// One number for all elements.
inline Operand repeated() { return {0, nullptr, nullptr, 1}; }

// Which order to walk in: C order, or that of the last operand's memory.
enum class Order { kC, kLast };

// Fills in axes and strides: drops axes of size 1, orders them and merges neighbours. ValueError if
// more than kElementDims are left.
void set_axes(const char* op, ElementShape& s, const int64_t* shape, int ndim,
              std::initializer_list<Operand> operands, Order order = Order::kLast);

// The common case: n elements, every operand contiguous.
inline void set_run(ElementShape& s, int64_t n, int operands) {
  s.dims = 1;
  s.size[0] = n;
  for (int k = 0; k < operands; ++k) s.stride[k][0] = 1;
}

}  // namespace hl::bind
