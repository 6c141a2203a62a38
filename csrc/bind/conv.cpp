// Convolution in one, two or three dimensions; the number of axes of x decides.
#include <pybind11/stl.h>

#include "bind/activation.h"
#include "bind/invoke.h"
#include "bind/panels.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

using Ints = std::vector<int64_t>;

// How the window moves, one number for each spatial axis.
struct Moves {
  Ints stride, before, after, dilation;
  int64_t groups;
};

const char* layout(int n) {
  static const char* names[] = {"", "(N, W, C)", "(N, H, W, C)", "(N, D, H, W, C)"};
  return names[n];
}

constexpr int64_t kMost = int64_t(1) << 31;     // numbers of a window stay below
constexpr int64_t kLongest = int64_t(1) << 40;  // and axes with their margins, so that sums fit

// Everything about the shape but x's channels and the activation. `in` are the spatial sizes of the side
// with C channels; out follows.
ConvShape conv_shape(const char* op, int64_t N, const Ints& in, const Array& w, const Moves& m) {
  const int n = int(in.size());
  w.require_ndim(n + 2, n == 1   ? "(out, kW, in/groups)"
                        : n == 2 ? "(out, kH, kW, in/groups)"
                                 : "(out, kD, kH, kW, in/groups)");
  if (m.groups < 1 || m.groups >= kMost) {
    value_error(op, "groups is " + std::to_string(m.groups) + ", expected at least 1" +
                        (m.groups < 1 ? "" : " and below 2^31"));
  }
  ConvShape s = {};
  s.N = N, s.K = w.shape[0], s.groups = m.groups, s.C = w.shape[n + 1] * m.groups;
  if (s.K % s.groups != 0) {
    value_error(op, "w has " + std::to_string(s.K) + " output channels, which " +
                        std::to_string(s.groups) + " groups do not divide");
  }
  for (int i = 0; i < 3; ++i) {
    const int a = i - (3 - n);  // unused axes come first
    s.in[i] = a < 0 ? 1 : in[a];
    s.kernel[i] = a < 0 ? 1 : w.shape[a + 1];
    s.stride[i] = a < 0 ? 1 : m.stride[a];
    s.dilation[i] = a < 0 ? 1 : m.dilation[a];
    s.pad[i] = a < 0 ? 0 : m.before[a];
    const int64_t behind = a < 0 ? 0 : m.after[a];
    for (int64_t n : {s.kernel[i], s.stride[i], s.dilation[i], s.pad[i], behind}) {
      if (n >= kMost || n <= -kMost) {
        value_error(op, "a kernel, stride, dilation or padding of " + std::to_string(n) +
                            ", expected below 2^31");
      }
    }
    if (s.in[i] >= kLongest) {
      value_error(op, "an axis of " + std::to_string(s.in[i]) + ", expected below 2^40");
    }
    const int64_t room = s.in[i] + s.pad[i] + behind - s.dilation[i] * (s.kernel[i] - 1) - 1;
    if (room < 0 || s.kernel[i] < 1) {
      value_error(op, "the kernel " + shape_text(w.shape + 1, n) +
                          " does not fit the padded input " + shape_text(in));
    }
    s.out[i] = room / s.stride[i] + 1;
  }
  return s;
}

// (N, spatial axes, channels)
Dims dims_of(int n, int64_t N, const int64_t* size, int64_t channels) {
  Dims d = {N};
  d.insert(d.end(), size + 3 - n, size + 3);
  d.push_back(channels);
  return d;
}

int spatial(const Array& x) {
  if (x.ndim < 3 || x.ndim > 5) {
    value_error(x.op, std::string(x.name) + " has shape " + shape_text(x.shape, x.ndim) +
                          ", expected (N, W, C), (N, H, W, C) or (N, D, H, W, C)");
  }
  return x.ndim - 2;
}

Ints sizes_of(const Array& x) { return Ints(x.shape + 1, x.shape + x.ndim - 1); }

const Array& require_channels(const Array& x, const Array& w, int64_t channels, int64_t groups) {
  const int64_t came = x.shape[x.ndim - 1];
  if (came == channels) return x;
  std::string text = "w expects " + std::to_string(channels / groups) +
                     " input channels per group, " + x.name + " has " + std::to_string(came);
  if (groups > 1) text += "/" + std::to_string(groups);
  if (x.ndim > 2 && x.shape[1] == channels) {
    text += std::string("; ") + x.name + " " + shape_text(x.shape, x.ndim) +
            " looks channels-first, expected " + layout(x.ndim - 2) + ": np.moveaxis(" + x.name +
            ", 1, -1)";
  } else {
    text += std::string(" (") + x.name + " " + shape_text(x.shape, x.ndim) + ", w " +
            shape_text(w.shape, w.ndim) + ")";
  }
  value_error(x.op, text);
}

// Before conv_shape looks at the sizes: an image in another layout has wrong sizes, too, and what
// is to be said about it is the layout. (Where w or groups is wrong, conv_shape says so.)
void require_layout(const Array& x, const Array& w, int64_t groups) {
  if (w.ndim != x.ndim || groups < 1 || groups >= kMost) return;
  require_channels(x, w, w.shape[w.ndim - 1] * groups, groups);
}

template <class T>
T* out(const py::object& a) {
  return a.is_none() ? nullptr : data_of<T>(a);
}

