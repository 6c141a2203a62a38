// Arrays on a GPU, and calls of its kernels.
//
// A device array is a Python object whose `_layout` is an ndarray with the address of device memory:
// NumPy keeps shape, strides and views for us, and nobody may read its elements.
#pragma once

#include "bind/array.h"
#include "cuda/library.h"

namespace hl::bind {

// Raises what the library's last failure on this thread was; nothing if there was none.
void raise_gpu_error(const char* what);

// If `object` is a device array: its layout (borrowed from it) and device; else null.
PyObject* device_layout(py::handle object, int* device);

// An uninitialised device array. `descr` is borrowed.
py::object new_device_array(const char* op, PyObject* descr, int64_t itemsize, const int64_t* shape,
                            int ndim, int device);

// Every byte of an array that this library has just made, on whatever device; nothing for None. Bytes
// of kNan make floats that are NaN.
constexpr int kZero = 0, kNan = 0xff;
void fill_bytes(py::handle array, int byte);

// The elements of a contiguous array where the host can read them: a copy, if they are on a GPU.
class HostElements {
 public:
  explicit HostElements(const Array& a);
  HostElements(const HostElements&) = delete;
  HostElements& operator=(const HostElements&) = delete;
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }

 private:
  std::vector<unsigned char> copy_;
  const void* data_;
};

// A device array of the call's device with these elements.
py::object to_call_device(const char* op, DType dtype, const void* elements, const Dims& shape);

// Scratch, stream and error handling around one kernel.
class GpuCall {
 public:
  GpuCall(const char* kernel, const Plan& plan, bool can_run, int device);
  ~GpuCall();
  GpuCall(const GpuCall&) = delete;
  GpuCall& operator=(const GpuCall&) = delete;
  Ctx ctx;
  void finish();  // raises what went wrong

 private:
  const char* kernel_;
  const Plan& plan_;
  int device_;
  void *start_ = nullptr, *stop_ = nullptr;  // events, while a profile is taken
};

}  // namespace hl::bind
