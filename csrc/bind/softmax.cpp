#include "bind/axes.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

SoftmaxShape split_at(const char* op, const Array& x, int64_t axis_in, bool log) {
  SoftmaxShape s = {1, 1, 1, log ? SoftmaxKind::kLog : SoftmaxKind::kPlain};
  if (x.ndim == 0 && (axis_in == -1 || axis_in == 0)) return s;  // one number is a line of one
  const int axis = axis_of(op, x.name, axis_in, x.shape, x.ndim);
  for (int i = 0; i < x.ndim; ++i)
    (i < axis ? s.outer : i == axis ? s.length : s.inner) *= x.shape[i];
  return s;
}

py::object softmax_forward(py::handle x_in, int64_t axis, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const Array x(op, "x", x_in);
  x.require_float().require_contiguous();
  const SoftmaxShape s = split_at(op, x, axis, log);
  py::object y = new_array(op, x.dtype, x.shape, x.ndim);
  if (s.outer * s.length * s.inner == 0) return y;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().softmax_forward, s, x.as<const T>(), data_of<T>(y));
  });
  return y;
}

py::object softmax_backward(py::handle dy_in, py::handle y_in, int64_t axis, bool log) {
  const char* op = log ? "log_softmax_backward" : "softmax_backward";
  const Array dy(op, "dy", dy_in), y(op, "y", y_in);
  y.require_float().require_contiguous();
  dy.require_float().require_like(y).require_contiguous().require_shape(y.dims());
  const SoftmaxShape s = split_at(op, y, axis, log);
  py::object dx = new_array(op, y.dtype, y.shape, y.ndim);
  if (s.outer * s.length * s.inner == 0) return dx;
  with_float(y, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().softmax_backward, s, dy.as<const T>(), y.as<const T>(), data_of<T>(dx));
  });
  return dx;
}

GluShape halves(const char* op, const Array& x, int64_t axis_in, Dims& result) {
  if (x.ndim == 0) value_error(op, "x is a single number, expected at least one axis");
  const int axis = axis_of(op, "x", axis_in, x.shape, x.ndim);
  if (x.shape[axis] % 2 != 0) {
    value_error(op, "x has shape " + shape_text(x.shape, x.ndim) + ", but axis " +
                        std::to_string(axis_in) + " must be even: it is split in halves");
  }
  result = x.dims();
  result[axis] /= 2;
  GluShape s = {1, 1};
  for (int i = 0; i < x.ndim; ++i) (i < axis ? s.outer : s.half) *= result[i];
  return s;
}

py::object glu_forward(py::handle x_in, int64_t axis) {
  const Array x("glu", "x", x_in);
  x.require_float().require_contiguous();
  Dims shape;
  const GluShape s = halves("glu", x, axis, shape);
  py::object y = new_array("glu", x.dtype, shape);
  if (s.outer * s.half == 0) return y;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().glu_forward, s, x.as<const T>(), data_of<T>(y));
  });
  return y;
}

py::object glu_backward(py::handle dy_in, py::handle x_in, int64_t axis) {
  const Array dy("glu_backward", "dy", dy_in), x("glu_backward", "x", x_in);
  x.require_float().require_contiguous();
  Dims shape;
  const GluShape s = halves("glu_backward", x, axis, shape);
  dy.require_float().require_like(x).require_contiguous().require_shape(shape);
  py::object dx = new_array("glu_backward", x.dtype, x.shape, x.ndim);
  if (s.outer * s.half == 0) return dx;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().glu_backward, s, dy.as<const T>(), x.as<const T>(), data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_softmax(py::module_& m) {
  define(m, "softmax_forward", &softmax_forward, py::arg("x"), py::arg("axis"), py::arg("log"));
  define(m, "softmax_backward", &softmax_backward, py::arg("dy"), py::arg("y"), py::arg("axis"),
         py::arg("log"));
  define(m, "glu_forward", &glu_forward, py::arg("x"), py::arg("axis"));
  define(m, "glu_backward", &glu_backward, py::arg("dy"), py::arg("x"), py::arg("axis"));
}

}  // namespace hl::bind
