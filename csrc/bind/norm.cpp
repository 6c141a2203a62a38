#include "bind/elementwise.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

enum class ChannelNorm : int { kBatch, kInstance, kGroup, kAdain };

struct ChannelNames {
  const char *forward, *backward, *weight, *bias;
};
constexpr ChannelNames kChannel[] = {
    {"batch_norm", "batch_norm_backward", "weight", "bias"},
    {"instance_norm", "instance_norm_backward", "weight", "bias"},
    {"group_norm", "group_norm_backward", "weight", "bias"},
    {"adain", "adain_backward", "scale", "shift"},
};

const ChannelNames& names_of(int kind) {
  if (kind < 0 || kind > int(ChannelNorm::kAdain)) {
    value_error("channel_norm", "there is no kind " + std::to_string(kind));
  }
  return kChannel[kind];
}

// ", which looks like channels first" where the second axis would have fitted.
std::string layout_hint(const Array& x, int64_t channels) {
  if (x.ndim < 3 || x.shape[1] != channels || x.shape[x.ndim - 1] == channels) return "";
  return "; x is (N, ..., C) here, features last: move axis 1 to the end";
}

// Everything but eps, momentum and the activation.
ChannelNormShape channel_shape(ChannelNorm kind, const Array& x, int64_t groups, bool given) {
  x.require_float();
  const bool samples = kind == ChannelNorm::kInstance || kind == ChannelNorm::kAdain;
  if (x.ndim < (samples ? 3 : 2)) {
    value_error(x.op, "x has shape " + shape_text(x.shape, x.ndim) + ", expected (N, ..., C)" +
                          (samples ? " with at least one axis between" : ""));
  }
  x.require_contiguous();
  ChannelNormShape s = {};
  s.C = x.shape[x.ndim - 1];
  s.outer = kind == ChannelNorm::kBatch ? 1 : x.shape[0];
  s.rows = kind == ChannelNorm::kBatch ? x.shape[0] : 1;
  for (int i = 1; i + 1 < x.ndim; ++i) s.rows *= x.shape[i];
  s.groups = kind == ChannelNorm::kGroup ? groups : s.C;
  s.per_sample = kind == ChannelNorm::kAdain;
  s.given = given;
  s.activation = kNoActivation;
  if (kind == ChannelNorm::kGroup && (groups < 1 || s.C % groups != 0)) {
    value_error(x.op, "num_groups is " + std::to_string(groups) + ", which does not divide the " +
                          std::to_string(s.C) + " channels of x " + shape_text(x.shape, x.ndim) +
                          (groups > 0 ? layout_hint(x, x.ndim > 1 ? x.shape[1] : 0) : ""));
  }
  return s;
}

// PyTorch's rule: one number has no variance to divide by.
void require_several(ChannelNorm kind, const Array& x, const ChannelNormShape& s) {
  if (s.given || s.rows > 1) return;
  const bool group = kind == ChannelNorm::kGroup;
  if (s.rows == 0 || (group && s.outer * (s.C / s.groups) != 1)) return;
  const char* what = kind == ChannelNorm::kBatch ? "value per channel"
                     : group                     ? "value per group"
                                                 : "spatial position";
  value_error(x.op, "x has shape " + shape_text(x.shape, x.ndim) + ": one " + what +
                        ", its statistics need more than one");
}

void set_activation(ChannelNormShape& s, const char* op, int act, double p0, double p1) {
  if (act == kNoActivation) return;
  const bool known = act >= int(UnaryOp::kElu) && act < int(UnaryOp::kCount);
  if (!known || act == int(UnaryOp::kHeaviside)) {
    value_error(op, "activation " + std::to_string(act) + " cannot be fused");
  }
  s.activation = act;
  s.act_from_y = unary_info(UnaryOp(act)).saves[0] == 'y';
  s.p0 = p0, s.p1 = p1;
}

void set_eps(double& to, const char* op, double eps) {
  if (!(eps >= 0)) value_error(op, "eps is " + std::to_string(eps) + ", expected at least 0");
  to = eps;
}

// An argument of the shape of the channels, or null for None.
void* per_channel(const Array& x, const char* name, py::handle object, const ChannelNormShape& s,
                  bool per_sample, bool written = false) {
  if (object.is_none()) return nullptr;
  const Array a(x.op, name, object);
  a.require_float().require_like(x);
  const int ndim = per_sample ? 2 : 1;
  const bool fits =
      a.ndim == ndim && a.shape[ndim - 1] == s.C && (!per_sample || a.shape[0] == s.outer);
  if (!fits) {
    const Dims want = per_sample ? Dims{s.outer, s.C} : Dims{s.C};
    value_error(x.op, std::string(name) + " has shape " + shape_text(a.shape, a.ndim) +
                          ", expected " + shape_text(want) + " for x " +
                          shape_text(x.shape, x.ndim) +
                          (a.ndim ? layout_hint(x, a.shape[a.ndim - 1]) : ""));
  }
  a.require_contiguous();
  if (written && !a.writeable) value_error(x.op, std::string(name) + " is read-only");
  return a.data;
}

