// Regions of interest; the mathematics is in ops/roi/roi.h.
#include "ops/roi/roi.h"

#include "bind/axes.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr int64_t kMostSamples = 1024;

// x is (N, H, W, C), given by its shape.
RoiShape roi_shape(const char* op, const int64_t* x, const Array& rois, int64_t ph, int64_t pw,
                   double scale, int64_t sampling, bool aligned) {
  rois.require_float();
  if (rois.ndim != 2 || rois.shape[1] != 5) {
    value_error(op, std::string(rois.name) + " has shape " + shape_text(rois.shape, rois.ndim) +
                        ", expected (K, 5) of (image, x1, y1, x2, y2)");
  }
  rois.require_contiguous();
  if (ph < 1 || pw < 1) {
    value_error(op, "output_size is (" + std::to_string(ph) + ", " + std::to_string(pw) +
                        "), expected at least 1");
  }
  if (sampling > kMostSamples) {
    value_error(op, "sampling_ratio is " + std::to_string(sampling) + ", expected at most " +
                        std::to_string(kMostSamples));
  }
  if (!(scale - scale == 0)) value_error(op, "spatial_scale is not finite, expected a number");
  const RoiShape s = {
      x[0], x[1], x[2], x[3], rois.shape[0], ph, pw, scale, sampling > 0 ? sampling : 0, aligned};
  with_float(rois, [&](auto zero) {
    const OnHost<decltype(zero)> r(rois);
    for (int64_t k = 0; k < s.K; ++k) {
      const double image = double(r[5 * k]);
      if (image >= 0 && image < double(s.N) && image == double(int64_t(image))) continue;
      value_error(op, std::string(rois.name) + "[" + std::to_string(k) + ", 0] is " +
                          std::to_string(image) + ", expected the number of an image, 0 to " +
                          std::to_string(s.N - 1));
    }
  });
  checked_product(op, {s.K, s.PH, s.PW, s.C});
  return s;
}

RoiShape shape_with(const Array& x, const Array& rois, int64_t ph, int64_t pw, double scale,
                    int64_t sampling, bool aligned) {
  x.require_float().require_ndim(4, "(N, H, W, C)").require_contiguous();
  rois.require_float().require_like(x);
  const int64_t dims[4] = {x.shape[0], x.shape[1], x.shape[2], x.shape[3]};
  return roi_shape(x.op, dims, rois, ph, pw, scale, sampling, aligned);
}

py::object roi_align_forward(const std::string& op_in, py::handle x_in, py::handle rois_in,
                             int64_t ph, int64_t pw, double scale, int64_t sampling, bool aligned) {
  const char* op = op_in.c_str();
  const Array x(op, "input", x_in), rois(op, "boxes", rois_in);
  const RoiShape s = shape_with(x, rois, ph, pw, scale, sampling, aligned);
  py::object y = new_array(op, x.dtype, Dims{s.K, s.PH, s.PW, s.C});
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().roi_align_forward, s, x.as<const T>(), rois.as<const T>(),
           data_of<T>(y));
  });
  return y;
}

// The shape of x for a gradient, and dy checked against it.
RoiShape backward_shape(const char* op, const Array& dy, const Array& rois, py::handle size_in,
                        double scale, int64_t sampling, bool aligned) {
  dy.require_float().require_ndim(4, "(K, PH, PW, C)").require_contiguous();
  rois.require_float().require_like(dy);
  const Dims size = shape_of(op, "size", size_in);
  if (size.size() != 4) value_error(op, "size expects the four sizes of the input (N, H, W, C)");
  const RoiShape s =
      roi_shape(op, size.data(), rois, dy.shape[1], dy.shape[2], scale, sampling, aligned);
  dy.require_shape({s.K, s.PH, s.PW, s.C});
  return s;
}

py::object roi_align_backward(py::handle dy_in, py::handle rois_in, py::handle size_in,
                              double scale, int64_t sampling, bool aligned) {
  const char* op = "roi_align_backward";
  const Array dy(op, "dy", dy_in), rois(op, "boxes", rois_in);
  const RoiShape s = backward_shape(op, dy, rois, size_in, scale, sampling, aligned);
  py::object dx = new_array(op, dy.dtype, Dims{s.N, s.H, s.W, s.C});
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().roi_align_backward, s, dy.as<const T>(), rois.as<const T>(),
           data_of<T>(dx));
  });
  return dx;
}

py::tuple roi_pool_forward(py::handle x_in, py::handle rois_in, int64_t ph, int64_t pw,
                           double scale) {
  const char* op = "roi_pool";
  const Array x(op, "input", x_in), rois(op, "boxes", rois_in);
  const RoiShape s = shape_with(x, rois, ph, pw, scale, 0, false);
  py::object y = new_array(op, x.dtype, Dims{s.K, s.PH, s.PW, s.C});
  py::object at = new_array(op, DType::kInt64, Dims{s.K, s.PH, s.PW, s.C});
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().roi_pool_forward, s, x.as<const T>(), rois.as<const T>(), data_of<T>(y),
           data_of<int64_t>(at));
  });
  return py::make_tuple(y, at);
}

py::object roi_pool_backward(py::handle dy_in, py::handle rois_in, py::handle at_in,
                             py::handle size_in) {
  const char* op = "roi_pool_backward";
  const Array dy(op, "dy", dy_in), rois(op, "boxes", rois_in), at(op, "saved", at_in);
  const RoiShape s = backward_shape(op, dy, rois, size_in, 1, 0, false);
  at.require_index().require_shape(dy.dims()).require_contiguous();
  if (at.dtype != DType::kInt64) type_error(op, "saved is int32, expected the array of roi_pool");
  const OnHost<int64_t> index(at);
  for (int64_t i = 0, n = at.size(); i < n; ++i) {
    if (index[i] < -1 || index[i] >= s.H * s.W) {
      value_error(op, "saved holds " + std::to_string(index[i]) + ", expected -1 to " +
                          std::to_string(s.H * s.W - 1));
    }
  }
  py::object dx = new_array(op, dy.dtype, Dims{s.N, s.H, s.W, s.C});
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().roi_pool_backward, s, dy.as<const T>(), rois.as<const T>(),
           at.as<const int64_t>(), data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_roi(py::module_& m) {
  define(m, "roi_align_forward", &roi_align_forward, py::arg("op"), py::arg("input"),
         py::arg("boxes"), py::arg("height"), py::arg("width"), py::arg("spatial_scale"),
         py::arg("sampling_ratio"), py::arg("aligned"));
  define(m, "roi_align_backward", &roi_align_backward, py::arg("dy"), py::arg("boxes"),
         py::arg("size"), py::arg("spatial_scale"), py::arg("sampling_ratio"), py::arg("aligned"));
  define(m, "roi_pool_forward", &roi_pool_forward, py::arg("input"), py::arg("boxes"),
         py::arg("height"), py::arg("width"), py::arg("spatial_scale"));
  define(m, "roi_pool_backward", &roi_pool_backward, py::arg("dy"), py::arg("boxes"),
         py::arg("saved"), py::arg("size"));
}

}  // namespace hl::bind
