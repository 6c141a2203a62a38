#include "bind/axes.h"
#include "bind/invoke.h"
#include "bind/register.h"

// Dims come and go as tuples.
#include <pybind11/stl.h>

namespace hl::bind {
namespace {

constexpr const char* kNames[] = {"sum",  "mean", "prod",      "max",    "min",
                                  "norm", "norm", "norm",      "norm",   "norm",
                                  "var",  "std",  "logsumexp", "argmax", "argmin"};

// The op of a code from Python: "norm" is one code there, its order is p0.
ReduceOp op_of(int code, double p0) {
  if (code < 0 || code > int(ReduceOp::kLogSumExp)) {
    value_error("reduce", "there is no op number " + std::to_string(code) + ", see _C.reduce_ops");
  }
  if (code != int(ReduceOp::kNorm2)) return ReduceOp(code);
  if (p0 == 2) return ReduceOp::kNorm2;
  if (p0 == 1) return ReduceOp::kNorm1;
  if (p0 == 0) return ReduceOp::kNorm0;
  if (std::isinf(p0)) return p0 > 0 ? ReduceOp::kNormInf : ReduceOp::kNormNegInf;
  value_error("norm",
              "ord is " + std::string(py::str(py::float_(p0))) + ", expected 0, 1, 2, inf or -inf");
}

bool needs_elements(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
    case ReduceOp::kMin:
    case ReduceOp::kNormInf:
    case ReduceOp::kNormNegInf:
    case ReduceOp::kArgMax:
    case ReduceOp::kArgMin:
      return true;
    default:
      return false;
  }
}

// A reduction of x over a mask of axes.
struct Reduction {
  const char* name;
  int ndim;
  int64_t shape[kMaxDims], stride[kMaxDims];
  uint64_t mask;

  bool reduced(int axis) const { return mask >> axis & 1; }

  // The result's shape; returns its number of axes.
  int result(int64_t* to, bool keepdims) const {
    int n = 0;
    for (int i = 0; i < ndim; ++i) {
      if (!reduced(i)) to[n++] = shape[i];
      if (reduced(i) && keepdims) to[n++] = 1;
    }
    return n;
  }

  // Fills the kernel's shape. origin: where x and y start, moved where axes were turned round.
  void fill(ReduceShape& s, bool may_flip, int64_t (&origin)[2]) const {
    Axes<2> kept, folded;
    int64_t y = 1, index = 1;
    s.outputs = s.count = 1;
    int64_t y_stride[kMaxDims], i_stride[kMaxDims];
    for (int i = ndim - 1; i >= 0; --i) {
      y_stride[i] = y, i_stride[i] = index;
      (reduced(i) ? index : y) *= shape[i];
      (reduced(i) ? s.count : s.outputs) *= shape[i];
    }
    for (int i = 0; i < ndim; ++i) {
      if (reduced(i)) folded.add(shape[i], stride[i], i_stride[i]);
      if (!reduced(i)) kept.add(shape[i], stride[i], y_stride[i]);
    }
    const bool order = s.op >= ReduceOp::kArgMax;  // otherwise elements may fold in any order
    origin[0] = origin[1] = 0;
    if (may_flip && s.count > 0) {  // the result of nothing is written front to back
      kept.flip(origin);
      if (!order) {
        int64_t move[2] = {};
        folded.flip(move);
        origin[0] += move[0];
      }
    }
    kept.sort(), kept.merge(), kept.settle(name, kReduceDims);
    folded.sort();
    if (!order) {
      for (int i = 0; i < folded.count; ++i) folded.stride[1][i] = folded.stride[0][i];
    }
    folded.merge(), folded.settle(name, kReduceDims);
    s.kept_dims = kept.count, s.reduced_dims = folded.count;
    for (int i = 0; i < kept.count; ++i) {
      s.kept[i] = kept.size[i], s.kept_stride[i] = kept.stride[0][i],
      s.y_stride[i] = kept.stride[1][i];
    }
    for (int i = 0; i < folded.count; ++i) {
      s.reduced[i] = folded.size[i], s.reduced_stride[i] = folded.stride[0][i];
      s.reduced_index[i] = folded.stride[1][i];
    }
  }

