// Connectionist temporal classification; the mathematics is in ops/loss/ctc.h.
#include "ops/loss/ctc.h"

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/loss.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

struct Ctc {
  Array logp, target_in, lengths_in, sizes_in;
  Indices target, lengths, sizes;
  CtcShape s;

  Ctc(const char* op, py::handle logp_in, py::handle target_h, py::handle lengths_h,
      py::handle sizes_h, int64_t blank, int reduction, bool zero_infinity)
      : logp(op, "log_probs", logp_in),
        target_in(op, "targets", target_h),
        lengths_in(op, "input_lengths", lengths_h),
        sizes_in(op, "target_lengths", sizes_h),
        target(target_in),
        lengths(lengths_in),
        sizes(sizes_in) {
    logp.require_float().require_contiguous();
    if (logp.ndim != 3)
      value_error(op, "log_probs has shape " + shape_text(logp.dims()) + ", expected (N, T, C)");
    s = {logp.shape[0], logp.shape[1], logp.shape[2], 0, blank, reduction_of(op, reduction),
         zero_infinity};
    target_in.require_shape({s.N, -1});
    s.S = target_in.shape[1];
    lengths_in.require_shape({s.N});
    sizes_in.require_shape({s.N});
    if (blank < 0 || blank >= s.C) {
      value_error(op, "blank is " + std::to_string(blank) + ", expected 0 to " +
                          std::to_string(s.C - 1) + ": a class of log_probs");
    }
    lengths.require_range(s.T + 1);
    sizes.require_range(s.S + 1);
    for (int64_t n = 0; n < s.N; ++n) {
      for (int64_t i = 0; i < sizes.on_host()[n]; ++i) check_label(op, n, i);
    }
    saved_size = checked_product(op, {s.N, s.T, 2 * s.S + 3}) + s.N;
  }
  // What lies behind a target's length may hold anything.
  void check_label(const char* op, int64_t n, int64_t i) const {
    const int64_t label = target.on_host()[n * s.S + i];
    if (label >= 0 && label < s.C && label != s.blank) return;
    value_error(op, "targets[" + std::to_string(n) + ", " + std::to_string(i) + "] is " +
                        std::to_string(label) + ", expected 0 to " + std::to_string(s.C - 1) +
                        ", but for the blank " + std::to_string(s.blank));
  }
  Dims loss_shape() const { return s.reduction == Reduction::kNone ? Dims{s.N} : Dims(); }

  int64_t saved_size;
};

py::tuple ctc_loss_forward(py::handle logp, py::handle target, py::handle lengths, py::handle sizes,
                           int64_t blank, int reduction, bool zero_infinity) {
  const char* op = "ctc_loss";
  const Ctc c(op, logp, target, lengths, sizes, blank, reduction, zero_infinity);
  py::object loss = new_array(op, c.logp.dtype, c.loss_shape());
  py::object saved = new_array(op, DType::kFloat64, Dims{c.saved_size});
  with_float(c.logp, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().ctc_loss_forward, c.s, c.logp.as<const T>(), c.target.data(),
           c.lengths.data(), c.sizes.data(), data_of<T>(loss), data_of<double>(saved));
  });
  return py::make_tuple(loss, saved);
}

py::object ctc_loss_backward(py::handle dy_in, py::handle logp, py::handle target,
                             py::handle lengths, py::handle sizes, int64_t blank, int reduction,
                             bool zero_infinity, py::handle saved_in) {
  const char* op = "ctc_loss_backward";
  const Ctc c(op, logp, target, lengths, sizes, blank, reduction, zero_infinity);
  const Array dy(op, "dy", dy_in), saved(op, "saved", saved_in);
  dy.require_float().require_like(c.logp).require_contiguous().require_shape(c.loss_shape());
  saved.require_float().require_shape({c.saved_size}).require_contiguous();
  if (saved.dtype != DType::kFloat64)
    type_error(op, "saved is float32, expected the float64 array of ctc_loss");
  py::object dx = new_like(c.logp);
  if (c.logp.size() == 0) return dx;
  with_float(c.logp, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().ctc_loss_backward, c.s, dy.as<const T>(), c.logp.as<const T>(),
           c.target.data(), c.lengths.data(), c.sizes.data(), saved.as<const double>(),
           data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_ctc(py::module_& m) {
  define(m, "ctc_loss_forward", &ctc_loss_forward, py::arg("log_probs"), py::arg("targets"),
         py::arg("input_lengths"), py::arg("target_lengths"), py::arg("blank"),
         py::arg("reduction"), py::arg("zero_infinity"));
  define(m, "ctc_loss_backward", &ctc_loss_backward, py::arg("dy"), py::arg("log_probs"),
         py::arg("targets"), py::arg("input_lengths"), py::arg("target_lengths"), py::arg("blank"),
         py::arg("reduction"), py::arg("zero_infinity"), py::arg("saved"));
}

}  // namespace hl::bind
