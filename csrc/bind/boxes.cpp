// Boxes: overlaps, codes, matches, suppression; the mathematics is in ops/boxes/.
#include <algorithm>
#include <numeric>
#include <vector>

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

const Array& require_boxes(const Array& a) {
  a.require_float();
  if (a.ndim != 2 || a.shape[1] != 4) {
    value_error(a.op, std::string(a.name) + " has shape " + shape_text(a.shape, a.ndim) +
                          ", expected (N, 4) of (x1, y1, x2, y2)");
  }
  return a.require_contiguous();
}

Overlap overlap_of(int kind) { return Overlap(kind); }

py::object box_overlap(const std::string& op_in, int kind, py::handle a_in, py::handle b_in,
                       double eps) {
  const char* op = op_in.c_str();
  const Array a(op, "boxes1", a_in), b(op, "boxes2", b_in);
  require_boxes(a), require_boxes(b).require_like(a);
  const OverlapShape s = {overlap_of(kind), a.shape[0], b.shape[0], eps};
  py::object y = new_array(op, a.dtype, Dims{s.M, s.N});
  if (s.M == 0 || s.N == 0) return y;
  with_float(a, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_overlap, s, a.as<const T>(), b.as<const T>(), data_of<T>(y));
  });
  return y;
}

OverlapShape pairs_of(int kind, const Array& a, const Array& b, double eps) {
  require_boxes(a), require_boxes(b).require_like(a);
  if (a.shape[0] != b.shape[0]) {
    value_error(a.op, "boxes1 has shape " + shape_text(a.shape, 2) + " and boxes2 " +
                          shape_text(b.shape, 2) + ", expected pairs");
  }
  return {overlap_of(kind), a.shape[0], 1, eps};
}

py::object box_loss_forward(const std::string& op_in, int kind, py::handle a_in, py::handle b_in,
                            double eps) {
  const char* op = op_in.c_str();
  const Array a(op, "boxes1", a_in), b(op, "boxes2", b_in);
  const OverlapShape s = pairs_of(kind, a, b, eps);
  py::object loss = new_array(op, a.dtype, Dims{s.M});
  with_float(a, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_loss_forward, s, a.as<const T>(), b.as<const T>(),
           data_of<T>(loss));
  });
  return loss;
}

py::tuple box_loss_backward(const std::string& op_in, int kind, py::handle dy_in, py::handle a_in,
                            py::handle b_in, double eps, int need) {
  const char* op = op_in.c_str();
  const Array dy(op, "dy", dy_in), a(op, "boxes1", a_in), b(op, "boxes2", b_in);
  const OverlapShape s = pairs_of(kind, a, b, eps);
  dy.require_float().require_like(a).require_shape({s.M}).require_contiguous();
  py::object da = py::none(), db = py::none();
  if (need & 1) da = new_like(a);
  if (need & 2) db = new_like(b);
  with_float(a, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_loss_backward, s, dy.as<const T>(), a.as<const T>(),
           b.as<const T>(), need & 1 ? data_of<T>(da) : nullptr,
           need & 2 ? data_of<T>(db) : nullptr);
  });
  return py::make_tuple(da, db);
}

struct Codes {
  Array first, anchors;
  BoxCodeShape s;

  // `first` is (N, 4), or for decoding also (N, K, 4).
  Codes(const char* op, const char* name, py::handle first_in, py::handle anchors_in, bool many,
        double wx, double wy, double ww, double wh, double clip)
      : first(op, name, first_in), anchors(op, "anchors", anchors_in) {
    require_boxes(anchors);
    first.require_float().require_like(anchors);
    const int n = first.ndim;
    const bool fits = (n == 2 || (many && n == 3)) && first.shape[0] == anchors.shape[0] &&
                      first.shape[n - 1] == 4;
    if (!fits) {
      const std::string rows = std::to_string(anchors.shape[0]);
      value_error(op, std::string(name) + " has shape " + shape_text(first.shape, n) +
                          ", expected (" + rows + ", 4)" +
                          (many ? " or (" + rows + ", K, 4)" : "") + " for the anchors");
    }
    first.require_contiguous();
    s = {anchors.shape[0], n == 3 ? first.shape[1] : 1, {wx, wy, ww, wh}, clip};
    for (double w : s.weight) {
      if (!(w > 0)) value_error(op, "weights has " + std::to_string(w) + ", expected above 0");
    }
  }
};

