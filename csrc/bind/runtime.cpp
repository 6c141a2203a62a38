// Threads, instruction sets, memory, profile: everything about the machine that is not a kernel.
#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

using Clock = std::chrono::steady_clock;

// One run of a kernel: when it began after profile_start, on which thread, and in which scope.
struct ProfileEvent {
  const char* kernel;
  const char* algorithm;
  double begin, seconds, flops, bytes;
  int64_t scope;
  int thread;
};
struct Profile {
  std::atomic<bool> on{false};
  std::atomic<int> threads{0};
  std::mutex mutex;
  Clock::time_point start;
  std::vector<ProfileEvent> events;
};
thread_local int64_t t_scope = 0;  // what Python says that its kernels now belong to
thread_local int t_number = -1;    // of the threads that have run a kernel under a profile
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
  if (t_number < 0) t_number = p.threads++;
  std::lock_guard lock(p.mutex);
  const std::chrono::duration<double> end = Clock::now() - p.start;
  p.events.push_back({kernel, plan.algorithm ? plan.algorithm : "", end.count() - seconds, seconds,
                      plan.flops, plan.bytes, t_scope, t_number});
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
    p.events.clear();
    p.start = Clock::now();
    p.on = true;
  });
  m.def("profile_stop", [] {
    Profile& p = profile();
    p.on = false;
    std::lock_guard lock(p.mutex);
    py::list events;
    for (const ProfileEvent& e : p.events) {
      events.append(py::make_tuple(e.kernel, e.algorithm, e.begin, e.seconds, e.flops, e.bytes,
                                   e.scope, e.thread));
    }
    p.events = {};
    return events;
  });
  m.def("profile_scope", [](int64_t scope) { t_scope = scope; });
  py::list names;
#define HL_KERNEL(name, types) names.append(py::make_tuple(#name, unsigned(types)));
#include "kernels.def"
#undef HL_KERNEL
  m.attr("kernel_list") = names;
}

}  // namespace hl::bind
