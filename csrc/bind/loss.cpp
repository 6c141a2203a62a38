// Losses over classes and over rows; the pointwise ones are in pointwise_loss.cpp.
#include "bind/loss.h"

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

// Class indices as int64, each in range or ignore_index; ValueError names the first that is not.
class Labels {
 public:
  Labels(const Array& target, int64_t classes, int64_t ignore_index)
      : indices_(target.require_contiguous()) {
    if (indices_.guarded(classes, ignore_index)) return;
    const int64_t* label = indices_.on_host();
    for (int64_t i = 0; i < indices_.count(); ++i) {
      if ((label[i] < 0 || label[i] >= classes) && label[i] != ignore_index) {
        value_error(target.op, std::string(target.name) + " has label " + std::to_string(label[i]) +
                                   " at position " + std::to_string(i) + ", expected 0 to " +
                                   std::to_string(classes - 1) +
                                   " or ignore_index = " + std::to_string(ignore_index));
      }
    }
  }
  const int64_t* data() const { return indices_.data(); }

 private:
  Indices indices_;
};

// What all class losses are given: x (..., C), target (...) of labels or (..., C) of probabilities.
struct ClassLoss {
  Array x, target;
  ClassLossShape s;
  bool soft;
  const void* weight = nullptr;

  ClassLoss(const char* op, const char* name, py::handle x_in, py::handle target_in,
            py::handle weight_in, int64_t ignore_index, double smoothing, int reduction,
            bool may_be_soft)
      : x(op, name, x_in), target(op, "target", target_in) {
    x.require_float().require_contiguous();
    if (x.ndim == 0)
      value_error(op, std::string(name) + " is a single number, expected (..., C), classes last");
    s = {1, x.shape[x.ndim - 1], ignore_index, smoothing, reduction_of(op, reduction)};
    for (int i = 0; i < x.ndim - 1; ++i) s.N *= x.shape[i];
    if (s.C == 0)
      value_error(op, std::string(name) + " has shape " + shape_text(x.shape, x.ndim) +
                          ", expected at least one class");
    if (!(smoothing >= 0 && smoothing <= 1)) {
      value_error(op, "label_smoothing is " + std::string(py::str(py::float_(smoothing))) +
                          ", expected 0 to 1");
    }
    soft = target.dtype == DType::kFloat32 || target.dtype == DType::kFloat64;
    if (soft && may_be_soft) {
      if (target.dims() == rows() && target.dims() != x.dims()) {
        value_error(op, "target has the shape of class indices, " +
                            shape_text(target.shape, target.ndim) +
                            ", and floating-point numbers, expected int64 or int32; class "
                            "probabilities have the shape of " +
                            name);
      }
      target.require_like(x).require_shape(x.dims()).require_contiguous();
    } else {
      target.require_index().require_shape(Dims(x.shape, x.shape + x.ndim - 1));
    }
    if (!weight_in.is_none()) {
      const Array w(op, "weight", weight_in);
      w.require_float().require_like(x).require_contiguous();
      if (w.ndim != 1 || w.shape[0] != s.C) {
        value_error(op, "weight has shape " + shape_text(w.shape, w.ndim) + ", expected (" +
                            std::to_string(s.C) + ",): one weight per class");
      }
      weight = w.data;
    }
  }
  Dims rows() const { return Dims(x.shape, x.shape + x.ndim - 1); }
  py::object new_loss() const {
    return new_array(x.op, x.dtype, s.reduction == Reduction::kNone ? rows() : Dims());
  }
  void check_dy(const Array& dy) const {
    dy.require_float().require_like(x).require_contiguous();
    dy.require_shape(s.reduction == Reduction::kNone ? rows() : Dims());
  }
};

