#include <algorithm>
#include <string>

#include "bind/axes.h"
#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr int64_t kMost = int64_t(1) << 31;  // sizes along an axis stay below, so do their sums
constexpr const char* kKinds[] = {"max", "min", "avg", "lp"};
constexpr const char* kLayouts[] = {"(N, W, C)", "(N, H, W, C)", "(N, D, H, W, C)"};
constexpr const char* kAxes = "DHW";

// A sliding window, windows that share the input out, or one window over all of it.
enum class Frame { kSliding, kAdaptive, kGlobal };

// The name under which users know a pool; its characters live as long as the process.
const char* pool_name(PoolKind kind, Frame frame, int dims, bool backward) {
  static const auto* names = [] {
    auto* all = new std::string[4][3][3][2];
    for (int k = 0; k < 4; ++k) {
      const std::string pool = kKinds[k] + std::string("_pool");
      for (int d = 0; d < 3; ++d) {
        const std::string sized = pool + std::to_string(d + 1) + "d";
        const std::string frames[] = {sized, "adaptive_" + sized, "global_" + pool};
        for (int f = 0; f < 3; ++f) {
          all[k][f][d][0] = frames[f];
          all[k][f][d][1] = frames[f] + "_backward";
        }
      }
    }
    return all;
  }();
  return names[int(kind)][int(frame)][dims > 0 ? dims - 1 : 0][backward].c_str();
}

PoolKind kind_of(int code) {
  if (code < 0 || code > int(PoolKind::kLp)) {
    value_error("pool", "there is no kind number " + std::to_string(code) + ", see _C.pool_kinds");
  }
  return PoolKind(code);
}

Frame frame_of(py::handle window) {
  if (window.is_none()) return Frame::kGlobal;
  if (!PyTuple_Check(window.ptr()) || PyTuple_GET_SIZE(window.ptr()) == 0) {
    type_error("pool", "window is no tuple");
  }
  return PyTuple_Check(PyTuple_GET_ITEM(window.ptr(), 0)) ? Frame::kSliding : Frame::kAdaptive;
}