py::object box_encode(py::handle boxes_in, py::handle anchors_in, double wx, double wy, double ww,
                      double wh) {
  const Codes c("box_encode", "boxes", boxes_in, anchors_in, false, wx, wy, ww, wh, 0);
  py::object codes = new_like(c.first);
  with_float(c.first, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_encode, c.s, c.first.as<const T>(), c.anchors.as<const T>(),
           data_of<T>(codes));
  });
  return codes;
}

py::object box_decode_forward(py::handle codes_in, py::handle anchors_in, double wx, double wy,
                              double ww, double wh, double clip) {
  const Codes c("box_decode", "codes", codes_in, anchors_in, true, wx, wy, ww, wh, clip);
  py::object boxes = new_like(c.first);
  with_float(c.first, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_decode, c.s, c.first.as<const T>(), c.anchors.as<const T>(),
           data_of<T>(boxes));
  });
  return boxes;
}

py::object box_decode_backward(py::handle dy_in, py::handle codes_in, py::handle anchors_in,
                               double wx, double wy, double ww, double wh, double clip) {
  const char* op = "box_decode_backward";
  const Codes c(op, "codes", codes_in, anchors_in, true, wx, wy, ww, wh, clip);
  const Array dy(op, "dy", dy_in);
  dy.require_float().require_like(c.first).require_shape(c.first.dims()).require_contiguous();
  py::object dcodes = new_like(c.first);
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_decode_backward, c.s, dy.as<const T>(), c.first.as<const T>(),
           c.anchors.as<const T>(), data_of<T>(dcodes));
  });
  return dcodes;
}

py::object box_match(py::handle overlap_in, double low, double high, bool keep_best) {
  const char* op = "box_match";
  const Array overlap(op, "iou", overlap_in);
  overlap.require_float().require_ndim(2, "(objects, anchors)").require_contiguous();
  if (!(low <= high)) {
    value_error(op, "low is " + std::to_string(low) + " and high " + std::to_string(high) +
                        ", expected low <= high");
  }
  const BoxMatchShape s = {overlap.shape[0], overlap.shape[1], low, high, keep_best};
  py::object match = new_array(op, DType::kInt64, Dims{s.A});
  if (s.A == 0) return match;
  with_float(overlap, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().box_match, s, overlap.as<const T>(), data_of<int64_t>(match));
  });
  return match;
}

// Boxes by descending score, NaN first as in PyTorch; equal scores keep their order. The list is the
// host's, where classes are sorted out.
template <class T>
std::vector<int64_t> by_score(const Array& scores) {
  const int64_t n = scores.shape[0];
  if (call_device() != kCpu) {
    const OnHost<T> score(scores);
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), int64_t(0));
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      const T u = score[a], v = score[b];
      return u != u ? v == v : u > v;
    });
    return order;
  }
  OrderShape s = {};
  s.n = s.taken = n, s.lines = 1, s.x_step = s.y_step = 1, s.descending = 1;
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::vector<T> values(static_cast<size_t>(n));
  invoke(kernels_for<T>().sort, s, scores.as<const T>(), values.data(), order.data());
  return order;
}

void require_scores(const Array& scores, const Array& boxes) {
  scores.require_float().require_like(boxes).require_shape({boxes.shape[0]}).require_contiguous();
}

py::object nms(const std::string& op_in, py::handle boxes_in, py::handle scores_in,
               py::handle classes_in, double threshold) {
  const char* op = op_in.c_str();
  const Array boxes(op, "boxes", boxes_in), scores(op, "scores", scores_in);
  require_boxes(boxes), require_scores(scores, boxes);
  const int64_t n = boxes.shape[0];
  if (threshold != threshold) value_error(op, "iou_threshold is nan, expected a number");
  NmsShape s = {n, 1, threshold};
  std::vector<int64_t> rank;  // of each box's class
  if (!classes_in.is_none()) {
    const Array classes(op, "idxs", classes_in);
    classes.require_shape({n});
    const Indices index(classes);
    std::vector<int64_t> known(index.on_host(), index.on_host() + n);
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    rank.resize(size_t(n));
    for (int64_t i = 0; i < n; ++i) {
      const auto at = std::lower_bound(known.begin(), known.end(), index.on_host()[i]);
      rank[size_t(i)] = at - known.begin();
    }
    s.classes = std::max<int64_t>(1, int64_t(known.size()));
  }
  if (n == 0) return new_array(op, DType::kInt64, Dims{0});
  std::vector<uint8_t> stays(static_cast<size_t>(n));
  std::vector<int64_t> order, grouped, start(size_t(s.classes) + 1, 0);
  with_float(boxes, [&](auto zero) {
    using T = decltype(zero);
    order = by_score<T>(scores);
    const int64_t* list = order.data();
    start[size_t(s.classes)] = n;
    if (s.classes > 1) {
      int64_t total = 0;
      std::vector<int64_t> count(size_t(s.classes), 0), next;
      for (int64_t r : rank) ++count[size_t(r)];
      for (int64_t c = 0; c < s.classes; ++c) {
        start[size_t(c)] = total;
        total += count[size_t(c)];
      }
      next = start;
      grouped.resize(size_t(n));
      for (int64_t i : order) grouped[size_t(next[size_t(rank[size_t(i)])]++)] = i;
      list = grouped.data();
    }
    invoke(kernels_for<T>().nms, s, boxes.as<const T>(), list, start.data(), stays.data());
  });
  order.erase(
      std::remove_if(order.begin(), order.end(), [&](int64_t i) { return !stays[size_t(i)]; }),
      order.end());
  py::object keep = new_array(op, DType::kInt64, Dims{int64_t(order.size())});
  copy_to(Array(op, "keep", keep), order.data());
  return keep;
}

