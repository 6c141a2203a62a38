#include "bind/loss.h"

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr const char* kNames[] = {"mse_loss",
                                  "l1_loss",
                                  "smooth_l1_loss",
                                  "huber_loss",
                                  "binary_cross_entropy",
                                  "binary_cross_entropy_with_logits",
                                  "kl_div",
                                  "kl_div",
                                  "hinge_embedding_loss",
                                  "hinge_loss",
                                  "focal_loss"};
// As the tape asks for them; kl_div_log is kl_div with p0 = 1.
constexpr const char* kCodes[] = {
    "mse",    "l1",    "smooth_l1",       "huber", "bce",  "bce_with_logits",
    "kl_div", nullptr, "hinge_embedding", "hinge", "focal"};

PointwiseLoss op_of(int code, double p0) {
  if (code < 0 || code > int(PointwiseLoss::kFocal) || !kCodes[code]) {
    value_error("pointwise_loss",
                "there is no op number " + std::to_string(code) + ", see _C.pointwise_losses");
  }
  if (code == int(PointwiseLoss::kKlDiv) && p0 != 0) return PointwiseLoss::kKlDivLog;
  return PointwiseLoss(code);
}

// A weight repeats over x: its axes other than 1 must be neighbours that fit x's, aligned at the
// end.
WeightAxes weight_axes(const Array& w, const Array& x) {
  w.require_float().require_like(x).require_contiguous();
  bool fits = w.ndim <= x.ndim;
  int first = -1, last = -1;
  for (int i = 0; fits && i < w.ndim; ++i) {
    const int axis = x.ndim - w.ndim + i;
    if (w.shape[i] == 1 && x.shape[axis] != 1) continue;
    fits = w.shape[i] == x.shape[axis];
    if (w.shape[i] == 1) continue;
    if (first < 0) first = axis;
    last = axis;
  }
  WeightAxes axes = {1, 1};
  for (int axis = first; fits && first >= 0 && axis <= last; ++axis) {
    fits = w.shape[axis - (x.ndim - w.ndim)] == x.shape[axis];
    axes.size *= x.shape[axis];
  }
  if (!fits) {
    value_error(w.op, std::string(w.name) + " has shape " + shape_text(w.shape, w.ndim) +
                          ", which does not repeat over " + x.name + " " +
                          shape_text(x.shape, x.ndim) + "; pass np.broadcast_to(" + w.name + ", " +
                          x.name + ".shape).copy()");
  }
  for (int axis = first < 0 ? x.ndim : last + 1; axis < x.ndim; ++axis) axes.inner *= x.shape[axis];
  return axes;
}

struct Pointwise {
  PointwiseLossShape s;
  const char* op;
  Array x, t;
  const void *weight = nullptr, *pos_weight = nullptr;

  Pointwise(int code, py::handle x_in, py::handle t_in, py::handle weight_in, py::handle pos_in,
            double p0, double p1, int reduction)
      : s{op_of(code, p0), reduction_of(kNames[code], reduction), 0, p0, p1, {1, 1}, {1, 1}},
        op(kNames[code]),
        x(op, "x", x_in),
        t(op, "target", t_in) {
    x.require_float().require_contiguous();
    t.require_float().require_like(x).require_contiguous().require_shape(x.dims());
    s.size = x.size();
    if (!weight_in.is_none()) {
      const Array w(op, "weight", weight_in);
      s.weight = weight_axes(w, x);
      weight = w.data;
    }
    if (!pos_in.is_none()) {
      const Array w(op, "pos_weight", pos_in);
      if (s.op != PointwiseLoss::kBceWithLogits)
        value_error(op, "pos_weight belongs to binary_cross_entropy_with_logits");
      s.pos_weight = weight_axes(w, x);
      pos_weight = w.data;
    }
    const bool needs_scale = s.op == PointwiseLoss::kHuber;
    if ((needs_scale && !(p0 > 0)) || (s.op == PointwiseLoss::kSmoothL1 && !(p0 >= 0))) {
      value_error(op, std::string(needs_scale ? "delta" : "beta") + " is " +
                          std::string(py::str(py::float_(p0))) + ", expected " +
                          (needs_scale ? "more than 0" : "0 or more"));
    }
    if (s.op == PointwiseLoss::kBce)
      with_float(x, [&](auto zero) { check_probabilities<decltype(zero)>(); });
  }