Dims stats_dims(ChannelNorm kind, const ChannelNormShape& s) {
  return kind == ChannelNorm::kBatch ? Dims{s.C} : Dims{s.outer, s.groups};
}

template <class T>
T* optional(const py::object& a) {
  return a.is_none() ? nullptr : data_of<T>(a);
}

void fill(const py::object& a, double value) {
  if (a.is_none()) return;
  const Array to("norm", "result", a);
  with_float(to, [&](auto zero) {
    const std::vector<decltype(zero)> all(size_t(to.size()), decltype(zero)(value));
    copy_to(to, all.data());
  });
}

py::object channel_norm_forward(int kind_in, py::handle x_in, int64_t groups, py::handle w_in,
                                py::handle b_in, py::handle mean_in, py::handle var_in, bool given,
                                double momentum, double eps, int act, double p0, double p1,
                                bool need_stats) {
  const ChannelNames& names = names_of(kind_in);
  const ChannelNorm kind = ChannelNorm(kind_in);
  const char* op = names.forward;
  const Array x(op, "x", x_in);
  ChannelNormShape s = channel_shape(kind, x, groups, given);
  require_several(kind, x, s);
  set_eps(s.eps, op, eps);
  s.momentum = momentum;
  set_activation(s, op, act, p0, p1);
  void* w = per_channel(x, names.weight, w_in, s, s.per_sample);
  void* b = per_channel(x, names.bias, b_in, s, s.per_sample);
  void* running_mean = per_channel(x, "running_mean", mean_in, s, false, !given);
  void* running_var = per_channel(x, "running_var", var_in, s, false, !given);
  if (given && (!running_mean || !running_var)) {
    value_error(op, "running_mean and running_var are None, but training=False takes them");
  }
  py::object y = new_array(op, x.dtype, x.shape, x.ndim), mean = py::none(), rstd = py::none();
  if (need_stats) {
    const Dims dims = stats_dims(kind, s);
    mean = new_array(op, x.dtype, dims), rstd = new_array(op, x.dtype, dims);
  }
  if (x.size() == 0) {
    fill(mean, __builtin_nan(""));
    fill(rstd, __builtin_nan(""));
  } else {
    with_float(x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().channel_norm_forward, s, x.as<const T>(), static_cast<const T*>(w),
             static_cast<const T*>(b), static_cast<T*>(running_mean), static_cast<T*>(running_var),
             data_of<T>(y), optional<T>(mean), optional<T>(rstd));
    });
  }
  return need_stats ? py::object(py::make_tuple(y, mean, rstd)) : y;
}

py::tuple channel_norm_backward(int kind_in, py::handle dy_in, py::handle x_in, int64_t groups,
                                py::handle w_in, py::handle b_in, py::handle mean_in,
                                py::handle rstd_in, bool given, int act, double p0, double p1,
                                int need) {
  const ChannelNames& names = names_of(kind_in);
  const ChannelNorm kind = ChannelNorm(kind_in);
  const char* op = names.backward;
  const Array x(op, "x", x_in), dy(op, "dy", dy_in), mean(op, "mean", mean_in),
      rstd(op, "rstd", rstd_in);
  ChannelNormShape s = channel_shape(kind, x, groups, given);
  set_activation(s, op, act, p0, p1);
  dy.require_float().require_like(x).require_shape(x.dims()).require_contiguous();
  const void* w = per_channel(x, names.weight, w_in, s, s.per_sample);
  const void* b = per_channel(x, names.bias, b_in, s, s.per_sample);
  const Dims dims = stats_dims(kind, s);
  for (const Array* a : {&mean, &rstd}) {
    a->require_float().require_like(x).require_shape(dims).require_contiguous();
  }
  const Dims affine = s.per_sample ? Dims{s.outer, s.C} : Dims{s.C};
  const auto wanted = [&](int bit, const Dims& shape) {
    return need & bit ? new_array(op, x.dtype, shape) : py::object(py::none());
  };
  py::object dx = wanted(1, x.dims()), dw = wanted(2, affine), db = wanted(4, affine);
  if (x.size() == 0) {
    fill(dw, 0);
    fill(db, 0);
  } else {
    with_float(x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().channel_norm_backward, s, dy.as<const T>(), x.as<const T>(),
             static_cast<const T*>(w), static_cast<const T*>(b), mean.as<const T>(),
             rstd.as<const T>(), optional<T>(dx), optional<T>(dw), optional<T>(db));
    });
  }
  return py::make_tuple(dx, dw, db);
}

