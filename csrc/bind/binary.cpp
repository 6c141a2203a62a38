#include <pybind11/stl.h>

#include <cstring>
#include <iterator>

#include "bind/axes.h"
#include "bind/elementwise.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

struct BinaryInfo {
  const char *name, *backward;
};
constexpr BinaryInfo kBinary[] = {
    {"add", "add_backward"},
    {"div", "div_backward"},
    {"floor_divide", "floor_divide_backward"},
    {"maximum", "maximum_backward"},
    {"minimum", "minimum_backward"},
    {"mul", "mul_backward"},
    {"pow", "pow_backward"},
    {"prelu", "prelu_backward"},
    {"remainder", "remainder_backward"},
    {"sub", "sub_backward"},
};
static_assert(std::size(kBinary) == size_t(BinaryOp::kCount));

constexpr const char* kCompare[] = {"eq", "ge", "gt", "le", "lt", "ne"};
static_assert(std::size(kCompare) == size_t(CompareOp::kCount));

template <class Table>
const auto& row_of(const Table& table, int op, const char* what) {
  if (op < 0 || op >= int(std::size(table))) {
    value_error(what, "there is no op number " + std::to_string(op));
  }
  return table[op];
}

// A Python or NumPy number; TypeError for anything else.
double number(const char* op, const char* name, py::handle h) {
  const double x = PyFloat_AsDouble(h.ptr());
  if (x == -1 && PyErr_Occurred()) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    type_error(op, std::string(name) + " is a " +
                       std::string(py::str(py::type::of(h).attr("__name__"))) +
                       ", expected a numpy.ndarray or a number");
  }
  return x;
}

bool same_shape(const Array& a, const Array& b) {
  return a.ndim == b.ndim && std::memcmp(a.shape, b.shape, sizeof(ssize_t) * size_t(a.ndim)) == 0;
}

// A new array, or `out` once checked.
py::object result(const char* op, DType dtype, const int64_t* shape, int ndim, py::handle out,
                  std::initializer_list<const Array*> inputs) {
  if (out.is_none()) return new_array(op, dtype, shape, ndim);
  check_out(Array(op, "out", out), dtype, Dims(shape, shape + ndim), inputs, Alias::kExact);
  return py::reinterpret_borrow<py::object>(out);
}

void require_operands(const Array& a, const Array& b) {
  a.require_float();
  b.require_float().require_like(a);
}

py::object with_arrays(int op, const char* name, const Array& a, const Array& b, py::handle out) {
  require_operands(a, b);
  ElementShape s;
  s.op = op;
  const bool same = same_shape(a, b);
  py::object y;
  if (same) {
    y = result(name, a.dtype, a.shape, a.ndim, out, {&a, &b});
  } else {
    const Dims shape = broadcast_shape(a, b);
    y = result(name, a.dtype, shape.data(), int(shape.size()), out, {&a, &b});
  }
  const Array to(name, "out", y);
  if (same && a.contiguous() && b.contiguous() && to.contiguous()) {
    set_run(s, a.size(), 3);
  } else {
    set_axes(name, s, to.shape, to.ndim, {operand(a), operand(b), operand(to)});
  }
  with_float(a, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().binary_forward, s, a.as<const T>(), b.as<const T>(), to.as<T>());
  });
  return y;
}

