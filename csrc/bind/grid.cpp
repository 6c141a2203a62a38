// Affine grids, grid sampling and affine warps.
#include <algorithm>

#include "bind/axes.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr int kX = 1, kGrid = 2;  // bits of `need`

// The last places of three; what is not there is 1.
void spatial_of(const int64_t* sizes, int dims, int64_t (&to)[3]) {
  for (int i = 0; i < 3; ++i) to[i] = i < 3 - dims ? 1 : sizes[i - (3 - dims)];
}

Dims matrix_dims(int64_t N, int dims) { return {N, dims, dims + 1}; }

// (N, H, W, C) or (N, D, H, W, C)
void require_image(const Array& x) {
  x.require_float();
  if (x.ndim != 4 && x.ndim != 5) {
    value_error(x.op, std::string(x.name) + " has shape " + shape_text(x.shape, x.ndim) +
                          ", expected (N, H, W, C) or (N, D, H, W, C)");
  }
  x.require_contiguous();
}

GridShape affine_shape(const char* op, py::handle size_in, bool aligned) {
  const Dims size = shape_of(op, "size", size_in);
  if (size.size() != 4 && size.size() != 5) {
    value_error(op, "size is " + shape_text(size) + ", expected (N, H, W, C) or (N, D, H, W, C)");
  }
  GridShape s = {};
  s.dims = int(size.size()) - 2;
  s.N = size[0], s.C = 1;
  spatial_of(size.data() + 1, s.dims, s.out);
  s.corners = aligned ? Corners::kAligned : Corners::kHalfPixel;
  return s;
}

Dims grid_dims(const GridShape& s) {
  Dims shape = {s.N};
  shape.insert(shape.end(), s.out + 3 - s.dims, s.out + 3);
  shape.push_back(s.dims);
  return shape;
}

py::object affine_grid_forward(py::handle theta_in, py::handle size, bool aligned) {
  const char* op = "affine_grid";
  const Array theta(op, "theta", theta_in);
  const GridShape s = affine_shape(op, size, aligned);
  theta.require_float().require_shape(matrix_dims(s.N, s.dims)).require_contiguous();
  py::object grid = new_array(op, theta.dtype, grid_dims(s));
  with_float(theta, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().affine_grid_forward, s, theta.as<const T>(), data_of<T>(grid));
  });
  return grid;
}

py::object affine_grid_backward(py::handle dgrid_in, bool aligned) {
  const char* op = "affine_grid_backward";
  const Array dgrid(op, "dgrid", dgrid_in);
  dgrid.require_float();
  const int dims = dgrid.ndim - 2;
  if ((dims != 2 && dims != 3) || dgrid.shape[dgrid.ndim - 1] != dims) {
    value_error(op, "dgrid has shape " + shape_text(dgrid.shape, dgrid.ndim) +
                        ", expected (N, H, W, 2) or (N, D, H, W, 3)");
  }
  dgrid.require_contiguous();
  GridShape s = {};
  s.dims = dims, s.N = dgrid.shape[0], s.C = 1;
  spatial_of(dgrid.shape + 1, dims, s.out);
  s.corners = aligned ? Corners::kAligned : Corners::kHalfPixel;
  py::object dtheta = new_array(op, dgrid.dtype, matrix_dims(s.N, dims));
  with_float(dgrid, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().affine_grid_backward, s, dgrid.as<const T>(), data_of<T>(dtheta));
  });
  return dtheta;
}

GridShape sample_shape(const Array& x, int mode, int outside, bool aligned) {
  if (mode < 0 || mode > 1 || outside < 0 || outside > 2) {
    value_error(x.op, "mode is " + std::to_string(mode) + " and padding_mode " +
                          std::to_string(outside) + ": see sample_modes and outside_modes");
  }
  GridShape s = {};
  s.dims = x.ndim - 2;
  s.N = x.shape[0], s.C = x.shape[x.ndim - 1];
  spatial_of(x.shape + 1, s.dims, s.in);
  s.mode = SampleMode(mode), s.outside = OutsideMode(outside);
  s.corners = aligned ? Corners::kAligned : Corners::kHalfPixel;
  // Places are worked out in x's own type, and a corner must have a number of its own there.
  const int64_t most = x.dtype == DType::kFloat32 ? int64_t(1) << 24 : int64_t(1) << 30;
  for (int64_t n : s.in) {
    if (n > most) {
      value_error(x.op, "x has shape " + shape_text(x.shape, x.ndim) + ", expected at most " +
                            std::to_string(most) + " elements along an axis");
    }
  }
  return s;
}

void require_filled(const Array& x, const GridShape& s) {
  if (s.in[0] * s.in[1] * s.in[2] == 0 && s.N * s.out[0] * s.out[1] * s.out[2] != 0) {
    value_error(x.op,
                "x has shape " + shape_text(x.shape, x.ndim) + ", expected at least one pixel");
  }
}

