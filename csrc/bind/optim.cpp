// Optimiser steps over a list of parameters that is looked at once.
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <vector>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

struct Kind {
  const char* name;
  const char* hyper[kOptimHyper - 3];  // after lr, weight_decay, maximize
  const char* states[kOptimStates];
};

constexpr Kind kKinds[kOptimKinds] = {
    {"sgd", {"momentum", "dampening", "nesterov"}, {"momentum_buffer"}},
    {"adagrad", {"lr_decay", "eps"}, {"sum"}},
    {"rmsprop",
     {"alpha", "eps", "momentum", "centered"},
     {"square_avg", "momentum_buffer", "grad_avg"}},
    {"adam", {"beta1", "beta2", "eps", "amsgrad"}, {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}},
    {"adamw", {"beta1", "beta2", "eps", "amsgrad"}, {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}},
    {"adadelta", {"rho", "eps"}, {"square_avg", "acc_delta"}},
    {"adamax", {"beta1", "beta2", "eps"}, {"exp_avg", "exp_inf"}},
    {"nadam", {"beta1", "beta2", "eps", "momentum_decay", "decoupled"}, {"exp_avg", "exp_avg_sq"}},
    {"radam", {"beta1", "beta2", "eps", "decoupled"}, {"exp_avg", "exp_avg_sq"}},
    {"lion", {"beta1", "beta2"}, {"exp_avg"}},
};

// Whether state k takes part, given the options in the step-state block.
bool needs(OptimKind kind, int k, const double* h) {
  switch (kind) {
    case OptimKind::kSgd:
      return h[3] != 0;
    case OptimKind::kRmsprop:
      return k == 0 || h[k == 1 ? 5 : 6] != 0;
    case OptimKind::kAdam:
    case OptimKind::kAdamw:
      return k < 2 || h[6] != 0;
    default:
      return true;
  }
}

// Parameters, their state and the step-state block, checked once and kept.
class ParamList {
 public:
  ParamList(const char* kind, py::list params, py::list states, py::object progress,
            py::object hyper)
      : kind_(find(kind)),
        params_(std::move(params)),
        states_(std::move(states)),
        progress_(std::move(progress)),
        hyper_(std::move(hyper)) {
    const int64_t n = int64_t(params_.size());
    if (int64_t(states_.size()) != n) {
      value_error(kOp, "states has " + std::to_string(states_.size()) + " entries, expected " +
                           std::to_string(n) + ", one for each parameter");
    }
    double* progress_block = blocks(n);
    const CallScope scope;
    for (int64_t i = 0; i < n; ++i) add(i, progress_block + 2 * i);
    require_distinct();
    held_.reserve(size_t(n));
  }

  void step(py::list grads) {
    const CallScope scope;
    if (single_) {
      step_typed(singles_, grads);
    } else {
      step_typed(doubles_, grads);
    }
  }

  bool holds(py::list params) const {
    if (params.size() != params_.size()) return false;
    for (size_t i = 0; i < params.size(); ++i) {
      if (PyList_GET_ITEM(params.ptr(), ssize_t(i)) != PyList_GET_ITEM(params_.ptr(), ssize_t(i))) {
        return false;
      }
    }
    return true;
  }

  size_t size() const { return params_.size(); }
  const char* kind() const { return kKinds[int(kind_)].name; }

 private:
  static constexpr const char* kOp = "ParamList";

  template <class T>
  struct Tensors {
    std::vector<OptimTensor<T>> all, active;
  };

  static OptimKind find(const char* name) {
    for (int i = 0; i < kOptimKinds; ++i) {
      if (std::strcmp(kKinds[i].name, name) == 0) return OptimKind(i);
    }
    std::string list;
    for (const Kind& k : kKinds) list += std::string(list.empty() ? "" : ", ") + k.name;
    value_error(kOp, "kind is " + std::string(name) + ", expected one of " + list);
  }