py::tuple soft_nms(py::handle boxes_in, py::handle scores_in, int decay, double threshold,
                   double sigma, double least) {
  const char* op = "soft_nms";
  const Array boxes(op, "boxes", boxes_in), scores(op, "scores", scores_in);
  require_boxes(boxes), require_scores(scores, boxes);
  if (!(sigma > 0)) value_error(op, "sigma is " + std::to_string(sigma) + ", expected above 0");
  const SoftNmsShape s = {boxes.shape[0], Decay(decay), threshold, sigma, least};
  std::vector<int64_t> keep(size_t(s.N) + 1);
  py::object values, indices;
  with_float(boxes, [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> found(size_t(s.N) + 1);
    int64_t count = 0;
    invoke(kernels_for<T>().soft_nms, s, boxes.as<const T>(), scores.as<const T>(), keep.data(),
           found.data(), &count);
    values = new_array(op, boxes.dtype, Dims{count});
    indices = new_array(op, DType::kInt64, Dims{count});
    copy_to(Array(op, "scores", values), found.data());
    copy_to(Array(op, "keep", indices), keep.data());
  });
  return py::make_tuple(indices, values);
}

}  // namespace

void register_boxes(py::module_& m) {
  py::dict overlaps, decays;
  overlaps["iou"] = int(Overlap::kIou), overlaps["giou"] = int(Overlap::kGiou);
  overlaps["diou"] = int(Overlap::kDiou), overlaps["ciou"] = int(Overlap::kCiou);
  decays["linear"] = int(Decay::kLinear), decays["gaussian"] = int(Decay::kGaussian);
  m.attr("box_overlaps") = overlaps;
  m.attr("nms_decays") = decays;
  define(m, "box_overlap", &box_overlap, py::arg("op"), py::arg("kind"), py::arg("boxes1"),
         py::arg("boxes2"), py::arg("eps"));
  define(m, "box_loss_forward", &box_loss_forward, py::arg("op"), py::arg("kind"),
         py::arg("boxes1"), py::arg("boxes2"), py::arg("eps"));
  define(m, "box_loss_backward", &box_loss_backward, py::arg("op"), py::arg("kind"), py::arg("dy"),
         py::arg("boxes1"), py::arg("boxes2"), py::arg("eps"), py::arg("need"));
  define(m, "box_encode", &box_encode, py::arg("boxes"), py::arg("anchors"), py::arg("wx"),
         py::arg("wy"), py::arg("ww"), py::arg("wh"));
  define(m, "box_decode_forward", &box_decode_forward, py::arg("codes"), py::arg("anchors"),
         py::arg("wx"), py::arg("wy"), py::arg("ww"), py::arg("wh"), py::arg("clip"));
  define(m, "box_decode_backward", &box_decode_backward, py::arg("dy"), py::arg("codes"),
         py::arg("anchors"), py::arg("wx"), py::arg("wy"), py::arg("ww"), py::arg("wh"),
         py::arg("clip"));
  define(m, "box_match", &box_match, py::arg("iou"), py::arg("low"), py::arg("high"),
         py::arg("keep_best"));
  define(m, "nms", &nms, py::arg("op"), py::arg("boxes"), py::arg("scores"), py::arg("idxs"),
         py::arg("iou_threshold"));
  define(m, "soft_nms", &soft_nms, py::arg("boxes"), py::arg("scores"), py::arg("decay"),
         py::arg("iou_threshold"), py::arg("sigma"), py::arg("score_threshold"));
}

}  // namespace hl::bind
