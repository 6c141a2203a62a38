// Arrays on a GPU, and calls of its kernels.
//
// A device array is a Python object whose `_layout` is an ndarray with the address of device memory:
// NumPy keeps shape, strides and views for us, and nobody may read its elements.
#pragma once

#include <functional>
#include <memory>

#include "bind/array.h"
#include "bind/place.h"
#include "cuda/library.h"

namespace hl::bind {

// The library's table, and this thread's stream on a device: RuntimeError or ValueError where there is none.
const GpuApi& loaded(const char* op);
void* stream_of(const char* op, int device);

// Raises what the library's last failure on this thread was; nothing if there was none.
void raise_gpu_error(const char* what);

// If `object` is a device array: its layout (borrowed from it) and device; else null.
PyObject* device_layout(py::handle object, int* device);

// An ndarray or a device array.
bool is_array(py::handle object);

// The elements of a contiguous array, wherever it is, from and to memory of the host; all zero.
void copy_to(const Array& to, const void* from);
void copy_from(const Array& from, void* to);
void set_zero(const Array& to);

// The elements of a contiguous array where the host can read them: where they are, or in a copy.
template <class T>
class OnHost {
 public:
  explicit OnHost(const Array& a) : data_(a.as<const T>()) {
    if (call_device() == kCpu) return;
    copy_.reset(new T[size_t(a.size())]);
    copy_from(a, copy_.get());
    data_ = copy_.get();
  }
  const T* data() const { return data_; }
  T operator[](int64_t i) const { return data_[i]; }

 private:
  const T* data_;
  std::unique_ptr<T[]> copy_;
};

// ---- graphs (bind/graph.cpp) ----
// Whether this thread records a graph. Then nothing runs that it queues, and the host can read nothing:
// refuse_capture() raises RuntimeError "<op>: <what>" in that case.
bool capturing();
void refuse_capture(const char* op, const char* what);
// The graph under capture keeps what owns this memory. The layout of a device array that a call looks at.
void keep_in_graph(PyObject* layout);
// The number of this thread's capture, from 1, or 0; whether this owns device memory made in that one.
uint64_t capture_number();
bool made_in_capture(py::handle owner, uint64_t capture);
// A call that has just run anew before each replay, to renew what it uploaded; the graph keeps `held`.
void renew_in_graph(std::function<void(Ctx&)> call, py::object held);
// index in [0, limit) or `allowed`, checked by replays.
void guard_in_graph(const char* op, const int64_t* index, int64_t count, int64_t limit,
                    int64_t allowed, int64_t* out);
// Raises where the graph under capture is on another device.
void meet_graph(const char* op, int device);

// An uninitialised device array. `descr` is borrowed.
py::object new_device_array(const char* op, PyObject* descr, int64_t itemsize, const int64_t* shape,
                            int ndim, int device);

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