  // The numbers that the host keeps, wherever the parameters are: the step-state block, and the
  // progress, which is returned.
  double* blocks(int64_t n) {
    const CallScope scope;
    const Array h(kOp, "hyper", hyper_), p(kOp, "progress", progress_);
    if (call_device() != kCpu) {
      type_error(kOp, "hyper and progress are on a GPU, expected numpy.ndarrays");
    }
    for (const Array* a : {&h, &p}) {
      if (a->dtype != DType::kFloat64) {
        type_error(kOp,
                   std::string(a->name) + " has dtype " + a->dtype_name() + ", expected float64");
      }
      a->require_contiguous();
    }
    h.require_shape({kOptimHyper});
    p.require_shape({n, 2});
    if (!p.writeable) value_error(kOp, "progress is read-only");
    block_ = h.as<const double>();
    return p.as<double>();
  }

  void add(int64_t i, double* progress) {
    const std::string name = "params[" + std::to_string(i) + "]";
    const Array w(kOp, name.c_str(), params_[size_t(i)]);
    w.require_float().require_contiguous();
    if (!w.writeable) value_error(kOp, name + " is read-only");
    const bool single = w.dtype == DType::kFloat32;
    if (i == 0) single_ = single;
    if (single != single_) {
      type_error(kOp, name + " is " + w.dtype_name() + " but params[0] is " +
                          (single_ ? "float32" : "float64") + "; make a list for each dtype");
    }
    const py::object state = states_[size_t(i)];
    if (!py::isinstance<py::sequence>(state) || py::len(state) > kOptimStates) {
      type_error(kOp, "states[" + std::to_string(i) + "] is not a sequence of at most " +
                          std::to_string(kOptimStates) + " arrays or None");
    }
    void* memory[kOptimStates] = {};
    for (int k = 0; k < int(py::len(state)); ++k) {
      const py::object one = state[py::int_(k)];
      if (one.is_none()) continue;
      const std::string at = "states[" + std::to_string(i) + "][" + std::to_string(k) + "]";
      const Array s(kOp, at.c_str(), one);
      s.require_like(w).require_shape(w.dims()).require_contiguous();
      if (!s.writeable) value_error(kOp, at + " is read-only");
      memory[k] = s.data;
      kept_.push_back(one);  // the caller may change the inner sequence
    }
    kept_.push_back(params_[size_t(i)]);
    if (single) {
      push(singles_, w, memory, progress);
    } else {
      push(doubles_, w, memory, progress);
    }
  }

  template <class T>
  static void push(Tensors<T>& list, const Array& w, void** memory, double* progress) {
    OptimTensor<T> t = {};
    t.param = w.as<T>();
    for (int k = 0; k < kOptimStates; ++k) t.state[k] = static_cast<T*>(memory[k]);
    t.progress = progress;
    t.size = w.size();
    list.all.push_back(t);
    list.active.reserve(list.all.size());
  }

  // The same memory twice would be stepped by two threads at once.
  void require_distinct() const {
    std::vector<std::pair<const void*, int64_t>> at;
    const auto collect = [&](const auto& tensors) {
      for (size_t i = 0; i < tensors.all.size(); ++i) {
        if (tensors.all[i].size) at.emplace_back(tensors.all[i].param, int64_t(i));
      }
    };
    collect(singles_);
    collect(doubles_);
    std::sort(at.begin(), at.end());
    for (size_t i = 1; i < at.size(); ++i) {
      if (at[i].first == at[i - 1].first) {
        value_error(kOp, "params[" + std::to_string(at[i - 1].second) + "] and params[" +
                             std::to_string(at[i].second) + "] are the same memory");
      }
    }
  }

