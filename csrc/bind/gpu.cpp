#include "bind/gpu.h"

#include <pybind11/stl.h>

#include <cstring>

#include "bind/invoke.h"
#include "bind/place.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr int kUndecided = -2;
thread_local int t_device = kUndecided;
thread_local const char* t_name = nullptr;
thread_local int t_default = kCpu;  // of calls without arrays
thread_local Precision t_precision = Precision::kFull;

constexpr const char* kReads = "the host reads an array that is on a GPU";
constexpr const char* kWaits = "the host waits for a GPU";
constexpr const char* kWrites = "an array comes from the host";

PyObject* g_type = nullptr;  // handloom.cuda.Array, once there is one
PyObject* g_layout = nullptr;
PyObject* g_device = nullptr;

std::string place_name(int device) {
  return device == kCpu ? std::string("the CPU") : "cuda:" + std::to_string(device);
}

// Owns a block of device memory.
struct Block {
  void* data;
  int device;
  void* stream;
  uint64_t capture;  // the number of the capture that it was made in, or 0
};

// A block is free behind what this thread has queued, which may read it, and behind the stream that it was
// made on; where that one is in use no more, hl.cuda.stream has made the library's own wait for it. What was
// made in a capture goes back to the graph.
void free_block(void* p) {
  auto* block = static_cast<Block*>(p);
  const int device = block->device;
  void* own = own_gpu_stream(device);
  void* on = capturing() ? own : gpu_stream(device);
  void* made = gpu_stream_in_use(device, block->stream) ? block->stream : own;
  if (made != on && block->capture == 0) gpu()->stream_wait(device, on, made);
  gpu()->release(device, on, block->data);
  int ignored;
  gpu()->last_error(&ignored);  // nobody to tell
  delete block;
}

}  // namespace

int call_device() { return t_device == kUndecided ? t_default : t_device; }

void meet_device(const char* op, const char* name, int device) {
  if (t_device == kUndecided) {
    t_device = device;
    t_name = name;
  } else if (t_device != device) {
    value_error(op, std::string(name) + " is on " + place_name(device) + " but " +
                        (t_name ? t_name : "the call") + " is on " + place_name(t_device) +
                        "; move one of them, for example with .to(\"cuda\") or .cpu()");
  }
}

CallScope::CallScope() : device_(t_device), name_(t_name) {
  t_device = kUndecided;
  t_name = nullptr;
}
CallScope::~CallScope() {
  t_device = device_;
  t_name = name_;
}

void raise_gpu_error(const char* what) {
  int error = 0;
  const char* text = gpu() ? gpu()->last_error(&error) : "the CUDA library is not loaded";
  if (!text) return;
  const std::string message = std::string(what) + ": " + text;
  if (error == kGpuOutOfMemory) {
    PyErr_SetString(PyExc_MemoryError, message.c_str());
    throw py::error_already_set();
  }
  if (error == kGpuCapturing || error == kGpuCapturing + 1) {
    refuse_capture(what, kWaits);
    throw std::runtime_error(std::string(what) +
                             ": something cannot be part of a graph, and spoilt it (" + text + ")");
  }
  throw std::runtime_error(message);
}

PyObject* device_layout(py::handle object, int* device) {
  if (!g_type || reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) != g_type) return nullptr;
  PyObject* number = PyObject_GetAttr(object.ptr(), g_device);
  PyObject* layout = PyObject_GetAttr(object.ptr(), g_layout);
  if (!number || !layout) throw py::error_already_set();
  *device = int(PyLong_AsLong(number));
  Py_DECREF(number);
  Py_DECREF(layout);  // the array holds it
  if (capturing()) keep_in_graph(layout);
  return layout;
}

namespace {

// The Python object around a layout; takes over the reference.
py::object device_array(PyObject* layout, int device) {
  PyObject* a = PyObject_CallFunction(g_type, "Ni", layout, device);
  if (!a) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(a);
}

// A layout over device memory that `owner` keeps; takes over neither reference.
PyObject* layout_over(void* data, PyObject* descr, const int64_t* shape, const int64_t* strides,
                      int ndim, py::object owner) {
  auto& api = py::detail::npy_api::get();
  Py_INCREF(descr);
  PyObject* a = api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descr, ndim, reinterpret_cast<const Py_intptr_t*>(shape),
      reinterpret_cast<const Py_intptr_t*>(strides), data,
      py::detail::npy_api::NPY_ARRAY_WRITEABLE_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_, nullptr);
  if (!a) throw py::error_already_set();
  api.PyArray_SetBaseObject_(a, owner.release().ptr());
  return a;
}

