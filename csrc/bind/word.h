// Seeds and call numbers of random numbers.
#pragma once

#include <string>

#include "bind/array.h"

namespace hl::bind {

// An unsigned 64-bit argument: any Python or NumPy integer in range.
inline uint64_t word(const char* op, const char* name, py::handle value) {
  py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) {
    PyErr_Clear();
    type_error(op, std::string(name) + " is a " +
                       std::string(py::str(py::type::of(value).attr("__name__"))) +
                       ", expected an integer");
  }
  const uint64_t x = PyLong_AsUnsignedLongLong(index.ptr());
  if (x == uint64_t(-1) && PyErr_Occurred()) {
    PyErr_Clear();
    value_error(op, std::string(name) + " is " + std::string(py::str(index)) +
                        ", expected 0 <= " + name + " < 2**64");
  }
  return x;
}

}  // namespace hl::bind