py::tuple cross_entropy_forward(py::handle logits, py::handle target, py::handle weight,
                                int64_t ignore_index, double smoothing, int reduction) {
  const ClassLoss l("cross_entropy", "logits", logits, target, weight, ignore_index, smoothing,
                    reduction, true);
  std::optional<Labels> labels;
  if (!l.soft) labels.emplace(l.target, l.s.C, ignore_index);
  py::object loss = l.new_loss();
  const int64_t shape[] = {l.s.N, 2};
  py::object saved = new_array("cross_entropy", l.x.dtype, shape, 2);
  with_float(l.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().cross_entropy_forward, l.s, l.x.as<const T>(),
           labels ? labels->data() : nullptr, l.soft ? l.target.as<const T>() : nullptr,
           static_cast<const T*>(l.weight), data_of<T>(loss), data_of<T>(saved));
  });
  return py::make_tuple(loss, saved);
}

py::object cross_entropy_backward(py::handle dy_in, py::handle logits, py::handle target,
                                  py::handle weight, int64_t ignore_index, double smoothing,
                                  int reduction, py::handle saved_in) {
  const char* op = "cross_entropy_backward";
  const ClassLoss l(op, "logits", logits, target, weight, ignore_index, smoothing, reduction, true);
  std::optional<Labels> labels;
  if (!l.soft) labels.emplace(l.target, l.s.C, ignore_index);
  const Array dy(op, "dy", dy_in), saved(op, "saved", saved_in);
  l.check_dy(dy);
  saved.require_float().require_like(l.x).require_shape({l.s.N, 2}).require_contiguous();
  py::object dx = new_like(l.x);
  if (l.s.N == 0) return dx;
  with_float(l.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().cross_entropy_backward, l.s, dy.as<const T>(), l.x.as<const T>(),
           labels ? labels->data() : nullptr, l.soft ? l.target.as<const T>() : nullptr,
           static_cast<const T*>(l.weight), saved.as<const T>(), data_of<T>(dx));
  });
  return dx;
}

py::tuple nll_loss_forward(py::handle logp, py::handle target, py::handle weight,
                           int64_t ignore_index, int reduction) {
  const ClassLoss l("nll_loss", "log_probs", logp, target, weight, ignore_index, 0, reduction,
                    false);
  const Labels labels(l.target, l.s.C, ignore_index);
  py::object loss = l.new_loss();
  with_float(l.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().nll_loss_forward, l.s, l.x.as<const T>(), labels.data(),
           static_cast<const T*>(l.weight), data_of<T>(loss));
  });
  return py::make_tuple(loss, py::none());  // alike with cross_entropy: nothing is worth saving
}

py::object nll_loss_backward(py::handle dy_in, py::handle logp, py::handle target,
                             py::handle weight, int64_t ignore_index, int reduction, py::handle) {
  const char* op = "nll_loss_backward";
  const ClassLoss l(op, "log_probs", logp, target, weight, ignore_index, 0, reduction, false);
  const Labels labels(l.target, l.s.C, ignore_index);
  const Array dy(op, "dy", dy_in);
  l.check_dy(dy);
  py::object dx = new_like(l.x);
  if (l.s.N == 0) return dx;
  with_float(l.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().nll_loss_backward, l.s, dy.as<const T>(), labels.data(),
           static_cast<const T*>(l.weight), data_of<T>(dx));
  });
  return dx;
}

// ---- pairs of arrays, one loss per row
// -----------------------------------------------------------

struct RowLoss {
  Array a, b;
  RowLossShape s;
  Dims rows;

  RowLoss(const char* op, const char* a_name, py::handle a_in, const char* b_name, py::handle b_in,
          double smooth, int reduction)
      : a(op, a_name, a_in), b(op, b_name, b_in) {
    a.require_float().require_contiguous();
    b.require_float().require_like(a).require_contiguous().require_shape(a.dims());
    if (a.ndim == 0)
      value_error(op, std::string(a_name) + " is a single number, expected at least one axis");
    rows = {a.shape[0]};
    s = {1, 1, reduction_of(op, reduction), smooth};
    for (int i = 0; i < a.ndim; ++i) (i == 0 ? s.N : s.M) *= a.shape[i];
  }
  Dims loss_shape() const { return s.reduction == Reduction::kNone ? rows : Dims(); }
};

