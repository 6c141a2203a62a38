// Random numbers and dropout.
#include <cmath>
#include <cstring>
#include <limits>

#include <pybind11/stl.h>

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"
#include "bind/word.h"

namespace hl::bind {
namespace {

std::string number_text(double x) { return py::repr(py::float_(x)).cast<std::string>(); }

DType float_type(const char* op, const char* dtype) {
  if (std::strcmp(dtype, "float32") == 0) return DType::kFloat32;
  if (std::strcmp(dtype, "float64") == 0) return DType::kFloat64;
  type_error(op, std::string("dtype is ") + dtype + ", expected float32 or float64");
}

RandomShape make_shape(const char* op, const Dims& shape, py::handle seed, py::handle call) {
  RandomShape s = {};
  s.n = checked_product(op, shape);
  s.seed = word(op, "seed", seed);
  s.call = word(op, "call", call);
  return s;
}

uint64_t threshold_of(const char* op, double p) {
  if (!(p >= 0 && p <= 1)) value_error(op, "p is " + number_text(p) + ", expected 0 <= p <= 1");
  return uint64_t(std::nearbyint(std::ldexp(p, 32)));
}

py::object uniform(const Dims& shape, const char* dtype, py::handle seed, py::handle call,
                   double low, double high) {
  const char* op = "random.uniform";
  const DType type = float_type(op, dtype);
  RandomShape s = make_shape(op, shape, seed, call);
  const bool single = type == DType::kFloat32;
  const double most =
      single ? double(std::numeric_limits<float>::max()) : std::numeric_limits<double>::max();
  // Not "low > high": a NaN must not pass.
  if (!(low <= high) || !(high - low <= most) || std::fabs(low) > most || std::fabs(high) > most) {
    value_error(op, "low is " + number_text(low) + " and high is " + number_text(high) +
                        ", expected low <= high with a finite difference");
  }
  s.a = low, s.b = high;
  if (single) {
    s.a = float(low), s.b = float(high);
    s.below = s.a < s.b ? std::nextafter(float(high), float(low)) : s.a;
  } else {
    s.below = low < high ? std::nextafter(high, low) : low;
  }
  py::object y = new_array(op, type, shape);
  if (single) {
    invoke(kernels_for<float>().random_uniform, s, data_of<float>(y));
  } else {
    invoke(kernels_for<double>().random_uniform, s, data_of<double>(y));
  }
  return y;
}

py::object normal(const Dims& shape, const char* dtype, py::handle seed, py::handle call,
                  double mean, double std) {
  const char* op = "random.normal";
  const DType type = float_type(op, dtype);
  RandomShape s = make_shape(op, shape, seed, call);
  if (!std::isfinite(mean))
    value_error(op, "mean is " + number_text(mean) + ", expected a finite number");
  if (!(std >= 0) || std::isinf(std)) {
    value_error(op, "std is " + number_text(std) + ", expected a finite number >= 0");
  }
  s.a = mean, s.b = std;
  py::object y = new_array(op, type, shape);
  if (type == DType::kFloat32) {
    invoke(kernels_for<float>().random_normal, s, data_of<float>(y));
  } else {
    invoke(kernels_for<double>().random_normal, s, data_of<double>(y));
  }
  return y;
}

py::object bernoulli(const Dims& shape, const char* dtype, py::handle seed, py::handle call,
                     double p) {
  const char* op = "random.bernoulli";
  const bool flags = std::strcmp(dtype, "bool") == 0;
  if (!flags && std::strncmp(dtype, "float", 5) != 0) {
    type_error(op, std::string("dtype is ") + dtype + ", expected bool, float32 or float64");
  }
  const DType type = flags ? DType::kBool : float_type(op, dtype);
  RandomShape s = make_shape(op, shape, seed, call);
  s.threshold = threshold_of(op, p);
  py::object y = new_array(op, type, shape);
  if (flags) {
    invoke(kernels_for<void>().random_bernoulli, s, data_of(y));
  } else if (type == DType::kFloat32) {
    invoke(kernels_for<float>().random_bernoulli, s, data_of(y));
  } else {
    invoke(kernels_for<double>().random_bernoulli, s, data_of(y));
  }
  return y;
}

py::object integers(const Dims& shape, py::handle seed, py::handle call, int64_t low,
                    int64_t high) {
  const char* op = "random.integers";
  RandomShape s = make_shape(op, shape, seed, call);
  if (low >= high) {
    value_error(op, "low is " + std::to_string(low) + " and high is " + std::to_string(high) +
                        ", expected low < high (high is not drawn)");
  }
  s.low = low;
  s.range = uint64_t(high) - uint64_t(low);
  py::object y = new_array(op, DType::kInt64, shape);
  invoke(kernels_for<void>().random_integers, s, data_of<int64_t>(y));
  return y;
}

py::object permutation(int64_t n, py::handle seed, py::handle call) {
  const char* op = "random.permutation";
  if (n < 0) value_error(op, "n is " + std::to_string(n) + ", expected n >= 0");
  const RandomShape s = make_shape(op, {n}, seed, call);
  py::object y = new_array(op, DType::kInt64, Dims{n});
  invoke(kernels_for<void>().random_permutation, s, data_of<int64_t>(y));
  return y;
}

// (rows, n): row r is what call calls[r] gives alone.
template <class F>
py::object rows(const char* op, py::handle calls_in, int64_t n, const char* dtype, py::handle seed,
                double a, double b, double below, F&& kernel_of) {
  const Array calls(op, "calls", calls_in);
  const DType type = float_type(op, dtype);
  calls.require_ndim(1, "(N,)");
  const Indices at(calls);
  RandomShape s = {};
  s.rows = at.count(), s.n = n;
  s.seed = word(op, "seed", seed);
  s.a = a, s.b = b, s.below = below;
  py::object y = new_array(op, type, Dims{s.rows, n});
  if (type == DType::kFloat32) {
    invoke(kernel_of(float()), s, at.data(), data_of<float>(y));
  } else {
    invoke(kernel_of(double()), s, at.data(), data_of<double>(y));
  }
  return y;
}

py::object uniform_rows(py::handle calls, int64_t n, const char* dtype, py::handle seed) {
  const bool single = std::strcmp(dtype, "float32") == 0;
  const double below = single ? double(std::nextafter(1.0f, 0.0f)) : std::nextafter(1.0, 0.0);
  return rows("random.uniform_rows", calls, n, dtype, seed, 0, 1, below,
              [](auto zero) { return kernels_for<decltype(zero)>().random_uniform_rows; });
}

py::object normal_rows(py::handle calls, int64_t n, const char* dtype, py::handle seed) {
  return rows("random.normal_rows", calls, n, dtype, seed, 0, 1, 0,
              [](auto zero) { return kernels_for<decltype(zero)>().random_normal_rows; });
}

// The words of the given number of blocks, as an int32 array: for tests and for other kernels'
// checks.
py::object words(int64_t blocks, py::handle seed, py::handle call, py::handle block) {
  const char* op = "random.words";
  const Dims shape = {blocks, 4};
  RandomShape s = make_shape(op, shape, seed, call);
  s.block = word(op, "block", block);
  py::object y = new_array(op, DType::kInt32, shape);
  invoke(kernels_for<void>().random_words, s, data_of<uint32_t>(y));
  return y;
}

enum Kind { kElement, kFeature, kAlpha, kFeatureAlpha };

DropoutShape dropout_shape(const Array& x, double p, py::handle seed, py::handle call, int kind) {
  x.require_float().require_contiguous();
  DropoutShape s = {};
  s.seed = word(x.op, "seed", seed);
  s.call = word(x.op, "call", call);
  s.threshold = threshold_of(x.op, p);
  if (kind < kElement || kind > kFeatureAlpha) {
    value_error(x.op, "kind is " + std::to_string(kind) +
                          ", expected 0 (element), 1 (feature), 2 (alpha) "
                          "or 3 (feature, alpha)");
  }
  s.N = s.R = 1, s.C = x.size();
  if (kind == kFeature || kind == kFeatureAlpha) {
    if (x.ndim < 2) {
      value_error(x.op, std::string(x.name) + " has shape " + shape_text(x.shape, x.ndim) +
                            ", expected (N, ..., C): one draw for each sample and channel");
    }
    s.unit = DropoutUnit::kFeature;
    s.N = x.shape[0], s.C = x.shape[x.ndim - 1];
    for (int i = 1; i < x.ndim - 1; ++i) s.R *= x.shape[i];
  }
  if (kind == kElement || kind == kFeature) {
    s.keep_scale = p < 1 ? 1 / (1 - p) : 0;
  } else if (p < 1) {
    constexpr double kAlphaPrime = 1.7580993408473766;  // SELU's limit at minus infinity, negated
    const double a = 1 / std::sqrt((1 - p) * (1 + p * kAlphaPrime * kAlphaPrime));
    s.keep_scale = a;
    s.keep_shift = a * kAlphaPrime * p;
    s.drop_shift = -a * kAlphaPrime * (1 - p);
  }
  return s;
}

py::object dropout_forward(py::handle x_in, double p, py::handle seed, py::handle call, int kind) {
  const Array x("dropout", "x", x_in);
  const DropoutShape s = dropout_shape(x, p, seed, call, kind);
  py::object y = new_like(x);
  with_float(x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().dropout_forward, s, x.as<const T>(), data_of<T>(y));
  });
  return y;
}

