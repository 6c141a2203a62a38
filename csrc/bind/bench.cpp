// Measures the machine with the library's own threads, for the benchmark's denominators.
#include <chrono>
#include <memory>
#include <vector>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Repeats `step` for about `seconds` after two untimed rounds, and returns steps per second.
template <class F>
double rate(double seconds, const F& step) {
  step();
  step();
  const double start = seconds_now();
  double now = start;
  int64_t steps = 0;
  do {
    step();
    ++steps;
    now = seconds_now();
  } while (now - start < seconds);
  return double(steps) / (now - start);
}

template <class T>
double peak(double seconds) {
  const PeakShape shape = {64, 20000};
  std::vector<T> sink(size_t(shape.chunks));
  const auto* kernel = kernels_for<T>().fma_peak;
  return rate(seconds, [&] { invoke(kernel, shape, sink.data()); }) * kernel->plan(shape).flops;
}

double bench_peak(const std::string& dtype, double seconds) {
  if (dtype == "float32") return peak<float>(seconds);
  if (dtype == "float64") return peak<double>(seconds);
  value_error("bench_peak", "dtype is '" + dtype + "', expected 'float32' or 'float64'");
}

double bench_bandwidth(const std::string& kind, int64_t nbytes, double seconds) {
  StreamShape shape = {Stream::kCopy, nbytes / int64_t(sizeof(float))};
  if (kind == "read") {
    shape.kind = Stream::kRead;
  } else if (kind == "write") {
    shape.kind = Stream::kWrite;
  } else if (kind != "copy") {
    value_error("bench_bandwidth", "kind is '" + kind + "', expected 'copy', 'read' or 'write'");
  }
  if (shape.n < kStreamGrain) {
    value_error("bench_bandwidth", "nbytes is " + std::to_string(nbytes) + ", expected at least " +
                                       std::to_string(kStreamGrain * int64_t(sizeof(float))));
  }
  using Block = std::unique_ptr<void, decltype(&pool_free)>;
  Block x(pool_allocate(nbytes), pool_free), y(pool_allocate(nbytes), pool_free);
  if (!x || !y) {
    PyErr_SetString(PyExc_MemoryError, "bench_bandwidth: no memory for the buffers");
    throw py::error_already_set();
  }
  std::fill_n(static_cast<float*>(x.get()), shape.n, 0.5f);
  std::fill_n(static_cast<float*>(y.get()), shape.n, 0.5f);
  std::vector<float> sink(size_t(shape.n / kStreamGrain + 1));
  const auto* kernel = kernels_for<float>().stream;
  return rate(seconds,
              [&] {
                invoke(kernel, shape, static_cast<const float*>(x.get()),
                       static_cast<float*>(y.get()), sink.data());
              }) *
         kernel->plan(shape).bytes;
}

}  // namespace

void register_bench(py::module_& m) {
  m.def("bench_peak", &bench_peak, py::arg("dtype"), py::arg("seconds"));
  m.def("bench_bandwidth", &bench_bandwidth, py::arg("kind"), py::arg("nbytes"),
        py::arg("seconds"));
}

}  // namespace hl::bind