GridShape grid_shape(const Array& x, const Array& grid, int mode, int outside, bool aligned) {
  require_image(x);
  GridShape s = sample_shape(x, mode, outside, aligned);
  grid.require_float().require_like(x);
  if (grid.ndim != x.ndim || grid.shape[0] != s.N || grid.shape[grid.ndim - 1] != s.dims) {
    value_error(x.op, "grid has shape " + shape_text(grid.shape, grid.ndim) + ", expected (" +
                          std::to_string(s.N) + (s.dims == 2 ? ", H, W, 2)" : ", D, H, W, 3)") +
                          " for x " + shape_text(x.shape, x.ndim));
  }
  grid.require_contiguous();
  spatial_of(grid.shape + 1, s.dims, s.out);
  require_filled(x, s);
  return s;
}

Dims image_dims(const Array& x, const GridShape& s) {
  Dims shape = {s.N};
  shape.insert(shape.end(), s.out + 3 - s.dims, s.out + 3);
  shape.push_back(x.shape[x.ndim - 1]);
  return shape;
}

py::object grid_sample_forward(py::handle x_in, py::handle grid_in, int mode, int outside,
                               bool aligned) {
  const char* op = "grid_sample";
  const Array x(op, "x", x_in), grid(op, "grid", grid_in);
  const GridShape s = grid_shape(x, grid, mode, outside, aligned);
  py::object y = new_array(op, x.dtype, image_dims(x, s));
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().grid_sample_forward, s, x.as<const T>(), grid.as<const T>(),
           data_of<T>(y));
  });
  return y;
}

py::tuple grid_sample_backward(py::handle dy_in, py::handle x_in, py::handle grid_in, int mode,
                               int outside, bool aligned, int need) {
  const char* op = "grid_sample_backward";
  const Array dy(op, "dy", dy_in), x(op, "x", x_in), grid(op, "grid", grid_in);
  const GridShape s = grid_shape(x, grid, mode, outside, aligned);
  dy.require_float().require_like(x).require_shape(image_dims(x, s)).require_contiguous();
  const int64_t limit = int64_t(1) << 31;
  if (s.out[0] * s.out[1] * s.out[2] >= limit || s.in[0] * (s.in[1] + 1) >= limit) {
    value_error(op, "more than 2**31 places or rows in one image");
  }
  py::object dx = py::none(), dgrid = py::none();
  if (need & kX) dx = new_like(x);
  if (need & kGrid) dgrid = new_like(grid);
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().grid_sample_backward, s, dy.as<const T>(), x.as<const T>(),
           grid.as<const T>(), need & kX ? data_of<T>(dx) : nullptr,
           need & kGrid ? data_of<T>(dgrid) : nullptr);
  });
  return py::make_tuple(dx, dgrid);
}

py::object warp_affine(py::handle x_in, py::handle matrix_in, py::handle size_in, int mode,
                       int outside, double fill) {
  const char* op = "warp_affine";
  const Array x(op, "x", x_in), matrix(op, "matrix", matrix_in);
  require_image(x);
  GridShape s = sample_shape(x, mode, outside, false);
  if (matrix.dtype != DType::kFloat64) {
    type_error(op, "matrix has dtype " + matrix.dtype_name() + ", expected float64");
  }
  matrix.require_shape(matrix_dims(s.N, s.dims)).require_contiguous();
  const Dims size = shape_of(op, "size", size_in);
  if (int(size.size()) != s.dims) {
    value_error(op, "size is " + shape_text(size) + ", expected " + std::to_string(s.dims) +
                        " for x " + shape_text(x.shape, x.ndim));
  }
  spatial_of(size.data(), s.dims, s.out);
  require_filled(x, s);
  s.fill = fill;
  py::object y = new_array(op, x.dtype, image_dims(x, s));
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().warp_affine, s, x.as<const T>(), matrix.as<const double>(),
           data_of<T>(y));
  });
  return y;
}

}  // namespace

void register_grid(py::module_& m) {
  py::dict sample, outside;
  sample["bilinear"] = int(SampleMode::kLinear), sample["nearest"] = int(SampleMode::kNearest);
  outside["zeros"] = int(OutsideMode::kZeros), outside["border"] = int(OutsideMode::kBorder);
  outside["reflection"] = int(OutsideMode::kReflection);
  m.attr("sample_modes") = sample;
  m.attr("outside_modes") = outside;
  define(m, "affine_grid_forward", &affine_grid_forward, py::arg("theta"), py::arg("size"),
         py::arg("aligned"));
  define(m, "affine_grid_backward", &affine_grid_backward, py::arg("dgrid"), py::arg("aligned"));
  define(m, "grid_sample_forward", &grid_sample_forward, py::arg("x"), py::arg("grid"),
         py::arg("mode"), py::arg("outside"), py::arg("aligned"));
  define(m, "grid_sample_backward", &grid_sample_backward, py::arg("dy"), py::arg("x"),
         py::arg("grid"), py::arg("mode"), py::arg("outside"), py::arg("aligned"), py::arg("need"));
  define(m, "warp_affine", &warp_affine, py::arg("x"), py::arg("matrix"), py::arg("size"),
         py::arg("mode"), py::arg("outside"), py::arg("fill"));
}

}  // namespace hl::bind
