// Restricted Boltzmann machines.
#include "bind/invoke.h"
#include "bind/register.h"
#include "bind/word.h"

namespace hl::bind {
namespace {

// w (H, V), and the layer `x` whose rows have as many units.
void weights_of(RbmShape& s, const Array& w) {
  w.require_float().require_ndim(2, "(H, V)").require_contiguous();
  s.H = w.shape[0], s.V = w.shape[1];
}

void units_of(const Array& x, const Array& w, int64_t units, const char* expected) {
  x.require_float().require_like(w).require_ndim(2, expected);
  if (x.shape[1] != units) {
    value_error(x.op, std::string(x.name) + " " + shape_text(x.shape, 2) + " has " +
                          std::to_string(x.shape[1]) + " units, w " + shape_text(w.shape, 2) +
                          " (hidden, visible) expects " + std::to_string(units));
  }
  x.require_contiguous();
}

py::tuple rbm_sample(py::handle x_in, py::handle w_in, py::handle bias_in, bool to_visible,
                     bool gaussian, bool want_sample, py::handle seed, py::handle call) {
  const char* op = to_visible ? "rbm_visible" : "rbm_hidden";
  const Array w(op, "w", w_in), x(op, to_visible ? "h" : "v", x_in);
  const Array bias(op, to_visible ? "b" : "c", bias_in);
  RbmShape s = {};
  weights_of(s, w);
  units_of(x, w, to_visible ? s.H : s.V, to_visible ? "(N, H)" : "(N, V)");
  const int64_t O = to_visible ? s.V : s.H;
  bias.require_float().require_like(w).require_shape({O}).require_contiguous();
  s.N = x.shape[0];
  s.to_visible = to_visible;
  s.visible = gaussian ? RbmVisible::kGaussian : RbmVisible::kBernoulli;
  s.seed = word(op, "seed", seed), s.call = word(op, "call", call);
  const Dims dims = {s.N, O};
  py::object mean = new_array(op, w.dtype, dims);
  py::object sample = want_sample ? new_array(op, w.dtype, dims) : py::none();
  with_float(w, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().rbm_sample, s, x.as<const T>(), w.as<const T>(), bias.as<const T>(),
           data_of<T>(mean), want_sample ? data_of<T>(sample) : nullptr);
  });
  return py::make_tuple(mean, sample);
}

py::tuple rbm_contrast(py::handle v_in, py::handle w_in, py::handle b_in, py::handle c_in,
                       py::handle chain_in, int64_t steps, bool gaussian, bool visible_means,
                       bool gradients, bool need_h, py::handle seed, py::handle call) {
  const char* op = gradients ? "rbm_contrastive_divergence" : "rbm_gibbs";
  const Array w(op, "w", w_in), b(op, "b", b_in), c(op, "c", c_in);
  RbmShape s = {};
  weights_of(s, w);
  b.require_float().require_like(w).require_shape({s.V}).require_contiguous();
  c.require_float().require_like(w).require_shape({s.H}).require_contiguous();
  if (steps < 1) value_error(op, "steps is " + std::to_string(steps) + ", expected at least 1");
  if (v_in.is_none() && chain_in.is_none()) value_error(op, "expected v or a chain of h");
  const void *v_data = nullptr, *chain_data = nullptr;
  if (!v_in.is_none()) {
    const Array v(op, "v", v_in);
    units_of(v, w, s.V, "(N, V)");
    v_data = v.data, s.N = v.shape[0];
  }
  s.C = s.N;
  if (!chain_in.is_none()) {
    const Array chain(op, "chain", chain_in);
    units_of(chain, w, s.H, "(C, H)");
    chain_data = chain.data, s.C = chain.shape[0], s.chain = true;
  }
  if (gradients && (s.N == 0 || s.C == 0)) {
    value_error(op, std::string(s.N == 0 ? "v" : "chain") +
                        " has no row, expected at least one to learn from");
  }
  s.visible = gaussian ? RbmVisible::kGaussian : RbmVisible::kBernoulli;
  s.visible_means = visible_means;
  s.need_gradients = gradients, s.need_h = need_h;
  s.steps = steps;
  s.seed = word(op, "seed", seed), s.call = word(op, "call", call);
  auto made = [&](bool wanted, const Dims& dims) {
    return wanted ? new_array(op, w.dtype, dims) : py::object(py::none());
  };
  py::object dw = made(gradients, {s.H, s.V}), db = made(gradients, {s.V});
  py::object dc = made(gradients, {s.H}), v_k = made(true, {s.C, s.V});
  py::object h_k = made(need_h, {s.C, s.H});
  with_float(w, [&](auto zero) {
    using T = decltype(zero);
    auto out = [](const py::object& a) { return a.is_none() ? nullptr : data_of<T>(a); };
    invoke(kernels_for<T>().rbm_contrast, s, static_cast<const T*>(v_data), w.as<const T>(),
           b.as<const T>(), c.as<const T>(), static_cast<const T*>(chain_data), out(dw), out(db),
           out(dc), out(v_k), out(h_k));
  });
  return py::make_tuple(dw, db, dc, v_k, h_k);
}

}  // namespace

void register_rbm(py::module_& m) {
  define(m, "rbm_sample", &rbm_sample, py::arg("x"), py::arg("w"), py::arg("bias"),
         py::arg("to_visible"), py::arg("gaussian"), py::arg("want_sample"), py::arg("seed"),
         py::arg("call"));
  define(m, "rbm_contrast", &rbm_contrast, py::arg("v"), py::arg("w"), py::arg("b"), py::arg("c"),
         py::arg("chain"), py::arg("steps"), py::arg("gaussian"), py::arg("visible_means"),
         py::arg("gradients"), py::arg("need_h"), py::arg("seed"), py::arg("call"));
}

}  // namespace hl::bind