  // Not on a GPU: the host would wait for the card at each step, and the loss is NaN there anyway.
  template <class T>
  void check_probabilities() const {
    if (call_device() != kCpu) return;
    const T* p = x.as<const T>();
    bool outside = false;
    for (int64_t i = 0; i < s.size; ++i) outside |= (p[i] < 0) | (p[i] > 1);
    for (int64_t i = 0; outside && i < s.size; ++i) {
      if (p[i] < 0 || p[i] > 1) {
        value_error(op, "x has " + std::string(py::str(py::float_(p[i]))) + " at position " +
                            std::to_string(i) +
                            ", expected probabilities from 0 to 1; logits belong to "
                            "binary_cross_entropy_with_logits");
      }
    }
  }
  Dims loss_shape() const { return s.reduction == Reduction::kNone ? x.dims() : Dims(); }
};

py::object pointwise_loss_forward(int code, py::handle x, py::handle t, py::handle weight,
                                  py::handle pos_weight, double p0, double p1, int reduction) {
  op_of(code, p0);
  const Pointwise l(code, x, t, weight, pos_weight, p0, p1, reduction);
  py::object loss = new_array(l.op, l.x.dtype, l.loss_shape());
  with_float(l.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().pointwise_loss_forward, l.s, l.x.as<const T>(), l.t.as<const T>(),
           static_cast<const T*>(l.weight), static_cast<const T*>(l.pos_weight), data_of<T>(loss));
  });
  return loss;
}

py::tuple pointwise_loss_backward(int code, py::handle dy_in, py::handle x, py::handle t,
                                  py::handle weight, py::handle pos_weight, double p0, double p1,
                                  int reduction, int need) {
  op_of(code, p0);
  const Pointwise l(code, x, t, weight, pos_weight, p0, p1, reduction);
  const Array dy(l.op, "dy", dy_in);
  dy.require_float().require_like(l.x).require_contiguous().require_shape(l.loss_shape());
  py::object dx = need & 1 ? new_like(l.x) : py::none(), dt = need & 2 ? new_like(l.t) : py::none();
  if (l.s.size > 0) {
    with_float(l.x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().pointwise_loss_backward, l.s, dy.as<const T>(), l.x.as<const T>(),
             l.t.as<const T>(), static_cast<const T*>(l.weight),
             static_cast<const T*>(l.pos_weight), need & 1 ? data_of<T>(dx) : nullptr,
             need & 2 ? data_of<T>(dt) : nullptr);
    });
  }
  return py::make_tuple(dx, dt);
}

}  // namespace

void register_pointwise_loss(py::module_& m) {
  py::dict codes;
  for (int i = 0; i <= int(PointwiseLoss::kFocal); ++i) {
    if (kCodes[i]) codes[kCodes[i]] = i;
  }
  m.attr("pointwise_losses") = codes;
  define(m, "pointwise_loss_forward", &pointwise_loss_forward, py::arg("op"), py::arg("x"),
         py::arg("t"), py::arg("weight"), py::arg("pos_weight"), py::arg("p0"), py::arg("p1"),
         py::arg("reduction"));
  define(m, "pointwise_loss_backward", &pointwise_loss_backward, py::arg("op"), py::arg("dy"),
         py::arg("x"), py::arg("t"), py::arg("weight"), py::arg("pos_weight"), py::arg("p0"),
         py::arg("p1"), py::arg("reduction"), py::arg("need") = 1);
}

}  // namespace hl::bind