// Number `at` of a tuple of `dims` sizes.
int64_t size_at(const char* op, const char* name, py::handle sizes, int dims, int at,
                int64_t least) {
  if (!PyTuple_Check(sizes.ptr()) || PyTuple_GET_SIZE(sizes.ptr()) != dims) {
    value_error(op, std::string(name) + " is " + std::string(py::str(py::repr(sizes))) +
                        ", expected " + std::to_string(dims) + " sizes");
  }
  const int64_t n = PyNumber_AsSsize_t(PyTuple_GET_ITEM(sizes.ptr(), at), nullptr);
  if (n == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (n < least || n >= kMost) {
    value_error(op, std::string(name) + " is " + std::string(py::str(py::repr(sizes))) +
                        ", expected " + std::to_string(least) + " to " + std::to_string(kMost - 1));
  }
  return n;
}

std::string input_text(const PoolShape& s, int dims) {
  std::string text = "x " + std::string(kLayouts[dims - 1]) + " is (" + std::to_string(s.N);
  for (int a = 3 - dims; a < 3; ++a) text += ", " + std::to_string(s.axis[a].in);
  return text + ", " + std::to_string(s.C) + ")";
}

// How many places the window has along an axis, which is checked on the way.
void count_places(const char* op, PoolShape& s, int dims, int at, bool ceil_mode) {
  PoolAxis& a = s.axis[at];
  const int64_t reach = a.dilation * (a.kernel - 1), padded = a.in + a.before + a.after;
  const int64_t room = padded - reach - 1 + (ceil_mode ? a.stride - 1 : 0);
  if (a.in == 0 || room < 0) {
    std::string padding;
    if (a.before || a.after) {
      padding = " + " + std::to_string(a.before) + " + " + std::to_string(a.after) + " of padding";
    }
    value_error(op, "the kernel spans " + std::to_string(reach + 1) + " along " + kAxes[at] +
                        ", which has " + std::to_string(a.in) + padding + ": " +
                        input_text(s, dims));
  }
  if (a.before > reach || a.after > reach) {
    value_error(op, "padding is " + std::to_string(a.before > reach ? a.before : a.after) +
                        " along " + kAxes[at] +
                        ", expected at most dilation * (kernel_size - 1) = " +
                        std::to_string(reach) + ", or a window would see nothing else");
  }
  a.out = room / a.stride + 1;
  // PyTorch's rule: the last window begins inside the input or in the padding before it.
  if (ceil_mode && (a.out - 1) * a.stride >= a.in + a.before) --a.out;
}

int dims_of(py::handle window, Frame frame) {
  if (frame == Frame::kGlobal) return 0;
  const PyObject* sizes =
      frame == Frame::kSliding ? PyTuple_GET_ITEM(window.ptr(), 0) : window.ptr();
  const int dims = int(PyTuple_GET_SIZE(sizes));
  if (dims < 1 || dims > 3) value_error("pool", "window has not one to three axes");
  return dims;
}

struct Pool {
  const char* op;
  PoolKind kind;
  Frame frame;
  int dims;
  PoolShape s;

  Pool(int code, py::handle window, bool backward)
      : kind(kind_of(code)), frame(frame_of(window)), dims(dims_of(window, frame)) {
    op = pool_name(kind, frame, dims, backward);
  }

  // sizes: of x, (N, ..., C).
  void fill(const ssize_t* sizes, int ndim, py::handle window, bool ceil_mode, bool count_pad,
            double number) {
    if (frame == Frame::kGlobal ? ndim < 3 || ndim > 5 : ndim != dims + 2) {
      const std::string expected = frame == Frame::kGlobal ? std::string(kLayouts[0]) + ", " +
                                                                 kLayouts[1] + " or " + kLayouts[2]
                                                           : kLayouts[dims - 1];
      value_error(op, "x has shape " + shape_text(sizes, ndim) + ", expected " + expected);
    }
    dims = ndim - 2;
    s = {};
    s.kind = kind;
    s.adaptive = frame != Frame::kSliding;
    s.count_pad = count_pad;
    s.N = sizes[0], s.C = sizes[ndim - 1];
    if (kind == PoolKind::kAvg) s.divisor = int64_t(number);
    if (kind == PoolKind::kLp) s.power = number;
    for (PoolAxis& a : s.axis) a = {1, 1, 1, 1, 1, 0, 0};
    for (int i = 0; i < dims; ++i) {
      if (sizes[i + 1] >= kMost) {
        value_error(op, "x has shape " + shape_text(sizes, ndim) + ", expected axes below " +
                            std::to_string(kMost));
      }
      s.axis[3 - dims + i].in = sizes[i + 1];
    }
    for (int i = 0; i < dims; ++i) place(window, i, ceil_mode);
    if (s.adaptive) slide_if_even();
    int64_t taps = 1;
    for (const PoolAxis& a : s.axis) {
      taps *= a.kernel;
      if (taps >= kMost) value_error(op, "a window has more than 2147483647 taps");
    }
    s.tap_bytes = taps <= 256 ? 1 : 4;
  }

  void place(py::handle window, int i, bool ceil_mode) {
    const int at = 3 - dims + i;
    PoolAxis& a = s.axis[at];
    if (frame == Frame::kSliding) {
      const auto number = [&](int field, const char* name, int64_t least) {
        return size_at(op, name, PyTuple_GET_ITEM(window.ptr(), field), dims, i, least);
      };
      if (PyTuple_GET_SIZE(window.ptr()) != 5) type_error(op, "window has not five fields");
      a.kernel = number(0, "kernel_size", 1), a.stride = number(1, "stride", 1);
      a.dilation = number(2, "dilation", 1);
      a.before = number(3, "padding", 0), a.after = number(4, "padding", 0);
      return count_places(op, s, dims, at, ceil_mode);
    }
    a.out = frame == Frame::kGlobal ? 1 : size_at(op, "output_size", window, dims, i, 1);
    if (a.in == 0) value_error(op, "there is nothing to pool: " + input_text(s, dims));
    // The longest window, or one more where the sizes do not divide.
    a.kernel = std::min(a.in, a.in / a.out + (a.in % a.out != 0 ? 2 : 0));
  }

  // Parts of one size are the windows of an ordinary pool, which is faster.
  void slide_if_even() {
    for (const PoolAxis& a : s.axis) {
      if (a.in % a.out != 0) return;
    }
    s.adaptive = false;
    for (PoolAxis& a : s.axis) a.kernel = a.stride = a.in / a.out;
  }

  bool remembers() const { return s.kind == PoolKind::kMax || s.kind == PoolKind::kMin; }
  DType tap_type() const { return s.tap_bytes == 1 ? DType::kUInt8 : DType::kInt32; }
  Dims result() const {
    Dims shape{s.N};
    for (int i = 3 - dims; i < 3; ++i) shape.push_back(s.axis[i].out);
    shape.push_back(s.C);
    return shape;
  }
  Dims taps_shape() const { return {checked_product(op, result()) + kTapSlack}; }
  bool empty() const { return s.N * s.C == 0; }

  void check_taps(const Array& taps) const {
    if (taps.dtype != tap_type()) {
      type_error(op, "saved has dtype " + taps.dtype_name() + ", expected the array that " +
                         "forward returned, " + bind::name_of(tap_type()));
    }
    taps.require_contiguous().require_shape(taps_shape());
  }
};

py::object pool_forward(int kind, py::handle x_in, py::handle window, bool ceil_mode,
                        bool count_pad, double number, bool keep) {
  Pool pool(kind, window, false);
  const Array x(pool.op, "x", x_in);
  x.require_float();
  pool.fill(x.shape, x.ndim, window, ceil_mode, count_pad, number);
  x.require_contiguous();
  py::object y = new_array(pool.op, x.dtype, pool.result());
  keep = keep && pool.remembers();
  py::object taps = py::none();
  if (keep) taps = new_array(pool.op, pool.tap_type(), pool.taps_shape());
  if (!pool.empty()) {
    with_float(x, [&](auto zero) {
      using T = decltype(zero);
      invoke(kernels_for<T>().pool_forward, pool.s, x.as<const T>(), data_of<T>(y),
             keep ? data_of(taps) : nullptr);
    });
  }
  return keep ? py::object(py::make_tuple(y, taps)) : y;
}

py::object pool_backward(int kind, py::handle dy_in, py::handle shape_in, py::handle window,
                         bool ceil_mode, bool count_pad, double number, py::handle saved) {
  Pool pool(kind, window, true);
  const Dims shape = shape_of(pool.op, "shape", shape_in);
  pool.fill(shape.data(), int(shape.size()), window, ceil_mode, count_pad, number);
  const Array dy(pool.op, "dy", dy_in);
  dy.require_float().require_contiguous().require_shape(pool.result());
  const void *taps = nullptr, *x_data = nullptr, *y_data = nullptr;
  if (pool.remembers()) {
    const Array a(pool.op, "saved", saved);
    pool.check_taps(a);
    taps = a.data;
  } else if (pool.s.kind == PoolKind::kLp) {
    const auto pair = saved.cast<py::tuple>();
    const Array x(pool.op, "x", pair[0]), y(pool.op, "y", pair[1]);
    x.require_float().require_like(dy).require_contiguous().require_shape(shape);
    y.require_float().require_like(dy).require_contiguous().require_shape(pool.result());
    x_data = x.data, y_data = y.data;
  }
  py::object dx = new_array(pool.op, dy.dtype, shape);
  if (pool.empty()) return dx;
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().pool_backward, pool.s, dy.as<const T>(), taps,
           static_cast<const T*>(x_data), static_cast<const T*>(y_data), data_of<T>(dx));
  });
  return dx;
}