const void* vector_or_null(const char* op, py::handle b, const Array& like, int64_t n) {
  if (b.is_none()) return nullptr;
  const Array a(op, "b", b);
  a.require_float().require_like(like).require_shape({n}).require_contiguous();
  return a.data;
}

py::object conv_forward(const char* op, py::handle x_in, py::handle w_in, py::handle b_in,
                        const Ints& stride, const Ints& before, const Ints& after,
                        const Ints& dilation, int64_t groups, int act, bool need_z, double p0,
                        double p1, py::handle panels_in) {
  const Array x(op, "x", x_in), w(op, "w", w_in);
  x.require_float();
  w.require_float().require_like(x);
  const int n = spatial(x);
  require_layout(x, w, groups);
  ConvShape s =
      conv_shape(op, x.shape[0], sizes_of(x), w, {stride, before, after, dilation, groups});
  x.require_contiguous();
  w.require_contiguous();
  set_activation(s, op, act, p0, p1);
  const void* b = vector_or_null(op, b_in, x, s.K);
  const int64_t depth = s.kernel[0] * s.kernel[1] * s.kernel[2] * (s.C / groups);
  const void* panels = panels_or_null(op, panels_in, x, groups, s.K / groups, depth);
  s.packed = panels != nullptr;
  const Dims dims = dims_of(n, s.N, s.out, s.K);
  py::object y = new_array(op, x.dtype, dims);
  py::object z = need_z ? new_array(op, x.dtype, dims) : py::none();
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().conv_forward, s, x.as<const T>(), w.as<const T>(),
           static_cast<const T*>(panels), static_cast<const T*>(b), data_of<T>(y), out<T>(z));
  });
  return need_z ? py::object(py::make_tuple(y, z)) : y;
}

// dx of a convolution whose input had the spatial sizes `in`; or a transposed convolution of x.
py::object conv_backward_data(const char* op, const char* name, py::handle dy_in, py::handle w_in,
                              py::handle b_in, const Ints& in, const Ints& stride,
                              const Ints& before, const Ints& after, const Ints& dilation,
                              int64_t groups, int act, bool need_z, double p0, double p1) {
  const Array dy(op, name, dy_in), w(op, "w", w_in);
  dy.require_float();
  w.require_float().require_like(dy);
  const int n = spatial(dy);
  ConvShape s = conv_shape(op, dy.shape[0], in, w, {stride, before, after, dilation, groups});
  require_channels(dy, w, s.K, groups);
  dy.require_shape(dims_of(n, s.N, s.out, s.K)).require_contiguous();
  w.require_contiguous();
  set_activation(s, op, act, p0, p1);
  const void* b = vector_or_null(op, b_in, dy, s.C);
  const Dims dims = dims_of(n, s.N, s.in, s.C);
  py::object dx = new_array(op, dy.dtype, dims);
  py::object z = need_z ? new_array(op, dy.dtype, dims) : py::none();
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().conv_backward_data, s, dy.as<const T>(), w.as<const T>(),
           static_cast<const T*>(b), data_of<T>(dx), out<T>(z));
  });
  return need_z ? py::object(py::make_tuple(dx, z)) : dx;
}

// dw (and db) of a convolution from dy to x, for a w of the given shape.
py::tuple conv_backward_weight(const char* op, py::handle dy_in, py::handle x_in, py::handle w_in,
                               const Ints& stride, const Ints& before, const Ints& after,
                               const Ints& dilation, int64_t groups, bool need_w, bool need_b) {
  const Array dy(op, "dy", dy_in), x(op, "x", x_in), w(op, "w", w_in);
  x.require_float();
  dy.require_float().require_like(x);
  w.require_float().require_like(x);
  const int n = spatial(x);
  require_layout(x, w, groups);
  ConvShape s =
      conv_shape(op, x.shape[0], sizes_of(x), w, {stride, before, after, dilation, groups});
  x.require_contiguous();
  dy.require_shape(dims_of(n, s.N, s.out, s.K)).require_contiguous();
  s.activation = kNoActivation;
  py::object dw = need_w ? new_array(op, x.dtype, w.dims()) : py::none();
  py::object db = need_b ? new_array(op, x.dtype, {s.K}) : py::none();
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().conv_backward_weight, s, dy.as<const T>(), x.as<const T>(), out<T>(dw),
           out<T>(db));
  });
  return py::make_tuple(dw, db);
}

}  // namespace

void register_conv(py::module_& m) {
  define(m, "conv_forward", &conv_forward, py::arg("op"), py::arg("x"), py::arg("w"), py::arg("b"),
         py::arg("stride"), py::arg("before"), py::arg("after"), py::arg("dilation"),
         py::arg("groups"), py::arg("act"), py::arg("need_z"), py::arg("p0"), py::arg("p1"),
         py::arg("panels") = py::none());
  define(m, "conv_backward_data", &conv_backward_data, py::arg("op"), py::arg("name"),
         py::arg("dy"), py::arg("w"), py::arg("b"), py::arg("size"), py::arg("stride"),
         py::arg("before"), py::arg("after"), py::arg("dilation"), py::arg("groups"),
         py::arg("act"), py::arg("need_z"), py::arg("p0"), py::arg("p1"));
  define(m, "conv_backward_weight", &conv_backward_weight, py::arg("op"), py::arg("dy"),
         py::arg("x"), py::arg("w"), py::arg("stride"), py::arg("before"), py::arg("after"),
         py::arg("dilation"), py::arg("groups"), py::arg("need_w"), py::arg("need_b"));
}

}  // namespace hl::bind