constexpr const char* kBlock = "handloom.cuda block";

py::object own(void* data, int device, void* stream) {
  return py::capsule(new Block{data, device, stream, capture_number()}, kBlock,
                     [](PyObject* c) { free_block(PyCapsule_GetPointer(c, kBlock)); });
}

}  // namespace

const GpuApi& loaded(const char* op) {
  if (!gpu()) throw std::runtime_error(std::string(op) + ": the CUDA library is not loaded");
  return *gpu();
}

void* stream_of(const char* op, int device) {
  const GpuApi& api = loaded(op);
  int count = 0;
  if (api.device_count(&count) != 0) raise_gpu_error(op);
  if (device < 0 || device >= count || device >= kMaxGpus) {
    value_error(op, "there is no device cuda:" + std::to_string(device) + ", this machine has " +
                        std::to_string(count));
  }
  meet_graph(op, device);
  void* stream = gpu_stream(device);
  if (!stream) raise_gpu_error(op);
  return stream;
}

bool made_in_capture(py::handle owner, uint64_t capture) {
  if (!PyCapsule_IsValid(owner.ptr(), kBlock)) return false;
  return static_cast<Block*>(PyCapsule_GetPointer(owner.ptr(), kBlock))->capture == capture;
}

py::object new_device_array(const char* op, PyObject* descr, int64_t itemsize, const int64_t* shape,
                            int ndim, int device) {
  const int64_t bytes = checked_product(op, Dims(shape, shape + ndim)) * itemsize;
  void* stream = stream_of(op, device);
  void* data = nullptr;
  if (gpu()->allocate(device, stream, bytes > 0 ? bytes : 1, &data) != 0) {
    raise_gpu_error((std::string(op) + ": no device memory for a result of shape " +
                     shape_text(shape, ndim) + " (" + std::to_string(bytes) + " bytes)")
                        .c_str());
  }
  PyObject* layout = layout_over(data, descr, shape, nullptr, ndim, own(data, device, stream));
  return device_array(layout, device);
}

bool is_array(py::handle object) {
  int device = kCpu;
  return py::detail::npy_api::get().PyArray_Check_(object.ptr()) || device_layout(object, &device);
}

namespace {

void copy_bytes(const Array& array, void* to, const void* from, bool wait) {
  const int64_t bytes = array.size() * array.itemsize;
  if (bytes == 0) return;
  if (call_device() == kCpu) {
    std::memcpy(to, from, size_t(bytes));
    return;
  }
  void* stream = stream_of(array.op, call_device());
  if (capturing()) {
    if (wait) refuse_capture(array.op, kReads);
    if (gpu()->graph_copy(to, from, bytes) != 0) raise_gpu_error(array.op);
    return;
  }
  py::gil_scoped_release unlocked;
  const bool done = gpu()->copy(call_device(), stream, to, from, bytes) == 0 &&
                    (!wait || gpu()->synchronize(call_device(), stream) == 0);
  py::gil_scoped_acquire locked;
  if (!done) raise_gpu_error(array.op);
}

}  // namespace

void copy_to(const Array& to, const void* from) { copy_bytes(to, to.data, from, false); }
void copy_from(const Array& from, void* to) { copy_bytes(from, to, from.data, true); }

void set_zero(const Array& to) {
  const int64_t bytes = to.size() * to.itemsize;
  if (bytes == 0) return;
  if (call_device() == kCpu) {
    std::memset(to.data, 0, size_t(bytes));
    return;
  }
  void* stream = stream_of(to.op, call_device());
  if (gpu()->clear(call_device(), stream, to.data, 0, bytes) != 0) raise_gpu_error(to.op);
}