  void check_count(ReduceOp op) const {
    if (!needs_elements(op)) return;
    for (int i = 0; i < ndim; ++i) {
      if (reduced(i) && shape[i] == 0) {
        value_error(name, "x has shape " + shape_text(shape, ndim) + ": no element along axis " +
                              std::to_string(i) + ", and there is no " + name + " of nothing");
      }
    }
  }
};

void take_geometry(Reduction& r, const Array& x) {
  r.ndim = x.ndim;
  for (int i = 0; i < x.ndim; ++i) r.shape[i] = x.shape[i], r.stride[i] = x.stride(i);
}

py::object reduce_forward(int code, py::handle x_in, py::handle axes, bool keepdims, double p0) {
  ReduceShape s;
  s.op = op_of(code, p0);
  s.correction = p0;
  Reduction r;
  r.name = kNames[int(s.op)];
  const Array x(r.name, "x", x_in);
  x.require_float();
  take_geometry(r, x);
  r.mask = axes_of(r.name, "x", axes, r.shape, r.ndim);
  r.check_count(s.op);
  int64_t shape[kMaxDims];
  py::object y = new_array(r.name, x.dtype, shape, r.result(shape, keepdims));
  int64_t origin[2];
  r.fill(s, true, origin);
  if (s.outputs == 0) return y;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().reduce_forward, s, x.as<const T>() + origin[0],
           data_of<T>(y) + origin[1]);
  });
  return y;
}

py::object argreduce(int code, py::handle x_in, py::handle axis, bool keepdims) {
  if (code != int(ReduceOp::kArgMax) && code != int(ReduceOp::kArgMin)) {
    value_error("argreduce", "there is no op number " + std::to_string(code) + ", see _C.arg_ops");
  }
  ReduceShape s;
  s.op = ReduceOp(code);
  s.correction = 0;
  Reduction r;
  r.name = kNames[code];
  const Array x(r.name, "x", x_in);
  x.require_float();
  take_geometry(r, x);
  if (PyTuple_Check(axis.ptr()) || PyList_Check(axis.ptr())) {
    type_error(r.name, "axis is " + std::string(py::str(axis)) + ", expected None or an int");
  }
  r.mask = axes_of(r.name, "x", axis, r.shape, r.ndim);
  r.check_count(s.op);
  int64_t shape[kMaxDims];
  py::object y = new_array(r.name, DType::kInt64, shape, r.result(shape, keepdims));
  int64_t origin[2];
  r.fill(s, true, origin);
  if (s.outputs == 0) return y;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().arg_reduce, s, x.as<const T>() + origin[0],
           data_of<int64_t>(y) + origin[1]);
  });
  return y;
}

// Strides of a result along x's axes, 0 where it was reduced; with or without axes of size 1.
void result_strides(const Reduction& r, const Array& a, int64_t* to) {
  int64_t kept[kMaxDims], full[kMaxDims];
  const int nk = r.result(kept, false), nf = r.result(full, true);
  auto same = [&](const int64_t* shape, int n) {
    bool equal = a.ndim == n;
    for (int i = 0; equal && i < n; ++i) equal = a.shape[i] == shape[i];
    return equal;
  };
  const bool dropped = same(kept, nk);
  if (!dropped && !same(full, nf)) {
    value_error(a.op, std::string(a.name) + " has shape " + shape_text(a.shape, a.ndim) +
                          ", expected the result's " + shape_text(kept, nk));
  }
  int axis = 0;
  for (int i = 0; i < r.ndim; ++i) {
    to[i] = r.reduced(i) ? 0 : a.stride(axis);
    axis += dropped ? !r.reduced(i) : 1;
  }
}

