#include "bind/array.h"

#include <cstring>

#include "bind/gpu.h"
#include "bind/place.h"
#include "pool.h"

namespace hl::bind {
namespace {

// Results below this many bytes are left to NumPy's own cache of small blocks: it is faster than a
// capsule, and page faults do not matter there.
constexpr int64_t kPoolFrom = 4096;

py::detail::npy_api& numpy() { return py::detail::npy_api::get(); }

DType dtype_of(int type_num) {
  using api = py::detail::npy_api;
  switch (type_num) {
    case api::NPY_FLOAT_:
      return DType::kFloat32;
    case api::NPY_DOUBLE_:
      return DType::kFloat64;
    case api::NPY_BOOL_:
      return DType::kBool;
    case api::NPY_UBYTE_:
      return DType::kUInt8;
    default:
      break;
  }
  // "int", "long" and "long long" overlap differently on every platform: go by size.
  if (type_num == api::NPY_INT_ || type_num == api::NPY_LONG_ || type_num == api::NPY_LONGLONG_) {
    size_t size = type_num == api::NPY_INT_    ? sizeof(int)
                  : type_num == api::NPY_LONG_ ? sizeof(long)
                                               : sizeof(long long);
    return size == 4 ? DType::kInt32 : DType::kInt64;
  }
  return DType::kOther;
}

// Kept for the life of the process: looking a dtype up costs more than a small kernel.
PyObject* descr_of(DType dtype) {
  static PyObject* table[] = {
      py::dtype::of<float>().release().ptr(),   py::dtype::of<double>().release().ptr(),
      py::dtype::of<int32_t>().release().ptr(), py::dtype::of<int64_t>().release().ptr(),
      py::dtype::of<bool>().release().ptr(),    py::dtype::of<uint8_t>().release().ptr(),
  };
  return table[int(dtype)];
}

}  // namespace

void type_error(const char* op, const std::string& text) {
  throw py::type_error(std::string(op) + ": " + text);
}
void value_error(const char* op, const std::string& text) {
  throw py::value_error(std::string(op) + ": " + text);
}

std::string shape_text(const int64_t* shape, int ndim) {
  std::string s = "(";
  for (int i = 0; i < ndim; ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + (ndim == 1 ? ",)" : ")");
}
std::string shape_text(const Dims& shape) { return shape_text(shape.data(), int(shape.size())); }

Array::Array(const char* op, const char* name, py::handle object)
    : object(object), op(op), name(name) {
  int device = kCpu;
  if (!numpy().PyArray_Check_(object.ptr())) {
    PyObject* layout = device_layout(object, &device);
    if (layout) this->object = object = layout;
  }
  if (!numpy().PyArray_Check_(object.ptr())) {
    std::string came = py::str(py::type::of(object).attr("__name__"));
    type_error(op, std::string(name) + " is a " + came + ", expected a numpy.ndarray");
  }
  meet_device(op, name, device);
  const auto* proxy = py::detail::array_proxy(object.ptr());
  const auto* descr = py::detail::array_descriptor_proxy(proxy->descr);
  dtype = dtype_of(descr->type_num);
  ndim = proxy->nd;
  shape = proxy->dimensions;
  strides = proxy->strides;
  data = proxy->data;
  itemsize = dtype == DType::kOther ? py::reinterpret_borrow<py::array>(object).itemsize()
                                    : hl::bind::itemsize(dtype);
  writeable = proxy->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  if (descr->byteorder == '>' || (descr->byteorder == '<' && PY_BIG_ENDIAN)) {
    value_error(op, std::string(name) + " has dtype " + dtype_name() +
                        " in foreign byte order; convert it with .astype(" + name +
                        ".dtype.newbyteorder('='))");
  }
  if (!(proxy->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) {
    value_error(op, std::string(name) +
                        " is not aligned to its element size; copy it first: " + name + ".copy()");
  }
}

int64_t Array::size() const {
  int64_t n = 1;
  for (int i = 0; i < ndim; ++i) n *= shape[i];
  return n;
}

bool Array::contiguous() const {
  return py::detail::array_proxy(object.ptr())->flags &
         py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
}

std::string Array::dtype_name() const {
  if (dtype != DType::kOther) return name_of(dtype);
  return py::str(py::reinterpret_borrow<py::array>(object).dtype());
}

const Array& Array::require_float() const {
  if (dtype != DType::kFloat32 && dtype != DType::kFloat64) {
    type_error(op,
               std::string(name) + " has dtype " + dtype_name() + ", expected float32 or float64");
  }
  return *this;
}

const Array& Array::require_index() const {
  if (dtype != DType::kInt64 && dtype != DType::kInt32) {
    type_error(op, std::string(name) + " has dtype " + dtype_name() + ", expected int64 or int32");
  }
  return *this;
}

const Array& Array::require_bool() const {
  if (dtype != DType::kBool) {
    type_error(op, std::string(name) + " has dtype " + dtype_name() + ", expected bool");
  }
  return *this;
}

const Array& Array::require_ndim(int n, const char* expected) const {
  if (ndim != n) {
    value_error(
        op, std::string(name) + " has shape " + shape_text(shape, ndim) + ", expected " + expected);
  }
  return *this;
}

const Array& Array::require_shape(const Dims& expected) const {
  bool same = ndim == int(expected.size());
  for (int i = 0; same && i < ndim; ++i) same = expected[i] < 0 || shape[i] == expected[i];
  if (!same) {
    std::string want = shape_text(expected);
    for (size_t at; (at = want.find("-1")) != std::string::npos;) want.replace(at, 2, "*");
    value_error(op,
                std::string(name) + " has shape " + shape_text(shape, ndim) + ", expected " + want);
  }
  return *this;
}

const Array& Array::require_contiguous() const {
  if (!contiguous()) {
    value_error(op,
                std::string(name) + " is not contiguous; pass np.ascontiguousarray(" + name + ")");
  }
  return *this;
}

const Array& Array::require_like(const Array& other) const {
  if (dtype != other.dtype) {
    type_error(op, std::string(name) + " is " + dtype_name() + " but " + other.name + " is " +
                       other.dtype_name() + "; convert one of them, for example " + name +
                       ".astype(np." + other.dtype_name() + ")");
  }
  return *this;
}

namespace {

// Uninitialised, C order. `descr` is borrowed.
py::object allocate(const char* op, PyObject* descr, int64_t item, const int64_t* shape, int ndim) {
  if (call_device() != kCpu) {
    return new_device_array(op, descr, item, shape, ndim, call_device());
  }
  int64_t bytes = checked_product(op, Dims(shape, shape + ndim)) * item;
  auto& api = numpy();
  Py_INCREF(descr);  // PyArray_NewFromDescr takes it
  static_assert(sizeof(Py_intptr_t) == sizeof(int64_t));
  auto* dims = reinterpret_cast<const Py_intptr_t*>(shape);
  if (bytes < kPoolFrom) {
    PyObject* a = api.PyArray_NewFromDescr_(api.PyArray_Type_, descr, ndim, dims, nullptr, nullptr,
                                            0, nullptr);
    if (!a) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(a);
  }
  void* data = pool_allocate(bytes);
  if (!data) {
    Py_DECREF(descr);
    PyErr_Format(PyExc_MemoryError, "%s: no memory for a result of shape %s (%lld bytes)", op,
                 shape_text(shape, ndim).c_str(), static_cast<long long>(bytes));
    throw py::error_already_set();
  }
  py::capsule owner(data, [](void* p) { pool_free(p); });
  PyObject* a = api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descr, ndim, dims, nullptr, data,
      py::detail::npy_api::NPY_ARRAY_WRITEABLE_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_, nullptr);
  if (!a) throw py::error_already_set();
  auto array = py::reinterpret_steal<py::object>(a);
  api.PyArray_SetBaseObject_(a, owner.release().ptr());
  return array;
}

}  // namespace

py::object new_array(const char* op, DType dtype, const int64_t* shape, int ndim) {
  return allocate(op, descr_of(dtype), itemsize(dtype), shape, ndim);
}

py::object new_array(const char* op, DType dtype, const Dims& shape) {
  return new_array(op, dtype, shape.data(), int(shape.size()));
}

py::object new_array(const Array& like, const Dims& shape) {
  PyObject* descr = py::detail::array_proxy(like.object.ptr())->descr;
  return allocate(like.op, descr, like.itemsize, shape.data(), int(shape.size()));
}

void* data_of(py::handle array) {
  int device;
  if (PyObject* layout = device_layout(array, &device)) array = layout;
  return py::detail::array_proxy(array.ptr())->data;
}

namespace {

// First and last byte that an array can touch.
std::pair<const char*, const char*> bounds(const Array& a) {
  auto* low = static_cast<const char*>(a.data);
  const char* high = low + a.itemsize;
  for (int i = 0; i < a.ndim; ++i) {
    if (a.shape[i] == 0) return {low, low};
    int64_t reach = (a.shape[i] - 1) * a.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  return {low, high};
}

bool same_view(const Array& a, const Array& b) {
  return a.data == b.data && a.ndim == b.ndim &&
         std::memcmp(a.shape, b.shape, sizeof(ssize_t) * size_t(a.ndim)) == 0 &&
         std::memcmp(a.strides, b.strides, sizeof(ssize_t) * size_t(a.ndim)) == 0;
}

// Whether two elements may be the same memory: not where each axis steps over all shorter ones, as in
// every slice and transpose.
bool may_repeat(const Array& a) {
  int64_t reach = a.itemsize, last = 0;
  for (int done = 0; done < a.ndim; ++done) {
    int next = -1;
    int64_t step = 0;
    for (int i = 0; i < a.ndim; ++i) {
      const int64_t s = std::abs(int64_t(a.strides[i]));
      if (a.shape[i] > 1 && s > last && (next < 0 || s < step)) next = i, step = s;
    }
    if (next < 0) break;
    if (step < reach) return true;
    int64_t twins = 0;
    for (int i = 0; i < a.ndim; ++i) {
      twins += a.shape[i] > 1 && std::abs(int64_t(a.strides[i])) == step;
    }
    if (twins > 1) return true;
    reach += (a.shape[next] - 1) * step;
    last = step;
  }
  return false;
}

}  // namespace

bool share_memory(const Array& a, const Array& b) {
  auto [a0, a1] = bounds(a);
  auto [b0, b1] = bounds(b);
  if (a0 >= b1 || b0 >= a1) return false;
  // The ranges meet, but interleaved columns of one matrix do not: let NumPy solve that.
  return py::module_::import("numpy").attr("shares_memory")(a.object, b.object).cast<bool>();
}

void check_out(const Array& out, DType dtype, const Dims& shape,
               std::initializer_list<const Array*> inputs, Alias alias) {
  if (out.dtype != dtype) {
    type_error(out.op, std::string(out.name) + " has dtype " + out.dtype_name() + ", expected " +
                           name_of(dtype));
  }
  out.require_shape(shape);
  if (!out.writeable) value_error(out.op, std::string(out.name) + " is read-only");
  for (int i = 0; i < out.ndim && out.size() > 0; ++i) {
    if (out.strides[i] == 0 && out.shape[i] > 1) {
      value_error(out.op, std::string(out.name) +
                              " is a broadcast view: several of its elements are "
                              "the same memory");
    }
  }
  if (out.size() > 1 && may_repeat(out)) {
    value_error(out.op, std::string(out.name) +
                            " overlaps itself: its strides make several of its "
                            "elements the same memory");
  }
  for (const Array* in : inputs) {
    if (alias == Alias::kExact && same_view(out, *in)) continue;
    if (share_memory(out, *in)) {
      value_error(out.op, std::string(out.name) + " overlaps " + in->name + " in memory");
    }
  }
}

int64_t itemsize(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    default:
      return 1;
  }
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat64:
      return "float64";
    case DType::kInt32:
      return "int32";
    case DType::kInt64:
      return "int64";
    case DType::kBool:
      return "bool";
    case DType::kUInt8:
      return "uint8";
    default:
      return "another type";
  }
}

int64_t checked_product(const char* op, const Dims& sizes) {
  int64_t n = 1;
  bool zero = false;
  for (int64_t s : sizes) {
    if (s < 0)
      value_error(op,
                  "a size of " + std::to_string(s) + " in the result's shape " + shape_text(sizes));
    zero |= s == 0;
  }
  if (zero) return 0;
  for (int64_t s : sizes) {
    if (__builtin_mul_overflow(n, s, &n) || n > (int64_t(1) << 58)) {
      value_error(op, "the result's shape " + shape_text(sizes) +
                          " has more elements than memory can hold");
    }
  }
  return n;
}

Dims broadcast_shape(const Array& a, const Array& b) {
  int n = std::max(a.ndim, b.ndim);
  Dims shape(n);
  for (int i = 0; i < n; ++i) {
    int ia = i - (n - a.ndim), ib = i - (n - b.ndim);
    int64_t sa = ia >= 0 ? a.shape[ia] : 1, sb = ib >= 0 ? b.shape[ib] : 1;
    if (sa != sb && sa != 1 && sb != 1) {
      value_error(a.op, std::string(a.name) + " " + shape_text(a.shape, a.ndim) + " and " + b.name +
                            " " + shape_text(b.shape, b.ndim) + " do not broadcast");
    }
    shape[i] = sa == 1 ? sb : sa;
  }
  return shape;
}

}  // namespace hl::bind
