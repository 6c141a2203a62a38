// Copies, padding, reading and adding by index.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

// Anything whose bytes may be moved: no Python objects, no records.
const Array& require_plain(const Array& a) {
  if (a.dtype == DType::kOther) {
    const char kind = py::reinterpret_borrow<py::array>(a.object).dtype().kind();
    const int64_t n = a.itemsize;
    if (kind == 'O' || kind == 'V' || !(n == 1 || n == 2 || n == 4 || n == 8 || n == 16)) {
      type_error(a.op, std::string(a.name) + " has dtype " + a.dtype_name() +
                           ", expected numbers of 1, 2, 4, 8 or 16 bytes");
    }
  }
  return a;
}

void require_same_dtype(const Array& a, const Array& b) {
  if (a.dtype != b.dtype || (a.dtype == DType::kOther && a.dtype_name() != b.dtype_name())) {
    type_error(a.op, std::string(a.name) + " is " + a.dtype_name() + " but " + b.name + " is " +
                         b.dtype_name() + "; convert one of them, for example " + a.name +
                         ".astype(np." + b.dtype_name() + ")");
  }
}

int checked_axis(const Array& a, int axis) {
  if (axis < -a.ndim || axis >= a.ndim) {
    value_error(a.op, "axis is " + std::to_string(axis) + ", but " + a.name + " has shape " +
                          shape_text(a.shape, a.ndim));
  }
  return axis < 0 ? axis + a.ndim : axis;
}

// `ndim` sizes with a stride in bytes for either side.
void run_copy(const char* op, int ndim, int64_t item, const int64_t* size, const void* x,
              const int64_t* x_stride, void* y, const int64_t* y_stride) {
  CopyShape s = {};
  s.item = int(item);
  for (int i = 0; i < ndim; ++i) {
    if (size[i] == 0) return;
    if (size[i] == 1) continue;
    if (s.ndim == kCopyDims) {
      value_error(op, "at most " + std::to_string(kCopyDims) + " axes longer than 1 can be copied");
    }
    s.size[s.ndim] = size[i], s.x_stride[s.ndim] = x_stride[i], s.y_stride[s.ndim++] = y_stride[i];
  }
  invoke(kernels_for<void>().copy_strided, s, x, y);
}

}  // namespace

py::object copy_of(const Array& x) {
  py::object out = new_array(x, x.dims());
  const Array y(x.op, "out", out);
  run_copy(x.op, x.ndim, x.itemsize, x.shape, x.data, x.strides, y.data, y.strides);
  return out;
}

namespace {

py::object copy(py::handle x_in, py::handle out_in) {
  const Array x("copy", "x", x_in);
  require_plain(x);
  if (out_in.is_none()) return copy_of(x);
  const Array out("copy", "out", out_in);
  require_same_dtype(out, x);
  check_out(out, x.dtype, x.dims(), {&x}, Alias::kNone);
  run_copy(x.op, x.ndim, x.itemsize, x.shape, x.data, x.strides, out.data, out.strides);
  return py::reinterpret_borrow<py::object>(out_in);
}

void assign(py::handle dst_in, py::handle src_in) {
  const Array dst("assign", "dst", dst_in), src("assign", "src", src_in);
  require_plain(dst);
  require_same_dtype(src, dst);
  check_out(dst, dst.dtype, dst.dims(), {}, Alias::kNone);
  Dims stride(size_t(dst.ndim), 0);
  const int extra = dst.ndim - src.ndim;
  bool fits = extra >= 0;
  for (int i = 0; fits && i < src.ndim; ++i) {
    fits = src.shape[i] == dst.shape[i + extra] || src.shape[i] == 1;
    if (fits && src.shape[i] != 1) stride[size_t(i + extra)] = src.strides[i];
  }
  if (!fits) {
    value_error("assign", "src " + shape_text(src.shape, src.ndim) + " does not broadcast to dst " +
                              shape_text(dst.shape, dst.ndim));
  }
  if (share_memory(dst, src)) {  // x[1:] = x[:-1]: what is read must not have been written
    py::object saved = copy_of(src);
    assign(dst_in, saved);
    return;
  }
  run_copy("assign", dst.ndim, dst.itemsize, dst.shape, src.data, stride.data(), dst.data,
           dst.strides);
}

// A Python number as an item of `like`'s dtype.
struct Item {
  alignas(16) unsigned char bytes[16] = {};

