// Where a call computes: on the device where its arrays are.
//
// define() gives every binding a scope; the first Array that is looked at in it says the device, each
// further one must be on the same. new_array(), kernels_for() and invoke() read it, so no binding
// names a device.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

namespace hl::bind {

namespace py = pybind11;

constexpr int kCpu = -1;

// The device of the call that runs on this thread: kCpu, or the number of a GPU.
int call_device();
// An argument is on `device`: ValueError if the call's others are elsewhere.
void meet_device(const char* op, const char* name, int device);

class CallScope {
 public:
  CallScope();
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  int device_;
  const char* name_;
};

// m.def for functions on arrays.
template <class R, class... A, class... Extra>
void define(py::module_& m, const char* name, R (*f)(A...), const Extra&... extra) {
  m.def(
      name,
      [f](A... arguments) -> R {
        const CallScope scope;
        return f(std::forward<A>(arguments)...);
      },
      extra...);
}

}  // namespace hl::bind
