#include "bind/elementwise.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr UnaryInfo kUnary[] = {
    {"abs", "abs_backward", "x", 0, 0},
    {"ceil", "ceil_backward", "", 0, 0},
    {"clip", "clip_backward", "x", 0, 0},
    {"cos", "cos_backward", "x", 0, 0},
    {"erf", "erf_backward", "x", 0, 0},
    {"exp", "exp_backward", "y", 0, 0},
    {"expm1", "expm1_backward", "y", 0, 0},
    {"floor", "floor_backward", "", 0, 0},
    {"log", "log_backward", "x", 0, 0},
    {"log1p", "log1p_backward", "x", 0, 0},
    {"neg", "neg_backward", "", 0, 0},
    {"pow_scalar", "pow_scalar_backward", "x", 1, 0},
    {"reciprocal", "reciprocal_backward", "y", 0, 0},
    {"rsqrt", "rsqrt_backward", "y", 0, 0},
    {"sign", "sign_backward", "", 0, 0},
    {"sin", "sin_backward", "x", 0, 0},
    {"sqrt", "sqrt_backward", "y", 0, 0},
    {"square", "square_backward", "x", 0, 0},
    {"elu", "elu_backward", "x", 1, 0},
    {"gelu", "gelu_backward", "x", 0, 0},
    {"gelu_tanh", "gelu_tanh_backward", "x", 0, 0},
    {"hardsigmoid", "hardsigmoid_backward", "x", 0, 0},
    {"hardswish", "hardswish_backward", "x", 0, 0},
    {"hardtanh", "hardtanh_backward", "y", -1, 1},
    {"heaviside", nullptr, "", 1, 0},
    {"leaky_relu", "leaky_relu_backward", "x", 0.01, 0},
    {"logsigmoid", "logsigmoid_backward", "x", 0, 0},
    {"mish", "mish_backward", "x", 0, 0},
    {"relu", "relu_backward", "y", 0, 0},
    {"relu6", "relu6_backward", "y", 0, 0},
    {"selu", "selu_backward", "y", 0, 0},
    {"sigmoid", "sigmoid_backward", "y", 0, 0},
    {"silu", "silu_backward", "x", 0, 0},
    {"softplus", "softplus_backward", "x", 1, 20},
    {"softsign", "softsign_backward", "x", 0, 0},
    {"tanh", "tanh_backward", "y", 0, 0},
};
static_assert(std::size(kUnary) == size_t(UnaryOp::kCount));

const UnaryInfo& info_of(int op) {
  if (op < 0 || op >= int(UnaryOp::kCount)) {
    value_error("unary", "there is no op number " + std::to_string(op) + ", see _C.unary_ops");
  }
  return kUnary[op];
}

// The shape of an operation on x with the result y of the same shape, any strides.
void set_like(const char* op, ElementShape& s, const Array& x,
              std::initializer_list<Operand> operands, bool contiguous) {
  if (contiguous) {
    set_run(s, x.size(), int(operands.size()));
  } else {
    set_axes(op, s, x.shape, x.ndim, operands);
  }
}

py::object forward(int op, py::handle x_in, double p0, double p1, py::handle out) {
  const char* name = info_of(op).name;
  const Array x(name, "x", x_in);
  x.require_float();
  py::object y;
  if (out.is_none()) {
    y = new_array(name, x.dtype, x.shape, x.ndim);
  } else {
    check_out(Array(name, "out", out), x.dtype, x.dims(), {&x}, Alias::kExact);
    y = py::reinterpret_borrow<py::object>(out);
  }
  const Array to(name, "out", y);
  ElementShape s;
  s.op = op, s.p0 = p0, s.p1 = p1;
  set_like(name, s, x, {operand(x), operand(to)}, x.contiguous() && to.contiguous());
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().unary_forward, s, x.as<const T>(), to.as<T>());
  });
  return y;
}

// y += alpha x
void add_in_place(py::handle y_in, py::handle x_in, double alpha) {
  const Array y("add_", "y", y_in), x("add_", "x", x_in);
  y.require_float();
  x.require_like(y).require_shape(y.dims());
  check_out(y, x.dtype, x.dims(), {&x}, Alias::kExact);
  ElementShape s;
  s.p0 = alpha;
  set_like("add_", s, x, {operand(x), operand(y), operand(y)}, x.contiguous() && y.contiguous());
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().axpy, s, x.as<const T>(), y.as<T>());
  });
}

bool all_finite(py::handle x_in) {
  const Array x("isfinite_all", "x", x_in);
  x.require_float();
  ElementShape s;
  set_like("isfinite_all", s, x, {operand(x)}, x.contiguous());
  int result = 1;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().all_finite, s, x.as<const T>(), &result);
  });
  return result != 0;
}

}  // namespace