template <class Pick>
py::object row_forward(const RowLoss& l, Pick kernel) {
  py::object loss = new_array(l.a.op, l.a.dtype, l.loss_shape());
  with_float(l.a, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernel(kernels_for<T>()), l.s, l.a.as<const T>(), l.b.as<const T>(), data_of<T>(loss));
  });
  return loss;
}

template <class Pick>
py::tuple row_backward(const RowLoss& l, py::handle dy_in, int need, Pick kernel) {
  const Array dy(l.a.op, "dy", dy_in);
  dy.require_float().require_like(l.a).require_contiguous().require_shape(l.loss_shape());
  py::object da = need & 1 ? new_like(l.a) : py::none(), db = need & 2 ? new_like(l.b) : py::none();
  if (l.s.N > 0) {
    with_float(l.a, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernel(kernels_for<T>()), l.s, dy.as<const T>(), l.a.as<const T>(), l.b.as<const T>(),
             need & 1 ? data_of<T>(da) : nullptr, need & 2 ? data_of<T>(db) : nullptr);
    });
  }
  return py::make_tuple(da, db);
}

py::object gaussian_kl_forward(py::handle mu, py::handle logvar, int reduction) {
  const RowLoss l("gaussian_kl", "mu", mu, "logvar", logvar, 0, reduction);
  return row_forward(l, [](const auto& table) { return table.gaussian_kl_forward; });
}
py::tuple gaussian_kl_backward(py::handle dy, py::handle mu, py::handle logvar, int reduction,
                               int need) {
  const RowLoss l("gaussian_kl_backward", "mu", mu, "logvar", logvar, 0, reduction);
  return row_backward(l, dy, need, [](const auto& table) { return table.gaussian_kl_backward; });
}
py::object dice_loss_forward(py::handle p, py::handle t, double smooth, int reduction) {
  const RowLoss l("dice_loss", "p", p, "t", t, smooth, reduction);
  return row_forward(l, [](const auto& table) { return table.dice_loss_forward; });
}
py::tuple dice_loss_backward(py::handle dy, py::handle p, py::handle t, double smooth,
                             int reduction, int need) {
  const RowLoss l("dice_loss_backward", "p", p, "t", t, smooth, reduction);
  return row_backward(l, dy, need, [](const auto& table) { return table.dice_loss_backward; });
}

// ---- gaussian negative log likelihood
// ------------------------------------------------------------

struct GaussianNll {
  Array x, t, var;
  GaussianNllShape s;

  GaussianNll(const char* op, py::handle x_in, py::handle t_in, py::handle var_in, double eps,
              double constant, int reduction)
      : x(op, "x", x_in),
        t(op, "target", t_in),
        var(op, "var", var_in),
        s{reduction_of(op, reduction), 0, eps, constant} {
    x.require_float().require_contiguous();
    t.require_float().require_like(x).require_contiguous().require_shape(x.dims());
    var.require_float().require_like(x).require_contiguous().require_shape(x.dims());
    s.size = x.size();
    if (!(eps > 0))
      value_error(op, "eps is " + std::string(py::str(py::float_(eps))) + ", expected more than 0");
    with_float(x, [&](auto zero) { check_variances<decltype(zero)>(); });
  }

  // Not on a GPU: the host would wait for the card at each step.
  template <class T>
  void check_variances() const {
    if (call_device() != kCpu) return;
    const T* v = var.as<const T>();
    bool below = false;
    for (int64_t i = 0; i < s.size; ++i) below |= v[i] < 0;
    for (int64_t i = 0; below && i < s.size; ++i) {
      if (v[i] < 0) {
        value_error(var.op, "var has " + std::string(py::str(py::float_(v[i]))) + " at position " +
                                std::to_string(i) + ", expected 0 or more");
      }
    }
  }
  Dims loss_shape() const { return s.reduction == Reduction::kNone ? x.dims() : Dims(); }
};

