// Streams and events of a GPU; a stream is its handle, as other libraries have it.
#include <string>

#include "bind/gpu.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr const char* kWaits = "the host waits for a GPU";
constexpr const char* kStreams = "work goes to another stream";

uintptr_t handle_of(void* stream) { return reinterpret_cast<uintptr_t>(stream); }
void* stream_at(uintptr_t handle) { return reinterpret_cast<void*>(handle); }

uintptr_t stream_create(int device) {
  void* s = nullptr;
  if (loaded("cuda").stream_create(device, &s) != 0) raise_gpu_error("Stream");
  return handle_of(s);
}
void stream_destroy(int device, uintptr_t s) {
  loaded("cuda").stream_destroy(device, stream_at(s));
  raise_gpu_error("Stream");
}
// The handle that this thread's kernels go to; 0 in `to` is the library's own stream again.
uintptr_t current_stream(int device) { return handle_of(stream_of("cuda", device)); }
void use_stream(int device, uintptr_t to) {
  refuse_capture("Stream", kStreams);
  stream_of("cuda", device);
  set_gpu_stream(device, stream_at(to));
}
void stream_wait(int device, uintptr_t stream, uintptr_t for_stream) {
  refuse_capture("Stream", kStreams);
  loaded("cuda").stream_wait(device, stream_at(stream), stream_at(for_stream));
  raise_gpu_error("Stream");
}
void stream_synchronize(int device, uintptr_t stream) {
  refuse_capture("Stream", kWaits);
  const GpuApi& api = loaded("cuda");
  {
    py::gil_scoped_release unlocked;
    api.synchronize(device, stream_at(stream));
  }
  raise_gpu_error("Stream");
}

uintptr_t event_create(int device) {
  void* e = nullptr;
  if (loaded("cuda").event_create(device, &e) != 0) raise_gpu_error("Event");
  return handle_of(e);
}
void event_destroy(int device, uintptr_t e) {
  loaded("cuda").event_destroy(device, stream_at(e));
  raise_gpu_error("Event");
}
void event_record(int device, uintptr_t e, uintptr_t stream) {
  refuse_capture("Event", "events measure what runs");
  loaded("cuda").event_record(device, stream_at(e), stream_at(stream));
  raise_gpu_error("Event");
}
float event_elapsed(int device, uintptr_t start, uintptr_t stop) {
  refuse_capture("Event", kWaits);
  float milliseconds = 0;
  const GpuApi& api = loaded("cuda");
  {
    py::gil_scoped_release unlocked;
    api.event_elapsed(device, stream_at(start), stream_at(stop), &milliseconds);
  }
  raise_gpu_error("Event");
  return milliseconds;
}

void synchronize(int device) {
  refuse_capture("cuda", kWaits);
  if (gpu()) {
    void* stream = stream_of("cuda", device);
    py::gil_scoped_release unlocked;
    gpu()->synchronize(device, stream);
  }
  raise_gpu_error("cuda");
}

}  // namespace

void register_streams(py::module_& g) {
  g.def("synchronize", &synchronize, py::arg("device"));
  g.def("stream_create", &stream_create, py::arg("device"));
  g.def("stream_destroy", &stream_destroy, py::arg("device"), py::arg("stream"));
  g.def("current_stream", &current_stream, py::arg("device"));
  g.def("use_stream", &use_stream, py::arg("device"), py::arg("stream"));
  g.def("stream_wait", &stream_wait, py::arg("device"), py::arg("stream"), py::arg("for_stream"));
  g.def("stream_synchronize", &stream_synchronize, py::arg("device"), py::arg("stream"));
  g.def("event_create", &event_create, py::arg("device"));
  g.def("event_destroy", &event_destroy, py::arg("device"), py::arg("event"));
  g.def("event_record", &event_record, py::arg("device"), py::arg("event"), py::arg("stream"));
  g.def("event_elapsed", &event_elapsed, py::arg("device"), py::arg("start"), py::arg("stop"));
}

}  // namespace hl::bind