py::object reduce_backward(int code, py::handle dy_in, py::handle x_in, py::handle y_in,
                           py::handle axes, double p0) {
  ReduceBackwardShape s;
  s.forward.op = op_of(code, p0);
  s.forward.correction = p0;
  const ReduceOp op = s.forward.op;
  Reduction r;
  r.name = kNames[int(op)];
  const Array dy(r.name, "dy", dy_in);
  dy.require_float();
  const bool shape_only =
      (op == ReduceOp::kSum || op == ReduceOp::kMean) && PyTuple_Check(x_in.ptr());
  const void* x_data = nullptr;
  if (shape_only) {
    const Dims shape = shape_of(r.name, "x", x_in);
    r.ndim = int(shape.size());
    for (int i = 0; i < r.ndim; ++i) r.shape[i] = shape[i], r.stride[i] = 0;
  } else {
    const Array x(r.name, "x", x_in);
    x.require_float().require_like(dy);
    take_geometry(r, x);
    x_data = x.data;
  }
  r.mask = axes_of(r.name, "x", axes, r.shape, r.ndim);
  r.check_count(op);
  int64_t dy_stride[kMaxDims], y_stride[kMaxDims] = {};
  result_strides(r, dy, dy_stride);
  const void* y_data = nullptr;
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kMean:
    case ReduceOp::kProd:
    case ReduceOp::kVar:
    case ReduceOp::kNorm0:
    case ReduceOp::kNorm1:
      break;
    default: {
      const Array y(r.name, "y", y_in);
      y.require_float().require_like(dy);
      result_strides(r, y, y_stride);
      y_data = y.data;
    }
  }
  py::object dx = new_array(r.name, dy.dtype, r.shape, r.ndim);
  int64_t origin[2];
  r.fill(s.forward, false, origin);
  if (s.forward.outputs == 0 || s.forward.count == 0) return dx;

  Axes<4> spread;
  int64_t stat = 1, stat_stride[kMaxDims];
  for (int i = r.ndim - 1; i >= 0; --i) {
    stat_stride[i] = r.reduced(i) ? 0 : stat;
    if (!r.reduced(i)) stat *= r.shape[i];
  }
  for (int i = 0; i < r.ndim; ++i) {
    spread.add(r.shape[i], r.stride[i], dy_stride[i], y_stride[i], stat_stride[i]);
  }
  spread.merge(), spread.settle(r.name, kReduceDims);
  s.dims = spread.count;
  for (int i = 0; i < s.dims; ++i) {
    s.size[i] = spread.size[i], s.x_stride[i] = spread.stride[0][i],
    s.dy_stride[i] = spread.stride[1][i];
    s.y_stride[i] = spread.stride[2][i], s.stat_stride[i] = spread.stride[3][i];
  }
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().reduce_backward, s, dy.as<const T>(), static_cast<const T*>(x_data),
           static_cast<const T*>(y_data), data_of<T>(dx));
  });
  return dx;
}

// The gradient of a broadcast: x summed down to `shape`. x itself where the shape is its own.
py::object sum_to(py::handle x_in, py::handle shape_in) {
  const Dims shape = shape_of("sum_to", "shape", shape_in);
  const Array x("sum_to", "x", x_in);
  x.require_float();
  const int lead = x.ndim - int(shape.size());
  bool fits = lead >= 0, same = lead == 0;
  uint64_t mask = 0;
  for (int i = 0; fits && i < x.ndim; ++i) {
    const int64_t to = i < lead ? 1 : shape[i - lead];
    fits = to == x.shape[i] || to == 1;
    if (i < lead || (to == 1 && x.shape[i] != 1)) mask |= uint64_t(1) << i, same = false;
  }
  if (!fits) {
    value_error("sum_to", "x has shape " + shape_text(x.shape, x.ndim) +
                              ", which is no broadcast of " + shape_text(shape));
  }
  if (same) return py::reinterpret_borrow<py::object>(x_in);
  ReduceShape s;
  s.op = ReduceOp::kSum;
  s.correction = 0;
  Reduction r;
  r.name = "sum_to";
  take_geometry(r, x);
  r.mask = mask;
  py::object y = new_array("sum_to", x.dtype, shape);
  int64_t origin[2];
  r.fill(s, true, origin);
  if (s.outputs == 0) return y;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().reduce_forward, s, x.as<const T>() + origin[0],
           data_of<T>(y) + origin[1]);
  });
  return y;
}

}  // namespace

void register_reduce(py::module_& m) {
  py::dict ops, args;
  for (ReduceOp op :
       {ReduceOp::kSum, ReduceOp::kMean, ReduceOp::kProd, ReduceOp::kMax, ReduceOp::kMin,
        ReduceOp::kNorm2, ReduceOp::kVar, ReduceOp::kStd, ReduceOp::kLogSumExp}) {
    ops[kNames[int(op)]] = int(op);
  }
  for (ReduceOp op : {ReduceOp::kArgMax, ReduceOp::kArgMin}) args[kNames[int(op)]] = int(op);
  m.attr("reduce_ops") = ops;
  m.attr("arg_ops") = args;
  define(m, "reduce_forward", &reduce_forward, py::arg("op"), py::arg("x"), py::arg("axes"),
         py::arg("keepdims"), py::arg("p0"));
  define(m, "reduce_backward", &reduce_backward, py::arg("op"), py::arg("dy"), py::arg("x"),
         py::arg("y"), py::arg("axes"), py::arg("p0"));
  define(m, "argreduce", &argreduce, py::arg("op"), py::arg("x"), py::arg("axis"),
         py::arg("keepdims"));
  define(m, "sum_to", &sum_to, py::arg("x"), py::arg("shape"));
}

}  // namespace hl::bind