py::object dropout_backward(py::handle dy_in, double p, py::handle seed, py::handle call,
                            int kind) {
  const Array dy("dropout_backward", "dy", dy_in);
  const DropoutShape s = dropout_shape(dy, p, seed, call, kind);
  py::object dx = new_like(dy);
  with_float(dy, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().dropout_backward, s, dy.as<const T>(), data_of<T>(dx));
  });
  return dx;
}

}  // namespace

void register_random(py::module_& m) {
  define(m, "random_uniform", &uniform, py::arg("shape"), py::arg("dtype"), py::arg("seed"),
         py::arg("call"), py::arg("low"), py::arg("high"));
  define(m, "random_normal", &normal, py::arg("shape"), py::arg("dtype"), py::arg("seed"),
         py::arg("call"), py::arg("mean"), py::arg("std"));
  define(m, "random_bernoulli", &bernoulli, py::arg("shape"), py::arg("dtype"), py::arg("seed"),
         py::arg("call"), py::arg("p"));
  define(m, "random_integers", &integers, py::arg("shape"), py::arg("seed"), py::arg("call"),
         py::arg("low"), py::arg("high"));
  define(m, "random_permutation", &permutation, py::arg("n"), py::arg("seed"), py::arg("call"));
  define(m, "random_words", &words, py::arg("blocks"), py::arg("seed"), py::arg("call"),
         py::arg("block"));
  define(m, "random_uniform_rows", &uniform_rows, py::arg("calls"), py::arg("n"), py::arg("dtype"),
         py::arg("seed"));
  define(m, "random_normal_rows", &normal_rows, py::arg("calls"), py::arg("n"), py::arg("dtype"),
         py::arg("seed"));
  define(m, "dropout_forward", &dropout_forward, py::arg("x"), py::arg("p"), py::arg("seed"),
         py::arg("call"), py::arg("kind"));
  define(m, "dropout_backward", &dropout_backward, py::arg("dy"), py::arg("p"), py::arg("seed"),
         py::arg("call"), py::arg("kind"));
}

}  // namespace hl::bind