  template <class T>
  void step_typed(Tensors<T>& list, const py::list& grads) {
    if (busy_)
      throw std::runtime_error("ParamList.step: another thread is inside this list's step");
    const size_t n = list.all.size();
    if (grads.size() != n) {
      value_error("optim_step", "grads has " + std::to_string(grads.size()) +
                                    " entries, expected " + std::to_string(n) +
                                    ", one for each parameter");
    }
    require_states(list);
    OptimShape s = {kind_, 0, 0};
    list.active.clear();
    row_progress_.clear();
    for (size_t i = 0; i < n; ++i) {
      const py::handle grad = PyList_GET_ITEM(grads.ptr(), ssize_t(i));
      if (grad.is_none()) continue;
      if (PyTuple_Check(grad.ptr())) {
        add_rows(list, grad, i, s);
        continue;
      }
      OptimTensor<T> t = list.all[i];
      t.grad = static_cast<const T*>(checked(grad, i));
      t.begin = s.total;
      s.total += t.size;
      list.active.push_back(t);
    }
    s.tensors = int64_t(list.active.size());
    if (s.tensors == 0) return;
    // The kernel runs without the GIL: the list may change under it, the arrays must not go.
    held_.clear();
    for (size_t i = 0; i < n; ++i) held_.push_back(grads[i]);
    busy_ = true;
    struct Done {
      ParamList* list;
      ~Done() {
        list->busy_ = false;
        list->held_.clear();
      }
    } done{this};
    const auto* kernel = kernels_for<T>().optim_step;
    invoke(kernel, s, block_, static_cast<const OptimTensor<T>*>(list.active.data()));
    if (!capturing()) return;
    renew_in_graph([kernel, s, block = block_,
                    active = list.active](Ctx& ctx) { kernel->run(ctx, s, block, active.data()); },
                   kept_for_graph());
  }

  // What a step's pointers point into, for those who step again later.
  py::list kept_for_graph() const {
    py::list all;
    for (const auto* objects : {&kept_, &held_}) {
      for (const py::object& one : *objects) all.append(one);
    }
    all.append(progress_);
    all.append(hyper_);
    return all;
  }

  // A gradient of some rows, as (rows (K), values (K, ...)): each row is a tensor of its own, which
  // steps as the whole one would; the first one counts the step.
  template <class T>
  void add_rows(Tensors<T>& list, py::handle grad, size_t i, OptimShape& s) {
    const std::string name = "grads[" + std::to_string(i) + "]";
    if (PyTuple_GET_SIZE(grad.ptr()) != 2) {
      type_error("optim_step", name + " is a tuple, expected (rows, values)");
    }
    const std::string of_rows = name + "[0]", of_values = name + "[1]";
    const Array rows("optim_step", of_rows.c_str(), PyTuple_GET_ITEM(grad.ptr(), 0));
    const Array values("optim_step", of_values.c_str(), PyTuple_GET_ITEM(grad.ptr(), 1));
    const Array w("optim_step", "params", PyList_GET_ITEM(params_.ptr(), ssize_t(i)));
    if (rows.dtype != DType::kInt64) {
      type_error("optim_step", of_rows + " has dtype " + rows.dtype_name() + ", expected int64");
    }
    if (rows.ndim != 1 || w.ndim < 1) {
      value_error("optim_step", of_rows + " has " + std::to_string(rows.ndim) +
                                    " axes and params[" + std::to_string(i) + "] " +
                                    std::to_string(w.ndim) + ", expected 1 and at least 1");
    }
    rows.require_contiguous();
    Dims shape = w.dims();
    const int64_t all = shape[0], count = rows.size();
    shape[0] = count;
    values.require_like(w).require_shape(shape).require_contiguous();
    const OnHost<int64_t> at(rows);
    for (int64_t k = 0; k < count; ++k) {
      if (at[k] < 0 || at[k] >= all || (k > 0 && at[k] <= at[k - 1])) {
        value_error("optim_step",
                    of_rows + "[" + std::to_string(k) + "] is " + std::to_string(at[k]) +
                        ", expected rising numbers from 0 to " + std::to_string(all - 1));
      }
    }
    const OptimTensor<T> whole = list.all[i];
    const int64_t features = all ? whole.size / all : 0;
    // Rows after the first have copies of the count; a deque does not move what it holds.
    for (int64_t k = 0; k < (count ? count : 1); ++k) {
      OptimTensor<T> t = whole;
      t.size = count ? features : 0;
      t.begin = s.total;
      if (count) {
        const int64_t from = at[k] * features;
        t.param += from;
        for (int j = 0; j < kOptimStates; ++j) {
          if (t.state[j]) t.state[j] += from;
        }
        t.grad = values.as<const T>() + k * features;
      }
      if (k > 0) {
        row_progress_.push_back({whole.progress[0], whole.progress[1]});
        t.progress = row_progress_.back().data();
      }
      s.total += t.size;
      list.active.push_back(t);
    }
  }