  Item(const Array& like, py::handle value) {
    if (like.dtype == DType::kFloat32 || like.dtype == DType::kFloat64) {
      const double x = PyFloat_AsDouble(value.ptr());
      if (x == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        type_error(like.op, "value is a " +
                                std::string(py::str(py::type::of(value).attr("__name__"))) +
                                ", expected a number");
      }
      const float single = float(x);
      if (like.dtype == DType::kFloat32) {
        std::memcpy(bytes, &single, 4);
      } else {
        std::memcpy(bytes, &x, 8);
      }
      return;
    }
    const auto dtype = py::reinterpret_borrow<py::array>(like.object).dtype();
    const py::array one = py::module_::import("numpy").attr("asarray")(value, dtype);
    if (one.size() != 1)
      value_error(like.op, "value has " + std::to_string(one.size()) + " elements, expected 1");
    std::memcpy(bytes, one.data(), size_t(like.itemsize));
  }
};

void fill(py::handle x_in, py::handle value) {
  const Array x("fill", "x", x_in);
  require_plain(x);
  check_out(x, x.dtype, x.dims(), {}, Alias::kNone);
  const Item item(x, value);
  const py::object one = new_array(x, Dims{});
  copy_to(Array("fill", "value", one), item.bytes);
  const Dims none(size_t(x.ndim), 0);
  run_copy("fill", x.ndim, x.itemsize, x.shape, data_of(one), none.data(), x.data, x.strides);
}

py::object concat(const std::vector<py::object>& arrays, int axis) {
  const char* op = "concat";
  if (arrays.empty()) value_error(op, "arrays is empty, expected at least one array");
  std::vector<std::string> names;
  names.reserve(arrays.size());
  std::vector<Array> in;
  in.reserve(arrays.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    names.push_back("arrays[" + std::to_string(i) + "]");
    in.emplace_back(op, names.back().c_str(), arrays[i]);
    require_plain(in.back());
    require_same_dtype(in.back(), in.front());
  }
  const Array& first = in.front();
  axis = checked_axis(first, axis);
  Dims shape = first.dims();
  shape[size_t(axis)] = 0;
  for (const Array& a : in) {
    bool same = a.ndim == first.ndim;
    for (int i = 0; same && i < a.ndim; ++i) same = i == axis || a.shape[i] == first.shape[i];
    if (!same) {
      value_error(op, std::string(a.name) + " has shape " + shape_text(a.shape, a.ndim) +
                          ", which differs from arrays[0] " + shape_text(first.shape, first.ndim) +
                          " outside axis " + std::to_string(axis));
    }
    shape[size_t(axis)] += a.shape[axis];
  }
  py::object out = new_array(first, shape);
  const Array y(op, "out", out);
  auto* to = static_cast<unsigned char*>(y.data);
  for (const Array& a : in) {
    run_copy(op, a.ndim, a.itemsize, a.shape, a.data, a.strides, to, y.strides);
    to += a.shape[axis] * y.strides[axis];
  }
  return out;
}

// ---- padding -----------------------------------------------------------------------------------
using Pairs = std::vector<std::pair<int64_t, int64_t>>;

// `inner` is the array without padding, whose shape this fills in from an array with or without it.
PadShape pad_shape(const Array& a, const Pairs& pairs, int mode, bool padded, Dims& result) {
  constexpr int kModes = 5;
  if (mode < 0 || mode >= kModes) {
    value_error(a.op, "mode is " + std::to_string(mode) +
                          ", expected 0 (constant) to 4 (symmetric): see pad_modes");
  }
  if (int(pairs.size()) != a.ndim) {
    value_error(a.op, "pairs has " + std::to_string(pairs.size()) +
                          " entries, expected one for each axis of " + a.name + " " +
                          shape_text(a.shape, a.ndim));
  }
  if (a.ndim > kPadDims) value_error(a.op, "at most " + std::to_string(kPadDims) + " axes");
  PadShape s = {};
  s.mode = PadMode(mode);
  s.ndim = a.ndim;
  s.item = int(a.itemsize);
  result = a.dims();
  for (int i = 0; i < a.ndim; ++i) {
    const auto [before, after] = pairs[size_t(i)];
    const std::string at = "pairs[" + std::to_string(i) + "] is (" + std::to_string(before) + ", " +
                           std::to_string(after) + ")";
    if (before < 0 || after < 0 || before > (int64_t(1) << 50) || after > (int64_t(1) << 50)) {
      value_error(a.op, at + ", expected two numbers >= 0");
    }
    int64_t n = a.shape[i];
    if (padded) n -= before + after;
    if (n < 0) {
      value_error(a.op, at + ", but " + a.name + " has only " + std::to_string(a.shape[i]) +
                            " elements along that axis");
    }
    if (n == 0 && before + after > 0 && s.mode != PadMode::kConstant) {
      value_error(a.op,
                  at + ", but there is nothing to repeat: axis " + std::to_string(i) + " is empty");
    }
    s.size[i] = n, s.before[i] = before, s.after[i] = after;
    result[size_t(i)] = padded ? n : n + before + after;
  }
  return s;
}

py::object pad(py::handle x_in, const Pairs& pairs, int mode, py::handle value) {
  const Array x("pad", "x", x_in);
  require_plain(x).require_contiguous();
  Dims shape;
  const PadShape s = pad_shape(x, pairs, mode, false, shape);
  const Item item(x, value);
  py::object y = new_array(x, shape);
  invoke(kernels_for<void>().pad_forward, s, static_cast<const void*>(x.data),
         static_cast<const void*>(item.bytes), data_of(y));
  return y;
}

py::object pad_backward(py::handle dy_in, const Pairs& pairs, int mode) {
  const Array dy("pad_backward", "dy", dy_in);
  dy.require_float().require_contiguous();
  Dims shape;
  const PadShape s = pad_shape(dy, pairs, mode, true, shape);
  py::object dx = new_array(dy, shape);
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().pad_backward, s, dy.as<const T>(), data_of<T>(dx));
  });
  return dx;
}

