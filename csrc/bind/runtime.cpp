// Threads, instruction sets, memory, profile: everything about the machine that is not a kernel.
#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

struct ProfileRow {
  int64_t calls = 0;
  double seconds = 0, flops = 0, bytes = 0;
};
struct Profile {
  std::atomic<bool> on{false};
  std::mutex mutex;
  std::map<std::pair<std::string, std::string>, ProfileRow> rows;  // by kernel and algorithm
};
Profile& profile() {
  static auto* p = new Profile;  // never destroyed: kernels may still run at exit
  return *p;
}

thread_local bool t_explain = false;
thread_local py::list* t_plans = nullptr;

// Plans of the kernels that call() would have run.
py::list explain(const py::function& call) {
  py::list plans;
  struct Scope {
    py::list* outer = t_plans;
    bool was = t_explain;
    ~Scope() { t_plans = outer, t_explain = was; }
  } scope;
  t_plans = &plans;
  t_explain = true;
  call();
  return plans;
}

py::list backend_names() {
  const Backend* list[8];
  int n = available_backends(list, 8);
  py::list names;
  for (int i = 0; i < n; ++i) names.append(list[i]->name);
  return names;
}

}  // namespace

bool explaining() { return t_explain; }

void explain_record(const char* kernel, const Plan& p) {
  auto text = [](const char* s) { return py::str(s ? s : ""); };
  t_plans->append(py::make_tuple(
      text(kernel), text(p.algorithm), py::make_tuple(p.tile[0], p.tile[1], p.tile[2]),
      p.shared_bytes + p.worker_bytes * num_threads(), p.flops, p.bytes, text(p.why)));
}

bool profiling() { return profile().on.load(std::memory_order_relaxed); }

void profile_record(const char* kernel, const Plan& plan, double seconds) {
  Profile& p = profile();
  std::lock_guard lock(p.mutex);
  ProfileRow& row = p.rows[{kernel, plan.algorithm ? plan.algorithm : ""}];
  ++row.calls;
  row.seconds += seconds;
  row.flops += plan.flops;
  row.bytes += plan.bytes;
}

void out_of_scratch(const char* kernel, const Plan& plan) {
  py::gil_scoped_acquire locked;
  PyErr_Format(PyExc_MemoryError, "%s: no memory for %lld bytes of scratch", kernel,
               static_cast<long long>(plan.shared_bytes + plan.worker_bytes * num_threads()));
  throw py::error_already_set();
}

void past_scratch(const char* kernel, const Plan& plan) {
  py::gil_scoped_acquire locked;
  PyErr_Format(PyExc_SystemError, "%s (%s) wrote past its scratch memory", kernel,
               plan.algorithm ? plan.algorithm : "");
  throw py::error_already_set();
}

void register_runtime(py::module_& m) {
  m.attr("version") = HL_VERSION;
  m.attr("build_type") = HL_BUILD_TYPE;
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("thread_backend", &thread_backend);
  m.def("isa", [] { return active_backend().name; });
  m.def("vector_bytes", [] { return active_backend().vector_bytes; });
  m.def("available_isas", &backend_names);
  m.def("use_isa", &use_backend, py::arg("name"));
  m.def("guard_scratch", &guard_scratch);
  m.def("empty_cache", [] {
    scratch_release();
    pool_empty_cache();
  });
  m.def("pool_stats", [] {
    PoolStats s = pool_stats();
    return py::make_tuple(s.in_use, s.cached, s.system_calls);
  });
  m.def("explain", &explain, py::arg("call"));
  m.def("profile_start", [] {
    Profile& p = profile();
    std::lock_guard lock(p.mutex);
    p.rows.clear();
    p.on = true;
  });
  m.def("profile_stop", [] {
    Profile& p = profile();
    p.on = false;
    std::lock_guard lock(p.mutex);
    py::list rows;
    for (const auto& [key, row] : p.rows) {
      rows.append(
          py::make_tuple(key.first, key.second, row.calls, row.seconds, row.flops, row.bytes));
    }
    return rows;
  });
  py::list names;
#define HL_KERNEL(name, types) names.append(py::make_tuple(#name, unsigned(types)));
#include "kernels.def"
#undef HL_KERNEL
  m.attr("kernel_list") = names;
}

}  // namespace hl::bind