  // The data of a gradient. Its name is put together only for a message.
  const void* checked(py::handle grad, size_t i) const {
    const Array g("optim_step", "grads", grad);
    const Array w("optim_step", "params", PyList_GET_ITEM(params_.ptr(), ssize_t(i)));
    bool fits = g.dtype == w.dtype && g.ndim == w.ndim && g.contiguous();
    for (int d = 0; fits && d < w.ndim; ++d) fits = g.shape[d] == w.shape[d];
    if (!fits) {
      const std::string name = "grads[" + std::to_string(i) + "]",
                        like = "params[" + std::to_string(i) + "]";
      const Array again("optim_step", name.c_str(), grad);
      const Array param("optim_step", like.c_str(), w.object);
      again.require_float().require_like(param).require_shape(param.dims()).require_contiguous();
    }
    return g.data;
  }

  template <class T>
  void require_states(const Tensors<T>& list) const {
    const Kind& kind = kKinds[int(kind_)];
    for (int k = 0; k < kOptimStates && kind.states[k]; ++k) {
      if (!needs(kind_, k, block_)) continue;
      for (size_t i = 0; i < list.all.size(); ++i) {
        if (list.all[i].state[k] || list.all[i].size == 0) continue;
        value_error("optim_step", "states[" + std::to_string(i) + "][" + std::to_string(k) +
                                      "] is None, but " + kind.name + " with these options keeps " +
                                      kind.states[k] + " there");
      }
    }
  }

  OptimKind kind_;
  py::list params_, states_;
  py::object progress_, hyper_;
  std::vector<py::object> kept_, held_;
  std::deque<std::array<double, 2>> row_progress_;
  const double* block_ = nullptr;
  bool single_ = true;
  bool busy_ = false;  // changed under the GIL only
  Tensors<float> singles_;
  Tensors<double> doubles_;
};

}  // namespace

void register_optim(py::module_& m) {
  py::dict kinds, hyper, states;
  for (int i = 0; i < kOptimKinds; ++i) {
    const Kind& k = kKinds[i];
    kinds[k.name] = i;
    py::list slots, arrays;
    for (const char* name : {"lr", "weight_decay", "maximize"}) slots.append(name);
    for (const char* name : k.hyper) {
      if (name) slots.append(name);
    }
    for (const char* name : k.states) {
      if (name) arrays.append(name);
    }
    hyper[k.name] = py::tuple(slots);
    states[k.name] = py::tuple(arrays);
  }
  m.attr("optim_kinds") = kinds;
  m.attr("optim_hyper") = hyper;
  m.attr("optim_states") = states;
  m.attr("optim_hyper_size") = kOptimHyper;
  py::class_<ParamList>(m, "ParamList")
      .def(py::init<const char*, py::list, py::list, py::object, py::object>(), py::arg("kind"),
           py::arg("params"), py::arg("states"), py::arg("progress"), py::arg("hyper"))
      .def("step", &ParamList::step, py::arg("grads"))
      .def("holds", &ParamList::holds, py::arg("params"))
      .def("__len__", &ParamList::size)
      .def_property_readonly("kind", &ParamList::kind);
}

}  // namespace hl::bind
