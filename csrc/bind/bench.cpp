// Measures the machine with the library's own threads, for the benchmark's denominators.
#include <chrono>
#include <vector>

#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Repeats `step` for about `seconds` after two untimed rounds, and returns steps per second. A GPU is
// waited for after each.
template <class F>
double rate(double seconds, const F& run) {
  const int device = call_device();
  const auto step = [&] {
    run();
    if (device != kCpu) gpu()->synchronize(device, gpu_stream(device));
  };
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
constexpr DType type_of = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;

template <class T>
double peak(double seconds) {
  const PeakShape shape = {call_device() == kCpu ? 64 : 4096, 20000};
  const py::object sink = new_array("bench_peak", type_of<T>, Dims{shape.chunks});
  const auto* kernel = kernels_for<T>().fma_peak;
  return rate(seconds, [&] { invoke(kernel, shape, data_of<T>(sink)); }) *
         kernel->plan(shape).flops;
}

double bench_peak(const std::string& dtype, double seconds) {
  if (dtype == "float32") return peak<float>(seconds);
  if (dtype == "float64") return peak<double>(seconds);
  value_error("bench_peak", "dtype is '" + dtype + "', expected 'float32' or 'float64'");
}

double bench_bandwidth(const std::string& kind, int64_t nbytes, double seconds) {
  const char* op = "bench_bandwidth";
  StreamShape shape = {Stream::kCopy, nbytes / int64_t(sizeof(float))};
  if (kind == "read") {
    shape.kind = Stream::kRead;
  } else if (kind == "write") {
    shape.kind = Stream::kWrite;
  } else if (kind != "copy") {
    value_error(op, "kind is '" + kind + "', expected 'copy', 'read' or 'write'");
  }
  if (shape.n < kStreamGrain) {
    value_error(op, "nbytes is " + std::to_string(nbytes) + ", expected at least " +
                        std::to_string(kStreamGrain * int64_t(sizeof(float))));
  }
  const auto floats = [&](int64_t n) { return new_array(op, DType::kFloat32, Dims{n}); };
  const py::object x = floats(shape.n), y = floats(shape.n);
  const py::object sink = floats(shape.n / kStreamGrain + 1);
  {
    const std::vector<float> half(size_t(shape.n), 0.5f);
    for (const py::object& a : {x, y}) copy_to(Array(op, "buffer", a), half.data());
  }
  const auto* kernel = kernels_for<float>().stream;
  return rate(seconds,
              [&] {
                invoke(kernel, shape, static_cast<const float*>(data_of<float>(x)),
                       data_of<float>(y), data_of<float>(sink));
              }) *
         kernel->plan(shape).bytes;
}

}  // namespace

void register_bench(py::module_& m) {
  define(m, "bench_peak", &bench_peak, py::arg("dtype"), py::arg("seconds"));
  define(m, "bench_bandwidth", &bench_bandwidth, py::arg("kind"), py::arg("nbytes"),
         py::arg("seconds"));
}

}  // namespace hl::bind