// array op number, or number op array
py::object with_number(int op, const char* name, const Array& array, double value, bool left,
                       py::handle out) {
  array.require_float();
  py::object y = result(name, array.dtype, array.shape, array.ndim, out, {&array});
  const Array to(name, "out", y);
  ElementShape s;
  s.op = op;
  const bool run = array.contiguous() && to.contiguous();
  if (run) {
    set_run(s, array.size(), 3);
    s.stride[left ? 0 : 1][0] = 0;
  } else if (left) {
    set_axes(name, s, to.shape, to.ndim, {repeated(), operand(array), operand(to)});
  } else {
    set_axes(name, s, to.shape, to.ndim, {operand(array), repeated(), operand(to)});
  }
  with_float(array, [&](auto zero) {
    using T = decltype(zero);
    const T* p = array.as<const T>();
    s.p0 = value;
    if (BinaryOp(op) == BinaryOp::kPow && !left) {
      s.op = int(UnaryOp::kPow), s.p1 = 0;
      for (int i = 0; i < s.dims; ++i) s.stride[1][i] = s.stride[2][i];
      invoke(kernels_for<T>().unary_forward, s, p, to.as<T>());
    } else {
      invoke(kernels_for<T>().binary_forward, s, left ? nullptr : p, left ? p : nullptr,
             to.as<T>());
    }
  });
  return y;
}

py::object forward(int op, py::handle a, py::handle b, py::handle out) {
  const char* name = row_of(kBinary, op, "binary").name;
  const bool a_array = is_array(a), b_array = is_array(b);
  if (a_array && b_array)
    return with_arrays(op, name, Array(name, "a", a), Array(name, "b", b), out);
  if (a_array) return with_number(op, name, Array(name, "a", a), number(name, "b", b), false, out);
  if (b_array) return with_number(op, name, Array(name, "b", b), number(name, "a", a), true, out);
  type_error(name, "neither a nor b is a numpy.ndarray");
}

// The gradient of a (which = 0) or b (1).
py::object gradient(int op, const char* name, const Array& dy, const Array& a, const Array& b,
                    const Array& y, int which) {
  const Array& of = which ? b : a;
  py::object grad = new_array(name, dy.dtype, of.shape, of.ndim);
  const Array to(name, "gradient", grad);
  ElementShape s;
  s.op = op, s.p0 = which;
  if (same_shape(a, dy) && same_shape(b, dy) && a.contiguous() && b.contiguous() &&
      dy.contiguous() && y.contiguous()) {
    set_run(s, dy.size(), 5);
  } else {
    set_axes(name, s, dy.shape, dy.ndim,
             {operand(dy), operand(a), operand(b), operand(y), operand(to)}, Order::kC);
  }
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    if (dy.size() == 0) return set_zero(to);  // a sum of nothing
    invoke(kernels_for<T>().binary_backward, s, dy.as<const T>(), a.as<const T>(), b.as<const T>(),
           y.as<const T>(), to.as<T>());
  });
  return grad;
}

ElementType element_type(const Array& a) {
  switch (a.dtype) {
    case DType::kFloat32:
      return ElementType::kFloat32;
    case DType::kFloat64:
      return ElementType::kFloat64;
    case DType::kInt32:
      return ElementType::kInt32;
    case DType::kInt64:
      return ElementType::kInt64;
    case DType::kBool:
      return ElementType::kBool;
    default:
      break;
  }
  type_error(a.op, std::string(a.name) + " has dtype " + a.dtype_name() +
                       ", expected float32, float64, int32, int64 or bool");
}

// A number beside an array: an array of no axes, of the array's dtype.
py::object as_array(const char* op, const char* name, py::handle h, py::handle other) {
  if (is_array(h)) return py::reinterpret_borrow<py::object>(h);
  if (!is_array(other)) type_error(op, "neither a nor b is a numpy.ndarray");
  const Array like(op, name[0] == 'a' ? "b" : "a", other);
  const ElementType type = element_type(like);
  py::object made = new_array(op, like.dtype, nullptr, 0);
  const auto put = [&](auto item) {
    copy_to(Array(op, name, made), &item);
    return made;
  };
  if (type == ElementType::kFloat32) return put(float(number(op, name, h)));
  if (type == ElementType::kFloat64) return put(number(op, name, h));
  // Integers compare exactly: 2.5 beside int64 would not.
  py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(h.ptr()));
  int overflow = 0;
  const long long x = index ? PyLong_AsLongLongAndOverflow(index.ptr(), &overflow) : 0;
  const bool fits = type == ElementType::kInt64   ? true
                    : type == ElementType::kInt32 ? x == int32_t(x)
                                                  : x == 0 || x == 1;
  if (!index || overflow || !fits) {
    PyErr_Clear();
    type_error(op, std::string(name) + " is " + std::string(py::str(py::repr(h))) +
                       ", which is no " + like.dtype_name());
  }
  if (type == ElementType::kInt32) return put(int32_t(x));
  if (type == ElementType::kInt64) return put(int64_t(x));
  return put(uint8_t(x));
}