py::object unary_backward(int op, py::handle dy_in, py::handle x_in, py::handle y_in, double p0,
                          double p1) {
  const UnaryInfo& info = info_of(op);
  if (!info.backward) value_error(info.name, "has no gradient: it is flat wherever it is smooth");
  const Array dy(info.backward, "dy", dy_in);
  dy.require_float();
  const bool from_y = info.saves[0] == 'y', from_x = info.saves[0] == 'x';
  py::object computed;  // keeps a recomputed y alive
  if (from_y && y_in.is_none() && !x_in.is_none()) {
    computed = forward(op, x_in, p0, p1, py::none());
    y_in = computed;
  }
  py::handle kept = from_y ? y_in : from_x ? x_in : dy_in;
  if (kept.is_none()) {
    type_error(info.backward, from_y ? "needs x or y, both are None" : "needs x, which is None");
  }
  const Array saved(info.backward, from_y ? "y" : "x", kept);
  saved.require_like(dy);
  if (saved.ndim != dy.ndim || !std::equal(dy.shape, dy.shape + dy.ndim, saved.shape)) {
    value_error(info.backward, std::string(saved.name) + " has shape " +
                                   shape_text(saved.shape, saved.ndim) + " but dy " +
                                   shape_text(dy.shape, dy.ndim) + ", expected the same");
  }
  py::object dx = new_array(info.backward, dy.dtype, dy.shape, dy.ndim);
  const Array to(info.backward, "dx", dx);
  ElementShape s;
  s.op = op, s.p0 = p0, s.p1 = p1;
  set_like(info.backward, s, dy, {operand(dy), operand(saved), operand(to)},
           dy.contiguous() && saved.contiguous());
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().unary_backward, s, dy.as<const T>(), saved.as<const T>(), to.as<T>());
  });
  return dx;
}

const UnaryInfo& unary_info(UnaryOp op) { return kUnary[int(op)]; }

void set_axes(const char* op, ElementShape& s, const int64_t* shape, int ndim,
              std::initializer_list<Operand> operands, Order order) {
  constexpr int kMost = 64;  // NumPy's own limit
  struct Axis {
    int64_t size;
    int64_t stride[kElementOperands];
  };
  Axis axes[kMost];
  const int count = int(operands.size()), last = count - 1;
  int dims = 0;
  bool ordered = true;
  for (int i = 0; i < ndim; ++i) {
    if (shape[i] == 1) continue;
    Axis& axis = axes[dims++];
    axis.size = shape[i];
    int k = 0;
    for (const Operand& o : operands) {
      const int at = i - (ndim - o.ndim);
      axis.stride[k++] = at < 0 || o.shape[at] == 1 ? 0 : o.strides[at] / o.item;
    }
    ordered &= dims < 2 || axes[dims - 2].stride[last] >= axis.stride[last];
  }
  if (!ordered && order == Order::kLast) {
    std::stable_sort(axes, axes + dims, [=](const Axis& a, const Axis& b) {
      return std::abs(a.stride[last]) > std::abs(b.stride[last]);
    });
  }
  int merged = 0;
  for (int i = 0; i < dims; ++i) {
    const Axis& axis = axes[i];
    bool joins = merged > 0;
    for (int k = 0; joins && k < count; ++k) {
      joins = axes[merged - 1].stride[k] == axis.stride[k] * axis.size;
    }
    if (joins) {
      const int64_t outer = axes[merged - 1].size;
      axes[merged - 1] = axis;
      axes[merged - 1].size *= outer;
    } else {
      axes[merged++] = axis;
    }
  }
  if (merged == 0) {
    axes[0].size = 1;
    std::fill(axes[0].stride, axes[0].stride + count, 1);
    merged = 1;
  }
  if (merged > kElementDims) {
    value_error(op, "the operands' strides leave " + std::to_string(merged) +
                        " separate axes, at most " + std::to_string(kElementDims) +
                        " are supported; pass np.ascontiguousarray of each");
  }
  s.dims = merged;
  for (int i = 0; i < merged; ++i) {
    s.size[i] = axes[i].size;
    for (int k = 0; k < count; ++k) s.stride[k][i] = axes[i].stride[k];
  }
}

void register_elementwise(py::module_& m) {
  py::dict ops, saves, defaults;
  for (int i = 0; i < int(UnaryOp::kCount); ++i) {
    ops[kUnary[i].name] = i;
    saves[kUnary[i].name] = kUnary[i].saves;
    defaults[kUnary[i].name] = py::make_tuple(kUnary[i].p0, kUnary[i].p1);
  }
  m.attr("unary_ops") = ops;
  m.attr("unary_saves") = saves;
  m.attr("unary_defaults") = defaults;
  define(m, "unary_forward", &forward, py::arg("op"), py::arg("x"), py::arg("p0") = 0.0,
         py::arg("p1") = 0.0, py::arg("out") = py::none());
  define(m, "unary_backward", &unary_backward, py::arg("op"), py::arg("dy"),
         py::arg("x") = py::none(), py::arg("y") = py::none(), py::arg("p0") = 0.0,
         py::arg("p1") = 0.0);
  define(m, "add_", &add_in_place, py::arg("y"), py::arg("x"), py::arg("alpha") = 1.0);
  define(m, "isfinite_all", &all_finite, py::arg("x"));
}

}  // namespace hl::bind