// ---- along the last axes -------------------------------------------------------------------------

enum class RowNorm : int { kLayer, kRms, kPixel };
constexpr const char* kRow[][2] = {{"layer_norm", "layer_norm_backward"},
                                   {"rms_norm", "rms_norm_backward"},
                                   {"pixel_norm", "pixel_norm_backward"}};

const char* row_name(int kind, bool backward) {
  if (kind < 0 || kind > int(RowNorm::kPixel)) {
    value_error("row_norm", "there is no kind " + std::to_string(kind));
  }
  return kRow[kind][backward];
}

// The last `axes` axes of x make a row.
RowNormShape row_shape(int kind, const Array& x, int axes) {
  x.require_float();
  if (axes < 1 || axes > x.ndim) {
    value_error(x.op, "x has shape " + shape_text(x.shape, x.ndim) + ", expected at least " +
                          std::to_string(axes < 1 ? 1 : axes) + " axes");
  }
  x.require_contiguous();
  RowNormShape s = {1, 1, kind == int(RowNorm::kLayer) ? RowNormKind::kLayer : RowNormKind::kRms,
                    0};
  for (int i = 0; i < x.ndim; ++i) (i < x.ndim - axes ? s.rows : s.n) *= x.shape[i];
  return s;
}

const void* per_row(const Array& x, const char* name, py::handle object, int axes) {
  if (object.is_none()) return nullptr;
  const Array a(x.op, name, object);
  a.require_float().require_like(x);
  const Dims want(x.shape + x.ndim - axes, x.shape + x.ndim);
  a.require_shape(want).require_contiguous();
  return a.data;
}

py::object row_norm_forward(int kind, py::handle x_in, int axes, py::handle w_in, py::handle b_in,
                            double eps, bool need_stats) {
  const char* op = row_name(kind, false);
  const Array x(op, "x", x_in);
  RowNormShape s = row_shape(kind, x, axes);
  set_eps(s.eps, op, eps);
  const void *w = per_row(x, "weight", w_in, axes), *b = per_row(x, "bias", b_in, axes);
  py::object y = new_array(op, x.dtype, x.shape, x.ndim), mean = py::none(), rstd = py::none();
  if (need_stats) {
    const Dims dims(x.shape, x.shape + x.ndim - axes);
    if (s.kind == RowNormKind::kLayer) mean = new_array(op, x.dtype, dims);
    rstd = new_array(op, x.dtype, dims);
  }
  if (x.size() == 0) {
    fill(mean, __builtin_nan(""));
    fill(rstd, __builtin_nan(""));
  } else {
    with_float(x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().row_norm_forward, s, x.as<const T>(), static_cast<const T*>(w),
             static_cast<const T*>(b), data_of<T>(y), optional<T>(mean), optional<T>(rstd));
    });
  }
  return need_stats ? py::object(py::make_tuple(y, mean, rstd)) : y;
}

py::tuple row_norm_backward(int kind, py::handle dy_in, py::handle x_in, int axes, py::handle w_in,
                            py::handle mean_in, py::handle rstd_in, int need) {
  const char* op = row_name(kind, true);
  const Array x(op, "x", x_in), dy(op, "dy", dy_in), rstd(op, "rstd", rstd_in);
  const RowNormShape s = row_shape(kind, x, axes);
  dy.require_float().require_like(x).require_shape(x.dims()).require_contiguous();
  const void *w = per_row(x, "weight", w_in, axes), *m = nullptr;
  const Dims dims(x.shape, x.shape + x.ndim - axes);
  rstd.require_float().require_like(x).require_shape(dims).require_contiguous();
  if (s.kind == RowNormKind::kLayer) {
    const Array mean(op, "mean", mean_in);
    mean.require_float().require_like(x).require_shape(dims).require_contiguous();
    m = mean.data;
  }
  const Dims affine(x.shape + x.ndim - axes, x.shape + x.ndim);
  const auto wanted = [&](int bit, const Dims& shape) {
    return need & bit ? new_array(op, x.dtype, shape) : py::object(py::none());
  };
  py::object dx = wanted(1, x.dims()), dw = wanted(2, affine), db = wanted(4, affine);
  if (x.size() == 0) {
    fill(dw, 0);
    fill(db, 0);
  } else {
    with_float(x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().row_norm_backward, s, dy.as<const T>(), x.as<const T>(),
             static_cast<const T*>(w), static_cast<const T*>(m), rstd.as<const T>(),
             optional<T>(dx), optional<T>(dw), optional<T>(db));
    });
  }
  return py::make_tuple(dx, dw, db);
}

