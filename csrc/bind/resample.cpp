// Interpolation and FIR filters.
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "bind/axes.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

using Scales = std::optional<std::vector<double>>;

constexpr const char* kImages = "(N, W, C), (N, H, W, C) or (N, D, H, W, C)";

// N, C and the spatial sizes of an array, those in the last places of three.
ResampleShape open_shape(const Array& a, int64_t (&spatial)[3]) {
  a.require_float();
  if (a.ndim < 3 || a.ndim > 5) {
    value_error(a.op, std::string(a.name) + " has shape " + shape_text(a.shape, a.ndim) +
                          ", expected " + kImages);
  }
  a.require_contiguous();
  ResampleShape s = {};
  s.axes = a.ndim - 2;
  s.N = a.shape[0], s.C = a.shape[a.ndim - 1];
  for (int i = 0; i < 3; ++i) {
    s.in[i] = s.out[i] = s.up[i] = s.down[i] = 1;
    const int from = i + a.ndim - 4;
    spatial[i] = from >= 1 ? a.shape[from] : 1;
  }
  return s;
}

// Sizes given for the spatial axes of `a`, into the last places of three.
void read_sizes(const Array& a, const char* name, py::handle sizes, int64_t least,
                int64_t (&to)[3]) {
  const Dims given = shape_of(a.op, name, sizes);
  const int axes = a.ndim - 2;
  if (int(given.size()) != axes) {
    value_error(a.op, std::string(name) + " is " + shape_text(given) + ", expected " +
                          std::to_string(axes) + " for " + a.name + " " +
                          shape_text(a.shape, a.ndim));
  }
  for (int i = 0; i < axes; ++i) {
    to[i + 3 - axes] = given[size_t(i)];
    if (given[size_t(i)] < least) {
      value_error(a.op, std::string(name) + " is " + shape_text(given) + ", expected at least " +
                            std::to_string(least));
    }
  }
}

Dims result_dims(const Array& a, const int64_t (&spatial)[3]) {
  Dims shape = {a.shape[0]};
  shape.insert(shape.end(), spatial + 5 - a.ndim, spatial + 3);
  shape.push_back(a.shape[a.ndim - 1]);
  return shape;
}

void require_sizes(const Array& a, const int64_t (&in)[3]) {
  for (int64_t n : in) {
    if (n == 0) {
      value_error(a.op, std::string(a.name) + " has shape " + shape_text(a.shape, a.ndim) +
                            ": there is nothing to read along an empty axis");
    }
  }
}

void set_mode(const Array& a, ResampleShape& s, const Scales& scales, int mode, bool aligned) {
  if (mode < 0 || mode >= int(ResampleMode::kFir)) {
    value_error(a.op, "mode is " + std::to_string(mode) + ": see resample_modes");
  }
  s.mode = ResampleMode(mode);
  s.corners = aligned ? Corners::kAligned : Corners::kHalfPixel;
  const int axes = a.ndim - 2;
  if (!scales) return;
  if (int(scales->size()) != axes) {
    value_error(a.op, "scale_factor has " + std::to_string(scales->size()) + " numbers, expected " +
                          std::to_string(axes) + " for " + a.name + " " +
                          shape_text(a.shape, a.ndim));
  }
  for (int i = 0; i < axes; ++i) s.scale[i + 3 - axes] = (*scales)[size_t(i)];
}

template <class Entry32, class Entry64>
py::object run(const Array& a, const Dims& shape, const ResampleShape& s, Entry32 f32,
               Entry64 f64) {
  py::object y = new_array(a.op, a.dtype, shape);
  if (a.dtype == DType::kFloat32) {
    invoke(f32, s, a.as<const float>(), data_of<float>(y));
  } else {
    invoke(f64, s, a.as<const double>(), data_of<double>(y));
  }
  return y;
}

py::object forward(const Array& x, const ResampleShape& s) {
  return run(x, result_dims(x, s.out), s, kernels_for<float>().resample_forward,
             kernels_for<double>().resample_forward);
}
py::object backward(const Array& dy, const ResampleShape& s) {
  return run(dy, result_dims(dy, s.in), s, kernels_for<float>().resample_backward,
             kernels_for<double>().resample_backward);
}

py::object resample_forward(py::handle x_in, py::handle size, const Scales& scales, int mode,
                            bool aligned) {
  const Array x("interpolate", "x", x_in);
  int64_t in[3];
  ResampleShape s = open_shape(x, in);
  std::copy_n(in, 3, s.in);
  set_mode(x, s, scales, mode, aligned);
  read_sizes(x, "size", size, 1, s.out);
  require_sizes(x, s.in);
  return forward(x, s);
}