GpuCall::GpuCall(const char* kernel, const Plan& plan, bool can_run, int device)
    : kernel_(kernel), plan_(plan), device_(device) {
  if (!can_run) {
    PyErr_Format(PyExc_NotImplementedError,
                 "%s: there is no CUDA kernel for it yet; move its arrays "
                 "to the CPU with .cpu()",
                 kernel);
    throw py::error_already_set();
  }
  const GpuApi& api = *gpu();
  ctx = {};
  ctx.stream = stream_of(kernel, device);
  ctx.workers = 1;
  ctx.precision = t_precision;
  if (api.use(device) != 0) raise_gpu_error(kernel);
  void* scratch = nullptr;
  if (plan.shared_bytes > 0 && api.allocate(device, ctx.stream, plan.shared_bytes, &scratch) != 0) {
    raise_gpu_error(kernel);
  }
  ctx.shared = static_cast<unsigned char*>(scratch);
  if (profiling() && !capturing()) {
    api.event_create(device, &start_);
    api.event_create(device, &stop_);
    api.event_record(device, start_, ctx.stream);
  }
}

GpuCall::~GpuCall() {
  const GpuApi& api = *gpu();
  if (ctx.shared) api.release(device_, ctx.stream, ctx.shared);
  for (void* event : {start_, stop_}) {
    if (event) api.event_destroy(device_, event);
  }
}

void GpuCall::finish() {
  const GpuApi& api = *gpu();
  if (stop_) {
    float milliseconds = 0;
    api.event_record(device_, stop_, ctx.stream);
    if (api.event_elapsed(device_, start_, stop_, &milliseconds) == 0) {
      profile_record(kernel_, plan_, milliseconds * 1e-3);
    }
  }
  raise_gpu_error(kernel_);
}

namespace {

// None, or why the library at `path` cannot be used. Checks that a device answers, too.
py::object load(const std::string& path) {
  if (const char* why = gpu_load(path.c_str())) return py::str(why);
  return py::none();
}

void set_type(py::handle type) {
  g_type = type.inc_ref().ptr();
  g_layout = PyUnicode_InternFromString("_layout");
  g_device = PyUnicode_InternFromString("index");
}

py::tuple count() {
  int n = 0, error = 0;
  loaded("cuda").device_count(&n);
  const char* text = gpu()->last_error(&error);
  return py::make_tuple(n, text ? py::object(py::str(text)) : py::none());
}

py::dict info(int device) {
  GpuInfo i = {};
  if (loaded("cuda").device_info(device, &i) != 0) raise_gpu_error("cuda");
  py::dict d;
  d["name"] = i.name;
  d["capability"] = py::make_tuple(i.major, i.minor);
  d["multiprocessors"] = i.multiprocessors;
  d["memory"] = i.memory;
  d["driver"] = i.driver;
  d["runtime"] = i.runtime;
  return d;
}

py::tuple memory(int device) {
  int64_t free = 0, total = 0;
  if (loaded("cuda").memory_info(device, &free, &total) != 0) raise_gpu_error("cuda");
  return py::make_tuple(free, total);
}

py::list kernels() {
  const GpuApi& api = loaded("cuda");
  std::vector<GpuApi::Kernel> rows(size_t(api.kernels(nullptr, 0)));
  api.kernels(rows.data(), int(rows.size()));
  py::list all;
  for (const auto& r : rows) all.append(py::make_tuple(r.name, r.types, r.layer, r.hash));
  return all;
}

void choose(const std::vector<bool>& flags) {
  const GpuApi& api = loaded("cuda");
  std::vector<unsigned char> bytes(flags.begin(), flags.end());
  bytes.resize(size_t(api.kernels(nullptr, 0)), 0);
  api.choose(bytes.data());
}

py::object empty(const Dims& shape, py::handle dtype, int device) {
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  return new_device_array("cuda", d.ptr(), d.itemsize(), shape.data(), int(shape.size()), device);
}

// A contiguous ndarray to the device.
py::object upload(py::handle host, int device) {
  refuse_capture("cuda.array", kWrites);
  const Array a("cuda", "array", host);
  a.require_contiguous();
  PyObject* descr = py::detail::array_proxy(host.ptr())->descr;
  py::object y = new_device_array("cuda", descr, a.itemsize, a.shape, a.ndim, device);
  void* stream = gpu_stream(device);
  if (gpu()->copy(device, stream, data_of(y), a.data, a.size() * a.itemsize) != 0 ||
      gpu()->synchronize(device, stream) != 0) {
    raise_gpu_error("cuda");
  }
  return y;
}

PyObject* expected_layout(py::handle array, int* device) {
  PyObject* layout = device_layout(array, device);
  if (!layout) type_error("cuda", "expected a device array");
  return layout;
}

// A contiguous device array to an ndarray of the same shape and type.
void download(py::handle from, py::handle to) {
  refuse_capture("cuda", kReads);
  int device = 0;
  PyObject* layout = expected_layout(from, &device);
  const Array a("cuda", "array", layout), b("cuda", "host", to);
  a.require_contiguous();
  b.require_contiguous();
  b.require_shape(a.dims());
  void* stream = stream_of("cuda", device);
  py::gil_scoped_release unlocked;
  const bool done = gpu()->copy(device, stream, b.data, a.data, a.size() * a.itemsize) == 0 &&
                    gpu()->synchronize(device, stream) == 0;
  py::gil_scoped_acquire locked;
  if (!done) raise_gpu_error("cuda");
}

// A contiguous ndarray into a contiguous device array of the same shape and type; does not wait.
void write(py::handle to, py::handle from) {
  refuse_capture("copy_", kWrites);
  int device = 0;
  PyObject* layout = expected_layout(to, &device);
  const Array a("cuda", "array", layout), b("cuda", "host", from);
  a.require_contiguous();
  b.require_like(a).require_shape(a.dims()).require_contiguous();
  void* stream = stream_of("cuda", device);
  if (gpu()->copy(device, stream, a.data, b.data, a.size() * a.itemsize) != 0) {
    raise_gpu_error("cuda");
  }
}

void clear(py::handle array) {
  int device = 0;
  PyObject* layout = expected_layout(array, &device);
  const Array a("cuda", "array", layout);
  a.require_contiguous();
  if (gpu()->clear(device, stream_of("cuda", device), a.data, 0, a.size() * a.itemsize) != 0) {
    raise_gpu_error("cuda");
  }
}

// Memory of another library as an array; `owner` keeps it.
py::object adopt(uintptr_t data, const Dims& shape, py::object strides, py::handle dtype,
                 int device, py::object owner) {
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  Dims bytes;
  if (!strides.is_none()) bytes = strides.cast<Dims>();
  return device_array(
      layout_over(reinterpret_cast<void*>(data), d.ptr(), shape.data(),
                  strides.is_none() ? nullptr : bytes.data(), int(shape.size()), std::move(owner)),
      device);
}

uintptr_t address(py::handle layout) { return reinterpret_cast<uintptr_t>(data_of(layout)); }

}  // namespace