py::object pool_indices(int kind, py::handle taps_in, py::handle shape_in, py::handle window,
                        bool ceil_mode) {
  Pool pool(kind, window, false);
  const Dims shape = shape_of(pool.op, "shape", shape_in);
  pool.fill(shape.data(), int(shape.size()), window, ceil_mode, false, 0);
  const Array taps(pool.op, "saved", taps_in);
  pool.check_taps(taps);
  py::object indices = new_array(pool.op, DType::kInt64, pool.result());
  if (pool.empty()) return indices;
  invoke(kernels_for<void>().pool_indices, pool.s, static_cast<const void*>(taps.data),
         data_of<int64_t>(indices));
  return indices;
}

// ---- unpooling -----------------------------------------------------------------------------------
constexpr const char* kUnpool[][2] = {{"max_unpool1d", "max_unpool1d_backward"},
                                      {"max_unpool2d", "max_unpool2d_backward"},
                                      {"max_unpool3d", "max_unpool3d_backward"}};

struct Unpool {
  const char* op;
  UnpoolShape s;
  Dims large;  // shape of the unpooled array

  Unpool(const Array& pooled, py::handle size_in, bool backward) {
    const Dims size = shape_of(pooled.op, "output_size", size_in);
    const int dims = int(size.size());
    if (dims < 1 || dims > 3) {
      value_error(pooled.op, "output_size has " + std::to_string(dims) + " sizes, expected 1 to 3");
    }
    op = kUnpool[dims - 1][backward];
    if (pooled.ndim != dims + 2) {
      value_error(op, std::string(pooled.name) + " has shape " +
                          shape_text(pooled.shape, pooled.ndim) + ", expected " +
                          kLayouts[dims - 1]);
    }
    s = {pooled.shape[0], 1, 1, pooled.shape[dims + 1]};
    large = {s.N};
    for (int i = 0; i < dims; ++i) s.P *= pooled.shape[i + 1], large.push_back(size[i]);
    large.push_back(s.C);
    s.Q = checked_product(op, size);
  }
};