py::tuple backward(int op, py::handle dy_in, py::handle a_in, py::handle b_in, py::handle y_in,
                   int need) {
  const char* name = row_of(kBinary, op, "binary").backward;
  py::object da = py::none(), db = py::none();
  // A number has no gradient.
  if (!is_array(a_in)) need &= ~1;
  if (!is_array(b_in)) need &= ~2;
  const Array dy(name, "dy", dy_in);
  dy.require_float();
  if (BinaryOp(op) == BinaryOp::kPow && !is_array(b_in)) {
    if (need & 1)
      da = unary_backward(int(UnaryOp::kPow), dy_in, a_in, py::none(), number(name, "b", b_in), 0);
    return py::make_tuple(da, db);
  }
  const py::object a_kept = as_array(name, "a", a_in, dy_in),
                   b_kept = as_array(name, "b", b_in, dy_in);
  const Array a(name, "a", a_kept), b(name, "b", b_kept);
  require_operands(a, b);
  a.require_like(dy);
  dy.require_shape(broadcast_shape(a, b));
  py::object kept = py::reinterpret_borrow<py::object>(dy_in);
  if (BinaryOp(op) == BinaryOp::kPow && (need & 2)) {
    kept = y_in.is_none() ? forward(op, a_in, b_in, py::none())
                          : py::reinterpret_borrow<py::object>(y_in);
  }
  const Array y(name, "y", kept);
  y.require_like(dy).require_shape(dy.dims());
  if (need & 1) da = gradient(op, name, dy, a, b, y, 0);
  if (need & 2) db = gradient(op, name, dy, a, b, y, 1);
  return py::make_tuple(da, db);
}

// ---- comparisons and choice
// ----------------------------------------------------------------------

py::object compare(int op, py::handle a_in, py::handle b_in) {
  const char* name = row_of(kCompare, op, "compare");
  const py::object a_kept = as_array(name, "a", a_in, b_in),
                   b_kept = as_array(name, "b", b_in, a_in);
  const Array a(name, "a", a_kept), b(name, "b", b_kept);
  ElementShape s;
  s.op = op, s.type = int(element_type(a));
  b.require_like(a);
  py::object y = new_array(name, DType::kBool, broadcast_shape(a, b));
  const Array to(name, "result", y);
  set_axes(name, s, to.shape, to.ndim, {operand(a), operand(b), operand(to)});
  invoke(kernels_for<void>().compare, s, static_cast<const void*>(a.data),
         static_cast<const void*>(b.data), to.as<uint8_t>());
  return y;
}

Dims broadcast_shape(const Array& x, const Dims& shape, const char* what) {
  const int n = std::max(x.ndim, int(shape.size()));
  Dims all(n);
  for (int i = 0; i < n; ++i) {
    const int ix = i - (n - x.ndim), is = i - (n - int(shape.size()));
    const int64_t m = ix >= 0 ? x.shape[ix] : 1, s = is >= 0 ? shape[is] : 1;
    if (m != s && m != 1 && s != 1) {
      value_error(x.op, std::string(x.name) + " " + shape_text(x.shape, x.ndim) + " and " + what +
                            " " + shape_text(shape) + " do not broadcast");
    }
    all[i] = m == 1 ? s : m;
  }
  return all;
}