py::object resample_backward(py::handle dy_in, py::handle input_size, const Scales& scales,
                             int mode, bool aligned) {
  const Array dy("interpolate_backward", "dy", dy_in);
  int64_t out[3];
  ResampleShape s = open_shape(dy, out);
  std::copy_n(out, 3, s.out);
  set_mode(dy, s, scales, mode, aligned);
  read_sizes(dy, "input_size", input_size, 1, s.in);
  require_sizes(dy, s.out);
  return backward(dy, s);
}

// ---- FIR ---------------------------------------------------------------------------------------
struct Fir {
  const std::vector<double>& taps;
  py::handle up, down, before, after;
};

// Fills in all but the sizes, then those of the result.
void set_fir(const Array& a, ResampleShape& s, const Fir& f) {
  s.mode = ResampleMode::kFir;
  if (f.taps.empty() || f.taps.size() > size_t(kMaxFir)) {
    value_error(a.op, "kernel has " + std::to_string(f.taps.size()) + " numbers, expected 1 to " +
                          std::to_string(kMaxFir));
  }
  s.fir_size = int(f.taps.size());
  std::copy(f.taps.begin(), f.taps.end(), s.fir);
  int64_t after[3] = {};
  read_sizes(a, "up", f.up, 1, s.up);
  read_sizes(a, "down", f.down, 1, s.down);
  read_sizes(a, "before", f.before, 0, s.before);
  read_sizes(a, "after", f.after, 0, after);
  for (int i = 0; i < 3; ++i) {
    if (i < 5 - a.ndim) continue;  // an axis that is not there
    const int64_t limit = int64_t(1) << 40;
    if (std::max({s.up[i], s.down[i], s.before[i], after[i]}) > limit) {
      value_error(a.op, "up, down and padding must be below 2**40");
    }
    const int64_t length = s.in[i] * s.up[i] + s.before[i] + after[i];
    if (length < s.fir_size) {
      value_error(a.op, "the kernel has " + std::to_string(s.fir_size) + " taps, but axis " +
                            std::to_string(i + a.ndim - 4) + " has only " + std::to_string(length) +
                            " elements with its padding");
    }
    s.out[i] = (length - s.fir_size) / s.down[i] + 1;
  }
}

py::object upfirdn_forward(py::handle x_in, const std::vector<double>& taps, py::handle up,
                           py::handle down, py::handle before, py::handle after) {
  const Array x("upfirdn", "x", x_in);
  int64_t in[3];
  ResampleShape s = open_shape(x, in);
  std::copy_n(in, 3, s.in);
  set_fir(x, s, {taps, up, down, before, after});
  return forward(x, s);
}

py::object upfirdn_backward(py::handle dy_in, py::handle input_size,
                            const std::vector<double>& taps, py::handle up, py::handle down,
                            py::handle before, py::handle after) {
  const Array dy("upfirdn_backward", "dy", dy_in);
  int64_t out[3];
  ResampleShape s = open_shape(dy, out);
  read_sizes(dy, "input_size", input_size, 0, s.in);
  set_fir(dy, s, {taps, up, down, before, after});
  if (!std::equal(out, out + 3, s.out)) {
    value_error("upfirdn_backward", "dy has shape " + shape_text(dy.shape, dy.ndim) +
                                        ", expected " + shape_text(result_dims(dy, s.out)));
  }
  return backward(dy, s);
}

}  // namespace

void register_resample(py::module_& m) {
  py::dict modes;
  const char* names[] = {"nearest", "nearest-exact", "linear", "bicubic", "area"};
  for (int i = 0; i < 5; ++i) modes[names[i]] = i;
  m.attr("resample_modes") = modes;
  define(m, "resample_forward", &resample_forward, py::arg("x"), py::arg("size"), py::arg("scales"),
         py::arg("mode"), py::arg("aligned"));
  define(m, "resample_backward", &resample_backward, py::arg("dy"), py::arg("input_size"),
         py::arg("scales"), py::arg("mode"), py::arg("aligned"));
  define(m, "upfirdn_forward", &upfirdn_forward, py::arg("x"), py::arg("taps"), py::arg("up"),
         py::arg("down"), py::arg("before"), py::arg("after"));
  define(m, "upfirdn_backward", &upfirdn_backward, py::arg("dy"), py::arg("input_size"),
         py::arg("taps"), py::arg("up"), py::arg("down"), py::arg("before"), py::arg("after"));
}

}  // namespace hl::bind