void register_gpu(py::module_& m) {
  py::module_ g = m.def_submodule("gpu");
  g.def("load", &load, py::arg("path"));
  g.def("set_type", &set_type, py::arg("type"));
  g.def("build", [] { return loaded("cuda").build; });
  g.def("emulated", [] { return loaded("cuda").emulated != 0; });
  g.def("count", &count);
  g.def("info", &info, py::arg("device"));
  g.def("memory", &memory, py::arg("device"));
  g.def("kernels", &kernels);
  g.def("choose", &choose, py::arg("flags"));
  g.def(
      "set_default",
      [](int device) {
        const int before = t_default;
        t_default = device;
        return before;
      },
      py::arg("device"));
  g.def(
      "set_precision",
      [](int precision) {
        const int before = int(t_precision);
        t_precision = Precision(precision);
        return before;
      },
      py::arg("precision"));
  g.def("empty", &empty, py::arg("shape"), py::arg("dtype"), py::arg("device"));
  define(g, "upload", &upload, py::arg("host"), py::arg("device"));
  define(g, "download", &download, py::arg("array"), py::arg("to"));
  define(g, "write", &write, py::arg("to"), py::arg("host"));
  define(g, "clear", &clear, py::arg("array"));
  g.def("adopt", &adopt, py::arg("data"), py::arg("shape"), py::arg("strides"), py::arg("dtype"),
        py::arg("device"), py::arg("owner"));
  register_gemm16(g);
  register_graph(g);
  register_streams(g);
  g.def("address", &address, py::arg("layout"));
}

}  // namespace hl::bind