// ---- by index ----------------------------------------------------------------------------------
py::object take_rows(py::handle table_in, py::handle indices_in, const std::string& name) {
  const char* op = name.c_str();
  const Array table(op, "table", table_in), index(op, "indices", indices_in);
  require_plain(table).require_contiguous();
  if (table.ndim < 1) value_error(op, "table has no axis, expected (V, ...)");
  Indices at(index);
  at.require_range(table.shape[0]);
  Dims shape = index.dims();
  RowsShape s = {table.shape[0], at.count(), 1, int(table.itemsize)};
  for (int i = 1; i < table.ndim; ++i) {
    shape.push_back(table.shape[i]);
    s.D *= table.shape[i];
  }
  py::object y = new_array(table, shape);
  invoke(kernels_for<void>().take_rows, s, static_cast<const void*>(table.data), at.data(),
         data_of(y));
  return y;
}

py::object scatter_add_rows(py::handle dy_in, py::handle indices_in, int64_t rows) {
  const char* op = "scatter_add_rows";
  const Array dy(op, "dy", dy_in), index(op, "indices", indices_in);
  dy.require_float().require_contiguous();
  if (rows < 0) value_error(op, "num_rows is " + std::to_string(rows) + ", expected >= 0");
  bool fits = dy.ndim >= index.ndim;
  for (int i = 0; fits && i < index.ndim; ++i) fits = dy.shape[i] == index.shape[i];
  if (!fits) {
    value_error(op, "dy has shape " + shape_text(dy.shape, dy.ndim) +
                        ", expected that of indices " + shape_text(index.shape, index.ndim) +
                        " and then the row's");
  }
  Indices at(index);
  at.require_range(rows);
  Dims shape = {rows};
  RowsShape s = {rows, at.count(), 1, int(dy.itemsize)};
  for (int i = index.ndim; i < dy.ndim; ++i) {
    shape.push_back(dy.shape[i]);
    s.D *= dy.shape[i];
  }
  py::object out = new_array(op, dy.dtype, shape);
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().scatter_add_rows, s, dy.as<const T>(), at.data(), data_of<T>(out));
  });
  return out;
}

// `strides` are those of x in elements.
AxisShape axis_shape(const Array& index, int axis, const int64_t* sizes, const Dims& strides,
                     int item) {
  if (index.ndim > kIndexDims)
    value_error(index.op, "at most " + std::to_string(kIndexDims) + " axes");
  AxisShape s = {};
  s.ndim = index.ndim;
  s.axis = axis;
  s.item = item;
  s.total = 1;
  for (int i = 0; i < index.ndim; ++i) {
    if (i != axis && index.shape[i] > sizes[i]) {
      value_error(index.op, "index has shape " + shape_text(index.shape, index.ndim) +
                                ", which is longer than x " + shape_text(sizes, index.ndim) +
                                " along axis " + std::to_string(i));
    }
    s.size[i] = index.shape[i], s.stride[i] = strides[size_t(i)];
    s.total *= sizes[i];
  }
  return s;
}

py::object gather(py::handle x_in, py::handle index_in, int axis) {
  const Array x("gather", "x", x_in), index("gather", "index", index_in);
  require_plain(x);
  if (index.ndim != x.ndim) {
    value_error("gather", "index has shape " + shape_text(index.shape, index.ndim) + ", expected " +
                              std::to_string(x.ndim) + " axes like x " +
                              shape_text(x.shape, x.ndim));
  }
  axis = checked_axis(x, axis);
  Dims strides;
  for (int i = 0; i < x.ndim; ++i) {
    if (x.strides[i] % x.itemsize) value_error("gather", "x is a view of records; pass x.copy()");
    strides.push_back(x.stride(i));
  }
  const AxisShape s = axis_shape(index, axis, x.shape, strides, int(x.itemsize));
  Indices at(index);
  at.require_range(x.shape[axis]);
  py::object y = new_array(x, index.dims());
  invoke(kernels_for<void>().gather_axis, s, static_cast<const void*>(x.data), at.data(),
         data_of(y));
  return y;
}

