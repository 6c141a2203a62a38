// What is done to all gradients or parameters at once.
#include <cmath>
#include <type_traits>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

enum class Access { kRead, kWrite };

template <class T>
struct Multi {
  MultiShape shape = {};
  std::vector<MultiTensor<T>> tensors;
};

bool first_is_double(const char* op, const char* name, const py::list& arrays) {
  if (arrays.empty()) return false;
  const Array first(op, name, PyList_GET_ITEM(arrays.ptr(), 0));
  return first.dtype == DType::kFloat64;
}

template <class T>
Multi<T> collect(const char* op, const char* name, const py::list& arrays, Access access) {
  Multi<T> m;
  m.tensors.reserve(arrays.size());
  constexpr DType kType = std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64;
  for (size_t i = 0; i < arrays.size(); ++i) {
    const py::handle item = PyList_GET_ITEM(arrays.ptr(), ssize_t(i));
    const Array a(op, name, item);
    if (a.dtype != kType || !a.contiguous() || (access == Access::kWrite && !a.writeable)) {
      const std::string at = std::string(name) + "[" + std::to_string(i) + "]";
      const std::string zero = std::string(name) + "[0]";
      const Array again(op, at.c_str(), item),
          first(op, zero.c_str(), PyList_GET_ITEM(arrays.ptr(), 0));
      again.require_float().require_like(first).require_contiguous();
      value_error(op, at + " is read-only");
    }
    m.tensors.push_back({a.as<T>(), nullptr, m.shape.total, a.size()});
    m.shape.total += a.size();
  }
  m.shape.tensors = int64_t(m.tensors.size());
  return m;
}

template <class F>
auto with_type(bool is_double, const F& f) {
  return is_double ? f(double()) : f(float());
}

// Lists may change while a kernel runs without the GIL: a tuple keeps their arrays.
py::tuple keep(const py::list& arrays) {
  return py::reinterpret_steal<py::tuple>(PyList_AsTuple(arrays.ptr()));
}

double multi_norm(py::list arrays, double order) {
  const char* op = "multi_norm";
  NormOrder o;
  if (order == 1) {
    o = NormOrder::kOne;
  } else if (order == 2) {
    o = NormOrder::kTwo;
  } else if (std::isinf(order) && order > 0) {
    o = NormOrder::kInfinity;
  } else {
    value_error(
        op, "ord is " + py::repr(py::float_(order)).cast<std::string>() + ", expected 1, 2 or inf");
  }
  const py::tuple kept = keep(arrays);
  return with_type(first_is_double(op, "arrays", arrays), [&](auto zero) {
    using T = decltype(zero);
    Multi<T> m = collect<T>(op, "arrays", arrays, Access::kRead);
    m.shape.order = o;
    double norm = 0;
    invoke(kernels_for<T>().multi_norm, m.shape,
           static_cast<const MultiTensor<T>*>(m.tensors.data()), &norm);
    return norm;
  });
}

void multi_scale(py::list arrays, double factor) {
  const char* op = "multi_scale";
  const py::tuple kept = keep(arrays);
  with_type(first_is_double(op, "arrays", arrays), [&](auto zero) {
    using T = decltype(zero);
    Multi<T> m = collect<T>(op, "arrays", arrays, Access::kWrite);
    m.shape.a = factor;
    invoke(kernels_for<T>().multi_scale, m.shape,
           static_cast<const MultiTensor<T>*>(m.tensors.data()));
  });
}

void multi_clamp(py::list arrays, double low, double high) {
  const char* op = "multi_clamp";
  if (!(low <= high)) {
    value_error(op, "low is " + py::repr(py::float_(low)).cast<std::string>() + " and high is " +
                        py::repr(py::float_(high)).cast<std::string>() + ", expected low <= high");
  }
  const py::tuple kept = keep(arrays);
  with_type(first_is_double(op, "arrays", arrays), [&](auto zero) {
    using T = decltype(zero);
    Multi<T> m = collect<T>(op, "arrays", arrays, Access::kWrite);
    m.shape.a = low, m.shape.b = high;
    invoke(kernels_for<T>().multi_clamp, m.shape,
           static_cast<const MultiTensor<T>*>(m.tensors.data()));
  });
}

void multi_lerp(py::list dst, py::list src, double weight) {
  const char* op = "multi_lerp";
  if (dst.size() != src.size()) {
    value_error(op, "dst has " + std::to_string(dst.size()) + " arrays, src has " +
                        std::to_string(src.size()));
  }
  const py::tuple kept = keep(dst), kept_src = keep(src);
  with_type(first_is_double(op, "dst", dst), [&](auto zero) {
    using T = decltype(zero);
    Multi<T> m = collect<T>(op, "dst", dst, Access::kWrite);
    const Multi<T> from = collect<T>(op, "src", src, Access::kRead);
    for (size_t i = 0; i < m.tensors.size(); ++i) {
      const Array a(op, "dst", PyList_GET_ITEM(dst.ptr(), ssize_t(i)));
      const std::string name = "src[" + std::to_string(i) + "]";
      Array(op, name.c_str(), PyList_GET_ITEM(src.ptr(), ssize_t(i)))
          .require_like(a)
          .require_shape(a.dims());
      m.tensors[i].y = from.tensors[i].x;
    }
    m.shape.a = weight;
    invoke(kernels_for<T>().multi_lerp, m.shape,
           static_cast<const MultiTensor<T>*>(m.tensors.data()));
  });
}

}  // namespace

void register_multi(py::module_& m) {
  define(m, "multi_norm", &multi_norm, py::arg("arrays"), py::arg("ord"));
  define(m, "multi_scale", &multi_scale, py::arg("arrays"), py::arg("factor"));
  define(m, "multi_clamp", &multi_clamp, py::arg("arrays"), py::arg("low"), py::arg("high"));
  define(m, "multi_lerp", &multi_lerp, py::arg("dst"), py::arg("src"), py::arg("weight"));
}

}  // namespace hl::bind
