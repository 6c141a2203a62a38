#include "bind/activation.h"
#include "bind/invoke.h"
#include "bind/panels.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

// x (..., I) and w (O, I), checked; fills everything but the activation.
LinearShape linear_shape(const Array& x, const Array& w) {
  x.require_float();
  w.require_float().require_like(x).require_ndim(2, "(O, I)");
  if (x.ndim == 0) value_error(x.op, "x is a single number, expected (..., I)");
  LinearShape s = {};
  s.O = w.shape[0], s.I = w.shape[1];
  if (x.shape[x.ndim - 1] != s.I) {
    value_error(x.op, "x " + shape_text(x.shape, x.ndim) + " has " +
                          std::to_string(x.shape[x.ndim - 1]) + " features, w " +
                          shape_text(w.shape, 2) + " expects " + std::to_string(s.I));
  }
  s.M = 1;
  for (int i = 0; i + 1 < x.ndim; ++i) s.M *= x.shape[i];
  x.require_contiguous();
  w.require_contiguous();
  return s;
}

Dims output_dims(const Array& x, int64_t features) {
  Dims d = x.dims();
  d.back() = features;
  return d;
}

py::object linear_forward(py::handle x_in, py::handle w_in, py::handle b_in, int act, bool need_z,
                          double p0, double p1, py::handle panels_in) {
  const char* op = "linear";
  const Array x(op, "x", x_in), w(op, "w", w_in);
  LinearShape s = linear_shape(x, w);
  set_activation(s, op, act, p0, p1);
  const void* b = nullptr;
  if (!b_in.is_none()) {
    const Array ba(op, "b", b_in);
    ba.require_float().require_like(x).require_shape({s.O}).require_contiguous();
    b = ba.data;
  }
  const void* panels = panels_or_null(op, panels_in, x, 1, s.O, s.I);
  s.packed = panels != nullptr;
  const Dims dims = output_dims(x, s.O);
  py::object y = new_array(op, x.dtype, dims);
  py::object z = need_z ? new_array(op, x.dtype, dims) : py::none();
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().linear_forward, s, x.as<const T>(), w.as<const T>(),
           static_cast<const T*>(panels), static_cast<const T*>(b), data_of<T>(y),
           need_z ? data_of<T>(z) : nullptr);
  });
  return need_z ? py::object(py::make_tuple(y, z)) : y;
}

py::tuple linear_backward(py::handle dy_in, py::handle x_in, py::handle w_in, py::handle saved_in,
                          int act, int need, double p0, double p1) {
  const char* op = "linear_backward";
  const Array x(op, "x", x_in), w(op, "w", w_in), dy(op, "dy", dy_in);
  LinearShape s = linear_shape(x, w);
  set_activation(s, op, act, p0, p1);
  s.need_dx = need & 1, s.need_dw = need & 2;
  const Dims dims = output_dims(x, s.O);
  dy.require_float().require_like(x).require_shape(dims).require_contiguous();
  const void* saved = nullptr;
  if (s.activation != kNoActivation) {
    if (saved_in.is_none()) value_error(op, "the activation's gradient needs y= (or saved=)");
    const Array sa(op, "y", saved_in);
    sa.require_float().require_like(x).require_shape(dims).require_contiguous();
    saved = sa.data;
  }
  auto wanted = [&](int bit, const Dims& shape) {
    return need & bit ? new_array(op, x.dtype, shape) : py::object(py::none());
  };
  py::object dx = wanted(1, x.dims()), dw = wanted(2, {s.O, s.I}), db = wanted(4, {s.O});
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    auto out = [](const py::object& a) { return a.is_none() ? nullptr : data_of<T>(a); };
    invoke(kernels_for<T>().linear_backward, s, dy.as<const T>(), x.as<const T>(), w.as<const T>(),
           static_cast<const T*>(saved), out(dx), out(dw), out(db));
  });
  return py::make_tuple(dx, dw, db);
}

}  // namespace

void register_linear(py::module_& m) {
  define(m, "linear_forward", &linear_forward, py::arg("x"), py::arg("w"),
         py::arg("b") = py::none(), py::arg("act") = kNoActivation, py::arg("need_z") = false,
         py::arg("p0") = 0.0, py::arg("p1") = 0.0, py::arg("panels") = py::none());
  define(m, "linear_backward", &linear_backward, py::arg("dy"), py::arg("x"), py::arg("w"),
         py::arg("saved") = py::none(), py::arg("act") = kNoActivation, py::arg("need") = 7,
         py::arg("p0") = 0.0, py::arg("p1") = 0.0);
}

}  // namespace hl::bind
