// Axes as given from Python, and the merging of an array's axes into as few as its strides allow.
#pragma once

#include "bind/array.h"

namespace hl::bind {

constexpr int kMaxDims = 64;  // NumPy's own limit

// Normalises one axis; ValueError naming the array's shape.
inline int axis_of(const char* op, const char* name, int64_t axis, const int64_t* shape, int ndim) {
  if (axis < -ndim || axis >= ndim) {
    value_error(op, std::string(name) + " has shape " + shape_text(shape, ndim) +
                        ", so there is no axis " + std::to_string(axis));
  }
  return int(axis < 0 ? axis + ndim : axis);
}

// None (all axes), an int or a sequence of ints, as a bit mask.
inline uint64_t axes_of(const char* op, const char* name, py::handle axes, const int64_t* shape,
                        int ndim) {
  const uint64_t all = ndim == 64 ? ~uint64_t(0) : (uint64_t(1) << ndim) - 1;
  if (axes.is_none()) return all;
  auto one = [&](py::handle h) {
    const Py_ssize_t axis = PyNumber_AsSsize_t(h.ptr(), PyExc_OverflowError);
    if (axis == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      type_error(op, "axis is " + std::string(py::str(py::repr(axes))) +
                         ", expected None, an int or a tuple of ints");
    }
    return uint64_t(1) << axis_of(op, name, axis, shape, ndim);
  };
  if (!PyTuple_Check(axes.ptr()) && !PyList_Check(axes.ptr())) return one(axes);
  uint64_t mask = 0;
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(axes.ptr());
  for (Py_ssize_t i = 0; i < n; ++i) {
    const uint64_t bit = one(PySequence_Fast_GET_ITEM(axes.ptr(), i));
    if (mask & bit) value_error(op, "axis " + std::string(py::str(axes)) + " names an axis twice");
    mask |= bit;
  }
  return mask;
}

// A tuple or list of sizes.
inline Dims shape_of(const char* op, const char* name, py::handle sizes) {
  if (!PyTuple_Check(sizes.ptr()) && !PyList_Check(sizes.ptr())) {
    type_error(op, std::string(name) + " is " + std::string(py::str(py::repr(sizes))) +
                       ", expected a tuple of ints");
  }
  Dims shape(size_t(PySequence_Fast_GET_SIZE(sizes.ptr())));
  for (size_t i = 0; i < shape.size(); ++i) {
    shape[i] = PyNumber_AsSsize_t(PySequence_Fast_GET_ITEM(sizes.ptr(), Py_ssize_t(i)),
                                  PyExc_OverflowError);
    if (shape[i] == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      type_error(op, std::string(name) + " is " + std::string(py::str(sizes)) +
                         ", expected a tuple of ints");
    }
    if (shape[i] < 0) {
      value_error(
          op, std::string(name) + " is " + std::string(py::str(sizes)) + ", a size is negative");
    }
  }
  if (shape.size() > size_t(kMaxDims))
    value_error(op, std::string(name) + " has more than 64 axes");
  return shape;
}

// Axes with N strides each, one per operand.
template <int N>
struct Axes {
  int count = 0;
  int64_t size[kMaxDims], stride[N][kMaxDims];

  template <class... S>
  void add(int64_t n, S... strides) {
    if (n == 1) return;
    size[count] = n;
    int k = 0;
    ((stride[k++][count] = strides), ...);
    ++count;
  }
  // Largest |stride| of operand 0 first; a repeated axis (stride 0) counts as the slowest.
  void sort() {
    auto before = [&](int i, int j) {
      const int64_t a = std::abs(stride[0][i]), b = std::abs(stride[0][j]);
      return b != 0 && (a == 0 || a > b);
    };
    for (int i = 1; i < count; ++i) {
      for (int j = i; j > 0 && before(j, j - 1); --j) {
        std::swap(size[j], size[j - 1]);
        for (int k = 0; k < N; ++k) std::swap(stride[k][j], stride[k][j - 1]);
      }
    }
  }
  // Joins neighbours that are one axis in every operand.
  void merge() {
    int to = 0;
    for (int i = 1; i < count; ++i) {
      bool one = true;
      for (int k = 0; k < N; ++k) one &= stride[k][to] == stride[k][i] * size[i];
      if (one) {
        size[to] *= size[i];
      } else {
        size[++to] = size[i];
      }
      for (int k = 0; k < N; ++k) stride[k][to] = stride[k][i];
    }
    if (count > 0) count = to + 1;
  }
  // Counts a backward axis of operand 0 forward; returns nothing, moves the operands' origins.
  void flip(int64_t (&origin)[N]) {
    for (int i = 0; i < count; ++i) {
      if (stride[0][i] >= 0) continue;
      for (int k = 0; k < N; ++k) {
        origin[k] += (size[i] - 1) * stride[k][i];
        stride[k][i] = -stride[k][i];
      }
    }
  }
  // At least one axis, and no more than a kernel's limit.
  void settle(const char* op, int limit) {
    if (count == 0) {
      size[0] = 1, count = 1;
      for (int k = 0; k < N; ++k) stride[k][0] = 0;
    }
    if (count > limit) {
      value_error(op, "more than " + std::to_string(limit) +
                          " axes that cannot be merged; pass a contiguous copy");
    }
  }
};

}  // namespace hl::bind
