// NumPy arrays at the door: what came in is looked at once, and every complaint about it is made here.
//
// The voice of all error messages: "<op>: <argument> <what came>, <what was expected>". Nothing is
// ever cast or copied on the way in.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace hl::bind {

namespace py = pybind11;

enum class DType { kFloat32, kFloat64, kInt32, kInt64, kBool, kUInt8, kOther };

using Dims = std::vector<int64_t>;

// Raises TypeError or ValueError with "<op>: <text>".
[[noreturn]] void type_error(const char* op, const std::string& text);
[[noreturn]] void value_error(const char* op, const std::string& text);

std::string shape_text(const int64_t* shape, int ndim);  // "(3, 4)"
std::string shape_text(const Dims& shape);

// An ndarray, or the layout of a device array (bind/gpu.h), that was passed as argument `name` of
// `op`: borrowed, native-endian and aligned.
struct Array {
  py::handle object;  // the ndarray
  const char* op;
  const char* name;
  DType dtype;
  int ndim;
  const ssize_t* shape;
  const ssize_t* strides;  // bytes
  void* data;
  bool writeable;
  int64_t itemsize;

  // Accepts any ndarray and device array; TypeError for anything else, ValueError where the call's
  // other arrays are on another device.
  Array(const char* op, const char* name, py::handle object);

  int64_t size() const;
  bool contiguous() const;
  std::string dtype_name() const;
  Dims dims() const { return Dims(shape, shape + ndim); }
  int64_t stride(int axis) const { return strides[axis] / itemsize; }  // elements
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }

  // Each returns *this, so that checks read as a chain.
  const Array& require_float() const;  // float32 or float64
  const Array& require_index() const;  // int64 or int32
  const Array& require_bool() const;
  const Array& require_ndim(int n, const char* expected) const;  // expected: "(N, H, W, C)"
  const Array& require_shape(const Dims& expected) const;        // -1 fits any size
  const Array& require_contiguous() const;
  const Array& require_like(const Array& other) const;  // same dtype
};

// An array whose data the caller owns afterwards: from the pool, uninitialised, C order.
py::object new_array(const char* op, DType dtype, const int64_t* shape, int ndim);
py::object new_array(const char* op, DType dtype, const Dims& shape);
// With the dtype of `like`, whatever it is.
py::object new_array(const Array& like, const Dims& shape);
// With the elements of x, in C order (bind/layout.cpp).
py::object copy_of(const Array& x);
inline py::object new_like(const Array& a) { return new_array(a.op, a.dtype, a.dims()); }

// The data of an array that this library has just made.
void* data_of(py::handle array);
template <class T>
T* data_of(py::handle array) {
  return static_cast<T*>(data_of(array));
}

bool share_memory(const Array& a, const Array& b);

// out= as given by the caller: writeable, of this dtype and shape, and sharing no memory with the
// inputs; an input that is exactly `out` is fine where `alias` says so.
enum class Alias { kNone, kExact };
void check_out(const Array& out, DType dtype, const Dims& shape,
               std::initializer_list<const Array*> inputs, Alias alias);

int64_t itemsize(DType dtype);
const char* name_of(DType dtype);

// Product of sizes; ValueError on overflow.
int64_t checked_product(const char* op, const Dims& sizes);

// Shape of a broadcast, NumPy's rules; ValueError naming both arguments.
Dims broadcast_shape(const Array& a, const Array& b);

// Calls f with a float or a double.
template <class F>
auto with_float(const Array& a, F&& f) {
  return a.dtype == DType::kFloat64 ? f(double()) : f(float());
}

}  // namespace hl::bind