// ---- minibatch standard deviation ----------------------------------------------------------------

MinibatchStdShape minibatch_shape(const Array& x, int64_t group, int64_t features, double eps) {
  x.require_float();
  if (x.ndim < 2) {
    value_error(x.op, "x has shape " + shape_text(x.shape, x.ndim) + ", expected (N, ..., C)");
  }
  x.require_contiguous();
  const int64_t N = x.shape[0], C = x.shape[x.ndim - 1];
  if (group < 1) value_error(x.op, "group_size is " + std::to_string(group) + ", expected above 0");
  if (features < 1 || C % features != 0) {
    value_error(x.op, "num_features is " + std::to_string(features) +
                          ", which does not divide the " + std::to_string(C) + " channels of x " +
                          shape_text(x.shape, x.ndim));
  }
  MinibatchStdShape s = {};
  s.G = group < N ? group : N > 0 ? N : 1;
  if (N % s.G != 0) {
    value_error(x.op, "group_size is " + std::to_string(group) + ", which does not divide the " +
                          std::to_string(N) + " images of x " + shape_text(x.shape, x.ndim));
  }
  s.M = N / s.G, s.C = C, s.F = features, s.P = 1;
  for (int i = 1; i + 1 < x.ndim; ++i) s.P *= x.shape[i];
  set_eps(s.eps, x.op, eps);
  return s;
}

py::object minibatch_std_forward(py::handle x_in, int64_t group, int64_t features, double eps) {
  const char* op = "minibatch_stddev";
  const Array x(op, "x", x_in);
  const MinibatchStdShape s = minibatch_shape(x, group, features, eps);
  Dims dims = x.dims();
  dims.back() += features;
  py::object y = new_array(op, x.dtype, dims);
  if (x.size() == 0) {
    fill(y, __builtin_nan(""));
    return y;
  }
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().minibatch_std_forward, s, x.as<const T>(), data_of<T>(y));
  });
  return y;
}

py::object minibatch_std_backward(py::handle dy_in, py::handle x_in, int64_t group,
                                  int64_t features, double eps) {
  const char* op = "minibatch_stddev_backward";
  const Array dy(op, "dy", dy_in), x(op, "x", x_in);
  const MinibatchStdShape s = minibatch_shape(x, group, features, eps);
  Dims dims = x.dims();
  dims.back() += features;
  dy.require_float().require_like(x).require_shape(dims).require_contiguous();
  py::object dx = new_array(op, x.dtype, x.shape, x.ndim);
  if (x.size() == 0) return dx;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().minibatch_std_backward, s, dy.as<const T>(), x.as<const T>(),
           data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_norm(py::module_& m) {
  py::dict channels, rows;
  for (int i = 0; i < 4; ++i) channels[names_of(i).forward] = i;
  for (int i = 0; i < 3; ++i) rows[kRow[i][0]] = i;
  m.attr("channel_norms") = channels;
  m.attr("row_norms") = rows;
  define(m, "channel_norm_forward", &channel_norm_forward, py::arg("kind"), py::arg("x"),
         py::arg("groups"), py::arg("weight"), py::arg("bias"), py::arg("running_mean"),
         py::arg("running_var"), py::arg("given"), py::arg("momentum"), py::arg("eps"),
         py::arg("act"), py::arg("p0"), py::arg("p1"), py::arg("need_stats"));
  define(m, "channel_norm_backward", &channel_norm_backward, py::arg("kind"), py::arg("dy"),
         py::arg("x"), py::arg("groups"), py::arg("weight"), py::arg("bias"), py::arg("mean"),
         py::arg("rstd"), py::arg("given"), py::arg("act"), py::arg("p0"), py::arg("p1"),
         py::arg("need"));
  define(m, "row_norm_forward", &row_norm_forward, py::arg("kind"), py::arg("x"), py::arg("axes"),
         py::arg("weight"), py::arg("bias"), py::arg("eps"), py::arg("need_stats"));
  define(m, "row_norm_backward", &row_norm_backward, py::arg("kind"), py::arg("dy"), py::arg("x"),
         py::arg("axes"), py::arg("weight"), py::arg("mean"), py::arg("rstd"), py::arg("need"));
  define(m, "minibatch_std_forward", &minibatch_std_forward, py::arg("x"), py::arg("group_size"),
         py::arg("num_features"), py::arg("eps"));
  define(m, "minibatch_std_backward", &minibatch_std_backward, py::arg("dy"), py::arg("x"),
         py::arg("group_size"), py::arg("num_features"), py::arg("eps"));
}

}  // namespace hl::bind
