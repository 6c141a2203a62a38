// Regions of images: components, counts, segments and their groups; see ops/regions/regions.h.
#include "ops/regions/regions.h"

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

py::tuple label_regions(py::handle mask_in, int neighbours) {
  const char* op = "connected_components";
  const Array mask(op, "mask", mask_in);
  mask.require_ndim(3, "(N, H, W)");
  if (neighbours != 4 && neighbours != 8) {
    value_error(op, "connectivity is " + std::to_string(neighbours) + ", expected 4 or 8");
  }
  const LabelShape s = {mask.shape[0], mask.shape[1], mask.shape[2], neighbours};
  if (s.H * s.W >= int64_t(1) << 31) value_error(op, "mask has more than 2**31 pixels an image");
  const Indices values(mask);
  py::object label = new_array(op, DType::kInt64, Dims{s.N, s.H, s.W});
  py::object count = new_array(op, DType::kInt64, Dims{s.N});
  invoke(kernels_for<void>().label_regions, s, values.data(), data_of<int64_t>(label),
         data_of<int64_t>(count));
  return py::make_tuple(label, count);
}

py::object confusion(const std::string& op_in, py::handle target_in, py::handle prediction_in,
                     int64_t classes, int64_t ignore) {
  const char* op = op_in.c_str();
  const Array target(op, "target", target_in), prediction(op, "prediction", prediction_in);
  target.require_index(), prediction.require_index().require_shape(target.dims());
  if (classes < 1 || classes > 1 << 15) {
    value_error(op, "num_classes is " + std::to_string(classes) + ", expected 1 to 32768");
  }
  const Indices t(target), p(prediction);
  const int64_t *targets = t.on_host(), *predictions = p.on_host();
  for (int64_t i = 0; i < t.count(); ++i) {
    const int64_t a = targets[i], b = predictions[i];
    if (a == ignore || (a >= 0 && a < classes && b >= 0 && b < classes)) continue;
    const bool first = a < 0 || a >= classes;
    value_error(op, std::string(first ? "target" : "prediction") + " holds " +
                        std::to_string(first ? a : b) + " at flat position " + std::to_string(i) +
                        ", expected 0 to " + std::to_string(classes - 1));
  }
  const ConfusionShape s = {t.count(), classes, ignore};
  py::object table = new_array(op, DType::kInt64, Dims{classes, classes});
  invoke(kernels_for<void>().confusion, s, t.data(), p.data(), data_of<int64_t>(table));
  return table;
}

py::tuple graph_segment(py::handle x_in, double k, int64_t least) {
  const char* op = "graph_segment";
  const Array x(op, "image", x_in);
  x.require_float().require_ndim(3, "(H, W, C)").require_contiguous();
  if (!(k >= 0)) value_error(op, "scale is " + std::to_string(k) + ", expected 0 or more");
  const SegmentShape s = {x.shape[0], x.shape[1], x.shape[2], k, least};
  if (s.H * s.W >= int64_t(1) << 29) value_error(op, "image has more than 2**29 pixels");
  py::object label = new_array(op, DType::kInt64, Dims{s.H, s.W});
  int64_t count = 0;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().graph_segment, s, x.as<const T>(), data_of<int64_t>(label), &count);
  });
  return py::make_tuple(label, count);
}

py::tuple group_regions(py::handle label_in, py::handle bins_in, int64_t regions, int64_t colours,
                        int64_t bins_of_each) {
  const char* op = "group_regions";
  const Array label(op, "label", label_in), bins(op, "bins", bins_in);
  label.require_ndim(2, "(H, W)");
  Indices index(label);
  index.require_range(regions);
  bins.require_shape({label.shape[0], label.shape[1], -1}).require_contiguous();
  if (bins.dtype != DType::kUInt8)
    type_error(op, "bins has dtype " + bins.dtype_name() + ", expected uint8");
  const GroupShape s = {label.shape[0], label.shape[1], regions,
                        bins.shape[2],  colours,        bins_of_each};
  if (s.F1 < 0 || s.F1 > s.F) value_error(op, "colours is more than the features of bins");
  const OnHost<uint8_t> b(bins);
  for (int64_t i = 0, n = bins.size(); i < n; ++i) {
    if (b[i] >= s.B)
      value_error(
          op, "bins holds " + std::to_string(b[i]) + ", expected less than " + std::to_string(s.B));
  }
  std::vector<int64_t> seen(size_t(regions), 0);
  for (int64_t i = 0; i < index.count(); ++i) seen[size_t(index.on_host()[i])] = 1;
  for (int64_t r = 0; r < regions; ++r) {
    if (!seen[size_t(r)]) value_error(op, "label has no pixel of region " + std::to_string(r));
  }
  const int64_t most = regions > 0 ? 2 * regions - 1 : 0;
  py::object boxes = new_array(op, DType::kFloat64, Dims{most, 4});
  py::object size = new_array(op, DType::kInt64, Dims{most});
  int64_t count = 0;
  if (regions > 0) {
    invoke(kernels_for<void>().group_regions, s, index.data(), bins.as<const uint8_t>(),
           data_of<double>(boxes), data_of<int64_t>(size), &count);
  }
  return py::make_tuple(boxes, size, count);
}

}  // namespace

void register_regions(py::module_& m) {
  define(m, "label_regions", &label_regions, py::arg("mask"), py::arg("connectivity"));
  define(m, "confusion", &confusion, py::arg("op"), py::arg("target"), py::arg("prediction"),
         py::arg("num_classes"), py::arg("ignore_index"));
  define(m, "graph_segment", &graph_segment, py::arg("image"), py::arg("scale"),
         py::arg("min_size"));
  define(m, "group_regions", &group_regions, py::arg("label"), py::arg("bins"), py::arg("regions"),
         py::arg("colours"), py::arg("bins_of_each"));
}

}  // namespace hl::bind
