// The one door between Python and the kernels.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>

#include "bind/array.h"
#include "bind/gpu.h"
#include "bind/place.h"
#include "guard.h"
#include "kernels.h"
#include "pool.h"

namespace hl::bind {

// What hl.profile() collects: one row per kernel name.
bool profiling();
void profile_record(const char* kernel, const Plan& plan, double seconds);

// While kernels.explain() asks, kernels on this thread are planned and not run.
bool explaining();
void explain_record(const char* kernel, const Plan& plan);

[[noreturn]] void out_of_scratch(const char* kernel, const Plan& plan);
[[noreturn]] void past_scratch(const char* kernel, const Plan& plan);

// The table of element type T on the device of the call.
template <class T>
const OpTable<T>& kernels_for();
template <>
inline const OpTable<float>& kernels_for<float>() {
  return call_device() == kCpu ? *active_backend().f32 : *gpu()->f32;
}
template <>
inline const OpTable<double>& kernels_for<double>() {
  return call_device() == kCpu ? *active_backend().f64 : *gpu()->f64;
}
template <>
inline const OpTable<void>& kernels_for<void>() {
  return call_device() == kCpu ? *active_backend().raw : *gpu()->raw;
}

// Runs a kernel: reserves its scratch (MemoryError before anything has started), releases the GIL,
// flushes denormals and restores the caller's mode, and tells the profiler. On a GPU it is queued on
// the stream.
template <class S, class... P, class... Args>
void invoke(const Entry<void(Ctx&, const S&, P...)>* kernel, const S& shape, Args... args) {
  const bool on_gpu = call_device() != kCpu;
  const Plan plan = on_gpu && !kernel->plan ? Plan{} : kernel->plan(shape);
  if (explaining()) return explain_record(kernel->name, plan);
  if (on_gpu) {
    GpuCall call(kernel->name, plan, kernel->run != nullptr, call_device());
    {
      py::gil_scoped_release unlocked;
      kernel->run(call.ctx, shape, args...);
    }
    return call.finish();
  }
  py::gil_scoped_release unlocked;
  Ctx ctx;
  if (!scratch_reserve(ctx, plan.shared_bytes, plan.worker_bytes))
    out_of_scratch(kernel->name, plan);
  const uint64_t mode = flush_denormals();
  if (!profiling()) {
    kernel->run(ctx, shape, args...);
  } else {
    auto start = std::chrono::steady_clock::now();
    kernel->run(ctx, shape, args...);
    std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    profile_record(kernel->name, plan, took.count());
  }
  restore_float_mode(mode);
  if (scratch_guarded() && !scratch_intact(ctx, plan.shared_bytes, plan.worker_bytes))
    past_scratch(kernel->name, plan);
}

}  // namespace hl::bind
