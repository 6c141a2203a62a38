// Device arrays of other libraries, and ours for them: DLPack (dmlc.github.io/dlpack, the C ABI below
// is version 1.0's, with the unversioned form of before for consumers that ask for nothing newer).
#include <cstring>
#include <memory>

#include "bind/gpu.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr int kDLCuda = 2, kDLCudaManaged = 13;
constexpr uint64_t kReadOnly = 1;

struct Kind {
  DLDataType type;
  const char* name;
};
constexpr Kind kKinds[] = {
    {{2, 32, 1}, "float32"}, {{2, 64, 1}, "float64"}, {{0, 32, 1}, "int32"},
    {{0, 64, 1}, "int64"},   {{6, 8, 1}, "bool"},     {{1, 8, 1}, "uint8"},
    {{2, 16, 1}, "float16"}, {{0, 8, 1}, "int8"},     {{0, 16, 1}, "int16"},
    {{1, 16, 1}, "uint16"},  {{1, 32, 1}, "uint32"},  {{1, 64, 1}, "uint64"},
};

// What an exported array keeps: itself, and room for shape and strides in elements.
struct Export {
  PyObject* array;
  int device;
  std::vector<int64_t> sizes;
};

// The consumer's last kernels may still read: its stream is unknown here, so all of the device's work
// is waited for before the memory can go back.
void drop(Export* e) {
  const py::gil_scoped_acquire locked;
  if (gpu()) {
    int ignored;
    gpu()->fence(e->device);
    gpu()->last_error(&ignored);
  }
  Py_DECREF(e->array);
  delete e;
}

DLTensor describe(const Array& a, Export& e) {
  DLTensor t = {};
  t.data = a.data;
  t.device = {kDLCuda, e.device};
  t.ndim = a.ndim;
  const std::string name = a.dtype_name();
  for (const Kind& k : kKinds) {
    if (name == k.name) t.dtype = k.type;
  }
  if (t.dtype.bits == 0) type_error("__dlpack__", "dtype " + name + " has no DLPack type");
  for (int i = 0; i < a.ndim; ++i) e.sizes.push_back(a.shape[i]);
  for (int i = 0; i < a.ndim; ++i) e.sizes.push_back(a.stride(i));
  t.shape = e.sizes.data();
  t.strides = e.sizes.data() + a.ndim;
  return t;
}

template <class Managed>
py::object capsule_of(std::unique_ptr<Export> e, const DLTensor& t, const char* name) {
  auto* m = new Managed();
  m->tensor = t;
  m->context = e.release();
  m->deleter = [](Managed* self) {
    drop(static_cast<Export*>(self->context));
    delete self;
  };
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) m->major = 1;
  // A capsule that nobody consumed (it would be renamed then) deletes what it holds.
  PyObject* c = PyCapsule_New(m, name, [](PyObject* self) {
    const char* now = PyCapsule_GetName(self);
    if (std::strncmp(now, "used_", 5) == 0) return;
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(self, now));
    managed->deleter(managed);
  });
  if (!c) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(c);
}

// The capsule of a device array, for a consumer on `stream` (null: no need to wait).
py::object to_dlpack(py::handle object, bool versioned, py::object consumer) {
  int device = 0;
  PyObject* layout = device_layout(object, &device);
  if (!layout) type_error("__dlpack__", "expected a device array");
  if (!consumer.is_none()) {
    auto* theirs = reinterpret_cast<void*>(consumer.cast<uintptr_t>());
    if (gpu()->stream_wait(device, theirs, gpu_stream(device)) != 0) raise_gpu_error("__dlpack__");
  }
  const Array a("__dlpack__", "array", layout);
  auto e = std::make_unique<Export>(Export{object.inc_ref().ptr(), device, {}});
  const DLTensor t = describe(a, *e);
  return versioned ? capsule_of<DLManagedTensorVersioned>(std::move(e), t, "dltensor_versioned")
                   : capsule_of<DLManagedTensor>(std::move(e), t, "dltensor");
}

// Address, shape, strides in bytes (None: C order), dtype, device, and who keeps it.
template <class Managed>
py::tuple taken(py::object capsule, const char* name, const char* used) {
  auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (!m) throw py::error_already_set();
  const DLTensor& t = m->tensor;
  if (t.device.type != kDLCuda && t.device.type != kDLCudaManaged) {
    value_error("from_dlpack", "the array is not in a GPU's memory");
  }
  const char* dtype = nullptr;
  for (const Kind& k : kKinds) {
    if (std::memcmp(&k.type, &t.dtype, sizeof t.dtype) == 0) dtype = k.name;
  }
  if (!dtype) {
    type_error("from_dlpack", "an element type of " + std::to_string(t.dtype.bits) +
                                  " bits (code " + std::to_string(t.dtype.code) + ") is not known");
  }
  const int64_t item = t.dtype.bits / 8;
  py::tuple shape(t.ndim), strides(t.ndim);
  for (int i = 0; i < t.ndim; ++i) {
    shape[size_t(i)] = t.shape[i];
    if (t.strides) strides[size_t(i)] = t.strides[i] * item;
  }
  bool read_only = false;
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>) {
    if (m->major != 1) value_error("from_dlpack", "an unknown version of DLPack");
    read_only = m->flags & kReadOnly;
  }
  PyCapsule_SetName(capsule.ptr(), used);
  py::capsule owner(m, [](void* p) {
    auto* managed = static_cast<Managed*>(p);
    if (managed->deleter) managed->deleter(managed);
  });
  return py::make_tuple(reinterpret_cast<uintptr_t>(t.data) + t.byte_offset, shape,
                        t.strides ? py::object(strides) : py::object(py::none()), dtype,
                        t.device.id, owner, read_only);
}

py::tuple from_dlpack(py::object capsule) {
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    return taken<DLManagedTensorVersioned>(capsule, "dltensor_versioned",
                                           "used_dltensor_versioned");
  }
  if (!PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    type_error("from_dlpack", "expected a DLPack capsule that nobody has used");
  }
  return taken<DLManagedTensor>(capsule, "dltensor", "used_dltensor");
}

}  // namespace

void register_dlpack(py::module_& m) {
  py::module_ g = m.attr("gpu");
  define(g, "to_dlpack", &to_dlpack, py::arg("array"), py::arg("versioned"), py::arg("stream"));
  define(g, "from_dlpack", &from_dlpack, py::arg("capsule"));
}

}  // namespace hl::bind