py::object gaussian_nll_forward(py::handle x, py::handle t, py::handle var, double eps,
                                double constant, int reduction) {
  const GaussianNll l("gaussian_nll_loss", x, t, var, eps, constant, reduction);
  py::object loss = new_array(l.x.op, l.x.dtype, l.loss_shape());
  with_float(l.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().gaussian_nll_forward, l.s, l.x.as<const T>(), l.t.as<const T>(),
           l.var.as<const T>(), data_of<T>(loss));
  });
  return loss;
}

py::tuple gaussian_nll_backward(py::handle dy_in, py::handle x, py::handle t, py::handle var,
                                double eps, int reduction, int need) {
  const GaussianNll l("gaussian_nll_loss_backward", x, t, var, eps, 0, reduction);
  const Array dy(l.x.op, "dy", dy_in);
  dy.require_float().require_like(l.x).require_contiguous().require_shape(l.loss_shape());
  const auto wanted = [&](int bit) -> py::object {
    return need & bit ? new_like(l.x) : py::object(py::none());
  };
  py::object dx = wanted(1), dt = wanted(2), dvar = wanted(4);
  if (l.s.size > 0) {
    with_float(l.x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().gaussian_nll_backward, l.s, dy.as<const T>(), l.x.as<const T>(),
             l.t.as<const T>(), l.var.as<const T>(), need & 1 ? data_of<T>(dx) : nullptr,
             need & 2 ? data_of<T>(dt) : nullptr, need & 4 ? data_of<T>(dvar) : nullptr);
    });
  }
  return py::make_tuple(dx, dt, dvar);
}

}  // namespace

Reduction reduction_of(const char* op, int code) {
  if (code < 0 || code > 2) {
    value_error(
        op, "reduction is number " + std::to_string(code) + ", expected 0 none, 1 mean or 2 sum");
  }
  return Reduction(code);
}

void register_loss(py::module_& m) {
  define(m, "cross_entropy_forward", &cross_entropy_forward, py::arg("logits"), py::arg("target"),
         py::arg("weight"), py::arg("ignore_index"), py::arg("label_smoothing"),
         py::arg("reduction"));
  define(m, "cross_entropy_backward", &cross_entropy_backward, py::arg("dy"), py::arg("logits"),
         py::arg("target"), py::arg("weight"), py::arg("ignore_index"), py::arg("label_smoothing"),
         py::arg("reduction"), py::arg("saved"));
  define(m, "nll_loss_forward", &nll_loss_forward, py::arg("log_probs"), py::arg("target"),
         py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"));
  define(m, "nll_loss_backward", &nll_loss_backward, py::arg("dy"), py::arg("log_probs"),
         py::arg("target"), py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"),
         py::arg("saved") = py::none());
  define(m, "gaussian_kl_forward", &gaussian_kl_forward, py::arg("mu"), py::arg("logvar"),
         py::arg("reduction"));
  define(m, "gaussian_kl_backward", &gaussian_kl_backward, py::arg("dy"), py::arg("mu"),
         py::arg("logvar"), py::arg("reduction"), py::arg("need") = 3);
  define(m, "gaussian_nll_forward", &gaussian_nll_forward, py::arg("x"), py::arg("t"),
         py::arg("var"), py::arg("eps"), py::arg("constant"), py::arg("reduction"));
  define(m, "gaussian_nll_backward", &gaussian_nll_backward, py::arg("dy"), py::arg("x"),
         py::arg("t"), py::arg("var"), py::arg("eps"), py::arg("reduction"), py::arg("need") = 7);
  define(m, "dice_loss_forward", &dice_loss_forward, py::arg("p"), py::arg("t"), py::arg("smooth"),
         py::arg("reduction"));
  define(m, "dice_loss_backward", &dice_loss_backward, py::arg("dy"), py::arg("p"), py::arg("t"),
         py::arg("smooth"), py::arg("reduction"), py::arg("need") = 3);
}

}  // namespace hl::bind
