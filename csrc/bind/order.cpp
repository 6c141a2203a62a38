#include "bind/axes.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

void keep(OrderShape& s, const char* op, Axes<2>& others) {
  others.merge(), others.settle(op, kOrderDims);
  s.dims = others.count, s.lines = 1;
  for (int i = 0; i < s.dims; ++i) {
    s.size[i] = others.size[i], s.lines *= others.size[i];
    s.x_stride[i] = others.stride[0][i], s.y_stride[i] = others.stride[1][i];
  }
}

// Lines of x along `axis`, `taken` of each in a contiguous result whose shape is left in `shape`.
OrderShape lines_of(const char* op, const Array& x, int axis, int64_t taken, int64_t* shape) {
  OrderShape s = {};
  s.n = x.shape[axis], s.taken = taken, s.x_step = x.stride(axis);
  int64_t y_stride[kMaxDims] = {}, y = 1;
  for (int i = x.ndim - 1; i >= 0; --i) {
    shape[i] = i == axis ? taken : x.shape[i];
    y_stride[i] = y;
    y *= shape[i];
  }
  s.y_step = y_stride[axis];
  Axes<2> others;
  for (int i = 0; i < x.ndim; ++i) {
    if (i != axis) others.add(x.shape[i], x.stride(i), y_stride[i]);
  }
  keep(s, op, others);
  return s;
}

int required_axis(const char* op, const Array& x, int64_t axis) {
  if (x.ndim == 0)
    value_error(op, std::string(x.name) + " is a single number, expected at least one axis");
  return axis_of(op, x.name, axis, x.shape, x.ndim);
}

py::object cumsum(py::handle x_in, int64_t axis_in, bool reverse) {
  const Array x("cumsum", "x", x_in);
  x.require_float();
  const int axis = required_axis("cumsum", x, axis_in);
  int64_t shape[kMaxDims];
  OrderShape s = lines_of("cumsum", x, axis, x.shape[axis], shape);
  py::object y = new_array("cumsum", x.dtype, shape, x.ndim);
  if (x.size() == 0) return y;
  int64_t x0 = 0, y0 = 0;
  if (reverse) {
    x0 = (s.n - 1) * s.x_step, y0 = (s.n - 1) * s.y_step;
    s.x_step = -s.x_step, s.y_step = -s.y_step;
  }
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().cumsum, s, x.as<const T>() + x0, data_of<T>(y) + y0);
  });
  return y;
}

py::tuple sorted(const char* op, const Array& x, int axis, int64_t taken, bool descending) {
  int64_t shape[kMaxDims];
  OrderShape s = lines_of(op, x, axis, taken, shape);
  s.descending = descending;
  if (x.dtype == DType::kFloat32 && s.n > int64_t(UINT32_MAX)) {
    value_error(op, "x has shape " + shape_text(x.shape, x.ndim) +
                        ", at most 2^32 - 1 float32 numbers can be sorted");
  }
  py::object values = new_array(op, x.dtype, shape, x.ndim);
  py::object indices = new_array(op, DType::kInt64, shape, x.ndim);
  if (x.size() == 0 || taken == 0) return py::make_tuple(values, indices);
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().sort, s, x.as<const T>(), data_of<T>(values),
           data_of<int64_t>(indices));
  });
  return py::make_tuple(values, indices);
}

py::tuple sort(py::handle x_in, int64_t axis, bool descending) {
  const Array x("sort", "x", x_in);
  x.require_float();
  const int a = required_axis("sort", x, axis);
  return sorted("sort", x, a, x.shape[a], descending);
}

py::tuple topk(py::handle x_in, int64_t k, int64_t axis, bool largest) {
  const Array x("topk", "x", x_in);
  x.require_float();
  const int a = required_axis("topk", x, axis);
  if (k < 0 || k > x.shape[a]) {
    value_error("topk", "k is " + std::to_string(k) + ", but axis " + std::to_string(axis) +
                            " of x " + shape_text(x.shape, x.ndim) + " has " +
                            std::to_string(x.shape[a]) + " elements");
  }
  return sorted("topk", x, a, k, largest);
}

// dx of shape (..., n, ...) from dy and indices of sort or topk.
py::object sort_backward(py::handle dy_in, py::handle indices_in, int64_t axis_in, int64_t n) {
  const Array dy("sort_backward", "dy", dy_in), indices("sort_backward", "indices", indices_in);
  dy.require_float().require_contiguous();
  if (indices.dtype != DType::kInt64) {
    type_error("sort_backward", "indices has dtype " + indices.dtype_name() + ", expected int64");
  }
  indices.require_shape(dy.dims()).require_contiguous();
  const int axis = required_axis("sort_backward", dy, axis_in);
  if (n < 0) value_error("sort_backward", "size is " + std::to_string(n) + ", expected 0 or more");
  const OnHost<int64_t> known(indices);
  for (int64_t i = 0, size = indices.size(); i < size; ++i) {
    if (known[i] < 0 || known[i] >= n) {
      value_error("sort_backward", "indices has " + std::to_string(known[i]) + " at position " +
                                       std::to_string(i) + ", expected 0 to " +
                                       std::to_string(n - 1));
    }
  }
  int64_t shape[kMaxDims];
  OrderShape s = lines_of("sort_backward", dy, axis, n, shape);
  py::object dx = new_array("sort_backward", dy.dtype, shape, dy.ndim);
  if (s.lines == 0 || n == 0) return dx;
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().scatter_lines, s, dy.as<const T>(), indices.as<const int64_t>(),
           data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_order(py::module_& m) {
  define(m, "cumsum", &cumsum, py::arg("x"), py::arg("axis"), py::arg("reverse") = false);
  define(m, "sort", &sort, py::arg("x"), py::arg("axis"), py::arg("descending"));
  define(m, "topk", &topk, py::arg("x"), py::arg("k"), py::arg("axis"), py::arg("largest"));
  define(m, "sort_backward", &sort_backward, py::arg("dy"), py::arg("indices"), py::arg("axis"),
         py::arg("size"));
}

}  // namespace hl::bind