py::object unpool_forward(py::handle x_in, py::handle indices_in, py::handle size) {
  Array x("max_unpool", "x", x_in);
  const Unpool u(x, size, false);
  x.op = u.op;
  x.require_float().require_contiguous();
  const Array at(u.op, "indices", indices_in);
  at.require_index().require_shape(x.dims());
  Indices indices(at);
  indices.require_range(u.s.Q);
  py::object y = new_array(u.op, x.dtype, u.large);
  if (u.s.N * u.s.Q * u.s.C == 0) return y;
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().unpool_forward, u.s, x.as<const T>(), indices.data(), data_of<T>(y));
  });
  return y;
}

py::object unpool_backward(py::handle dy_in, py::handle indices_in, py::handle size) {
  const Array at("max_unpool_backward", "indices", indices_in);
  const Unpool u(at, size, true);
  const Array dy(u.op, "dy", dy_in);
  dy.require_float().require_contiguous().require_shape(u.large);
  Indices indices(at);
  indices.require_range(u.s.Q);
  py::object dx = new_array(u.op, dy.dtype, at.dims());
  if (u.s.N * u.s.P * u.s.C == 0) return dx;
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().unpool_backward, u.s, dy.as<const T>(), indices.data(), data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_pool(py::module_& m) {
  py::dict kinds;
  for (int k = 0; k < 4; ++k) kinds[kKinds[k]] = k;
  m.attr("pool_kinds") = kinds;
  define(m, "pool_forward", &pool_forward, py::arg("kind"), py::arg("x"), py::arg("window"),
         py::arg("ceil_mode"), py::arg("count_pad"), py::arg("number"), py::arg("keep"));
  define(m, "pool_backward", &pool_backward, py::arg("kind"), py::arg("dy"), py::arg("shape"),
         py::arg("window"), py::arg("ceil_mode"), py::arg("count_pad"), py::arg("number"),
         py::arg("saved"));
  define(m, "pool_indices", &pool_indices, py::arg("kind"), py::arg("saved"), py::arg("shape"),
         py::arg("window"), py::arg("ceil_mode"));
  define(m, "unpool_forward", &unpool_forward, py::arg("x"), py::arg("indices"),
         py::arg("output_size"));
  define(m, "unpool_backward", &unpool_backward, py::arg("dy"), py::arg("indices"),
         py::arg("output_size"));
}

}  // namespace hl::bind
