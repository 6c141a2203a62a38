// What users read when an option is of a type that no binding takes: pybind11's own text lists C++
// signatures and prints whole arrays, ours names the op, the option, what came and what was expected.
//
// Each function of the module is wrapped in one that hands its arguments on, and looks only at calls
// that failed.
#include <cstring>
#include <string>
#include <vector>

#include "bind/array.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

PyObject* module_dict;  // borrowed: the module outlives its functions

// Families whose functions have the op as a number, and where its name is found.
struct Numbered {
  const char* function;  // how its name begins
  const char* table;     // attribute of the module: name -> number
  const char* ending;    // of the public name
};
constexpr Numbered kNumbered[] = {
    {"unary_", "unary_ops", ""},      {"binary_", "binary_ops", ""},
    {"compare", "compare_ops", ""},   {"reduce_", "reduce_ops", ""},
    {"argreduce", "arg_ops", ""},     {"pointwise_loss_", "pointwise_losses", ""},
    {"pool_", "pool_kinds", "_pool"}, {"channel_norm_", "channel_norms", ""},
    {"row_norm_", "row_norms", ""},
};

struct Parameter {
  std::string name, type;
};

// "(op: typing.SupportsInt | ..., x: object = None) -> object" as names and types.
std::vector<Parameter> parameters_of(const char* signature) {
  std::vector<Parameter> found;
  std::string part;
  int depth = 0;
  for (const char* c = signature + 1; *c && depth >= 0; ++c) {
    depth += *c == '(' || *c == '[';
    depth -= *c == ')' || *c == ']';
    if (depth > 0 || (depth == 0 && *c != ',')) {
      part += *c;
      continue;
    }
    const size_t colon = part.find(':');
    const size_t start = part.find_first_not_of(' ');
    if (colon != std::string::npos) {
      found.push_back({part.substr(start, colon - start), part.substr(colon + 2)});
    }
    part.clear();
  }
  return found;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// What was expected, or null if the value is that.
const char* expected(const std::string& type, py::handle value) {
  PyObject* v = value.ptr();
  if (has(type, "Sequence") || has(type, "collections")) {
    return PySequence_Check(v) && !PyUnicode_Check(v) ? nullptr : "a sequence of numbers";
  }
  if (has(type, "SupportsInt")) {
    if (PyFloat_Check(v) || !PyIndex_Check(v)) return "an int";
    const Py_ssize_t n = PyNumber_AsSsize_t(v, PyExc_OverflowError);
    const bool fits = n != -1 || !PyErr_Occurred();
    PyErr_Clear();
    return fits ? nullptr : "an int of 64 bits";
  }
  if (has(type, "SupportsFloat")) {
    const bool number = !PyUnicode_Check(v) && PyNumber_Check(v);
    const double x = number ? PyFloat_AsDouble(v) : 0;
    const bool fits = number && (x != -1 || !PyErr_Occurred());
    PyErr_Clear();
    return fits ? nullptr : "a number";
  }
  if (has(type, "bool")) {
    const bool flag = PyBool_Check(v) || std::strstr(Py_TYPE(v)->tp_name, "bool");
    return flag ? nullptr : "True or False";
  }
  if (has(type, "str")) return PyUnicode_Check(v) ? nullptr : "a string";
  if (has(type, "list")) return PyList_Check(v) ? nullptr : "a list";
  return nullptr;
}

std::string short_repr(py::handle value) {
  if (py::hasattr(value, "shape") && py::hasattr(value, "dtype")) {
    return "a " + std::string(py::str(py::type::of(value).attr("__name__"))) + " of shape " +
           std::string(py::str(value.attr("shape")));
  }
  const std::string text = py::str(py::repr(value));
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

std::string op_of(const std::string& function, py::handle first) {
  if (py::isinstance<py::str>(first)) return py::str(first);  // the caller's own name comes first
  const bool backward = has(function, "_backward");
  for (const Numbered& family : kNumbered) {
    if (function.rfind(family.function, 0) != 0) continue;
    PyObject* table = PyDict_GetItemString(module_dict, family.table);
    for (auto entry : py::reinterpret_borrow<py::dict>(table ? table : Py_None)) {
      if (entry.second.equal(first)) {
        return std::string(py::str(entry.first)) + family.ending + (backward ? "_backward" : "");
      }
    }
  }
  const size_t forward = function.rfind("_forward");
  return forward == std::string::npos ? function : function.substr(0, forward);
}

// Replaces the error that is set, if an argument can be named.
void name_argument(py::handle function, PyObject* const* args, Py_ssize_t given, PyObject* names) {
  const std::string doc = py::str(function.attr("__doc__"));  // its first line is the signature
  const std::string name = py::str(function.attr("__name__"));
  const size_t open = doc.find('(');
  if (given == 0 || open == std::string::npos) return;
  const std::vector<Parameter> parameters = parameters_of(doc.c_str() + open);
  const Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t i = 0; i < given + named; ++i) {
    const Parameter* p = nullptr;
    if (i < given) {
      if (size_t(i) < parameters.size()) p = &parameters[size_t(i)];
    } else {
      const std::string keyword = py::str(PyTuple_GET_ITEM(names, i - given));
      for (const Parameter& q : parameters) p = q.name == keyword ? &q : p;
    }
    const char* want = p ? expected(p->type, args[i]) : nullptr;
    if (!want) continue;
    const std::string text =
        op_of(name, args[0]) + ": " + p->name + " is " + short_repr(args[i]) + ", expected " + want;
    PyErr_SetString(PyExc_TypeError, text.c_str());
    return;
  }
}

// `function` is the one that is wrapped.
PyObject* call(PyObject* function, PyObject* const* args, Py_ssize_t given, PyObject* names) {
  PyObject* result = PyObject_Vectorcall(function, args, size_t(given), names);
  if (result || !PyErr_ExceptionMatches(PyExc_TypeError)) return result;
  py::error_already_set error;
  if (has(error.what(), "incompatible function arguments")) {
    try {
      name_argument(function, args, given, names);
    } catch (const std::exception&) {  // a repr that raises
      PyErr_Clear();
    }
  }
  if (!PyErr_Occurred()) error.restore();
  return nullptr;
}

}  // namespace

void register_mismatch(py::module_& m) {
  module_dict = PyModule_GetDict(m.ptr());
  const auto names = py::reinterpret_steal<py::list>(PyDict_Keys(module_dict));
  for (py::handle name : names) {
    PyObject* function = PyDict_GetItem(module_dict, name.ptr());
    if (!PyCFunction_Check(function)) continue;
    const PyMethodDef* own = reinterpret_cast<PyCFunctionObject*>(function)->m_ml;
    auto* method = new PyMethodDef{
        // for ever, as the module
        own->ml_name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)),
        METH_FASTCALL | METH_KEYWORDS, own->ml_doc};
    PyObject* wrapped = PyCFunction_NewEx(method, function, m.attr("__name__").ptr());
    if (!wrapped) throw py::error_already_set();
    PyDict_SetItem(module_dict, name.ptr(), wrapped);
    Py_DECREF(wrapped);
  }
}

}  // namespace hl::bind