py::object scatter_add(py::handle dy_in, py::handle index_in, int axis, const Dims& shape) {
  const char* op = "scatter_add";
  const Array dy(op, "dy", dy_in), index(op, "index", index_in);
  dy.require_float().require_contiguous().require_shape(index.dims());
  if (int(shape.size()) != index.ndim) {
    value_error(op, "shape is " + shape_text(shape) + ", expected " + std::to_string(index.ndim) +
                        " axes like index " + shape_text(index.shape, index.ndim));
  }
  axis = checked_axis(index, axis);
  checked_product(op, shape);
  Dims strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0; step *= shape[i]) strides[i] = step;
  const AxisShape s = axis_shape(index, axis, shape.data(), strides, int(dy.itemsize));
  Indices at(index);
  at.require_range(shape[size_t(axis)]);
  py::object dx = new_array(op, dy.dtype, shape);
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().scatter_add_axis, s, dy.as<const T>(), at.data(), data_of<T>(dx));
  });
  return dx;
}

py::object one_hot(py::handle indices_in, int64_t classes) {
  const Array index("one_hot", "indices", indices_in);
  if (classes < 0)
    value_error("one_hot", "classes is " + std::to_string(classes) + ", expected >= 0");
  Indices at(index);
  at.require_range(classes);
  Dims shape = index.dims();
  shape.push_back(classes);
  py::object y = new_array("one_hot", DType::kInt64, shape);
  invoke(kernels_for<void>().one_hot, OneHotShape{at.count(), classes}, at.data(),
         data_of<int64_t>(y));
  return y;
}

py::object triangle(const char* op, Triangle part, py::handle x_in, int64_t k) {
  const Array x(op, "x", x_in);
  require_plain(x).require_contiguous();
  if (x.ndim < 2)
    value_error(op, "x has shape " + shape_text(x.shape, x.ndim) + ", expected (..., M, N)");
  TriangleShape s = {};
  s.part = part;
  s.B = 1, s.M = x.shape[x.ndim - 2], s.N = x.shape[x.ndim - 1];
  for (int i = 0; i < x.ndim - 2; ++i) s.B *= x.shape[i];
  s.k = std::clamp(k, -s.M - 1, s.N + 1);
  s.item = int(x.itemsize);
  py::object y = new_array(x, x.dims());
  invoke(kernels_for<void>().triangle, s, static_cast<const void*>(x.data), data_of(y));
  return y;
}

}  // namespace

void register_layout(py::module_& m) {
  define(m, "copy", &copy, py::arg("x"), py::arg("out") = py::none());
  define(m, "assign", &assign, py::arg("dst"), py::arg("src"));
  define(m, "fill", &fill, py::arg("x"), py::arg("value"));
  define(m, "concat", &concat, py::arg("arrays"), py::arg("axis"));
  py::dict modes;
  const char* names[] = {"constant", "reflect", "replicate", "circular", "symmetric"};
  for (int i = 0; i < 5; ++i) modes[names[i]] = i;
  m.attr("pad_modes") = modes;
  define(m, "pad", &pad, py::arg("x"), py::arg("pairs"), py::arg("mode"), py::arg("value"));
  define(m, "pad_backward", &pad_backward, py::arg("dy"), py::arg("pairs"), py::arg("mode"));
  define(m, "take_rows", &take_rows, py::arg("table"), py::arg("indices"),
         py::arg("op") = "take_rows");
  define(m, "scatter_add_rows", &scatter_add_rows, py::arg("dy"), py::arg("indices"),
         py::arg("num_rows"));
  define(m, "gather", &gather, py::arg("x"), py::arg("index"), py::arg("axis"));
  define(m, "scatter_add", &scatter_add, py::arg("dy"), py::arg("index"), py::arg("axis"),
         py::arg("shape"));
  define(m, "one_hot", &one_hot, py::arg("indices"), py::arg("classes"));
  define(
      m, "tril", +[](py::handle x, int64_t k) { return triangle("tril", Triangle::kLower, x, k); },
      py::arg("x"), py::arg("k"));
  define(
      m, "triu", +[](py::handle x, int64_t k) { return triangle("triu", Triangle::kUpper, x, k); },
      py::arg("x"), py::arg("k"));
}

}  // namespace hl::bind