py::object where(py::handle mask_in, py::handle a_in, py::handle b_in, py::handle out) {
  const Array mask("where", "mask", mask_in);
  mask.require_bool();
  const py::object a_kept = as_array("where", "a", a_in, b_in),
                   b_kept = as_array("where", "b", b_in, a_in);
  const Array a("where", "a", a_kept), b("where", "b", b_kept);
  ElementShape s;
  s.type = int(element_type(a));
  b.require_like(a);
  const Dims shape = broadcast_shape(mask, hl::bind::broadcast_shape(a, b), "a and b");
  py::object y = result("where", a.dtype, shape.data(), int(shape.size()), out, {&mask, &a, &b});
  const Array to("where", "out", y);
  set_axes("where", s, to.shape, to.ndim, {operand(mask), operand(a), operand(b), operand(to)});
  invoke(kernels_for<void>().where, s, mask.as<const uint8_t>(), static_cast<const void*>(a.data),
         static_cast<const void*>(b.data), to.data);
  return y;
}

// dy where the mask is set (which = 0) or is not (1), summed to the operand's shape.
py::object where_gradient(const Array& dy, const Array& mask, const Dims& shape, int which) {
  py::object grad = new_array("where_backward", dy.dtype, shape);
  const Array to("where_backward", which ? "b_shape" : "a_shape", grad);
  if (broadcast_shape(dy, shape, to.name) != dy.dims()) {
    value_error("where_backward", std::string(to.name) + " " + shape_text(shape) +
                                      " is not a shape that broadcasts to dy's " +
                                      shape_text(dy.shape, dy.ndim));
  }
  ElementShape s;
  s.p0 = which;
  set_axes("where_backward", s, dy.shape, dy.ndim, {operand(mask), operand(dy), operand(to)},
           Order::kC);
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    if (dy.size() == 0) return set_zero(to);
    invoke(kernels_for<T>().where_backward, s, mask.as<const uint8_t>(), dy.as<const T>(),
           to.as<T>());
  });
  return grad;
}

py::tuple where_backward(py::handle dy_in, py::handle mask_in, py::object a_shape,
                         py::object b_shape) {
  const Array dy("where_backward", "dy", dy_in), mask("where_backward", "mask", mask_in);
  dy.require_float();
  mask.require_bool();
  if (broadcast_shape(mask, dy.dims(), "dy") != dy.dims()) {
    value_error("where_backward", "mask " + shape_text(mask.shape, mask.ndim) +
                                      " does not broadcast to dy " + shape_text(dy.shape, dy.ndim));
  }
  py::object da = py::none(), db = py::none();
  const auto gradient = [&](const char* name, py::handle shape, int which) {
    return where_gradient(dy, mask, shape_of("where_backward", name, shape), which);
  };
  if (!a_shape.is_none()) da = gradient("a_shape", a_shape, 0);
  if (!b_shape.is_none()) db = gradient("b_shape", b_shape, 1);
  return py::make_tuple(da, db);
}

}  // namespace

void register_binary(py::module_& m) {
  py::dict binary, comparisons;
  for (int i = 0; i < int(BinaryOp::kCount); ++i) binary[kBinary[i].name] = i;
  for (int i = 0; i < int(CompareOp::kCount); ++i) comparisons[kCompare[i]] = i;
  m.attr("binary_ops") = binary;
  m.attr("compare_ops") = comparisons;
  define(m, "binary_forward", &forward, py::arg("op"), py::arg("a"), py::arg("b"),
         py::arg("out") = py::none());
  define(m, "binary_backward", &backward, py::arg("op"), py::arg("dy"), py::arg("a"), py::arg("b"),
         py::arg("y") = py::none(), py::arg("need") = 3);
  define(m, "compare", &compare, py::arg("op"), py::arg("a"), py::arg("b"));
  define(m, "where_backward", &where_backward, py::arg("dy"), py::arg("mask"), py::arg("a_shape"),
         py::arg("b_shape"));
  define(m, "where", &where, py::arg("mask"), py::arg("a"), py::arg("b"),
         py::arg("out") = py::none());
}

}  // namespace hl::bind
