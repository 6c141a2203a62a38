// Graphs: what a thread queues is recorded once and replayed many times.
//
// The graph keeps every array that its calls looked at, so that none of them goes while it may run.
// What changes from one replay to the next is renewed before it: what calls uploaded (the optimiser's
// numbers), and how far the generators of random numbers have moved on.
#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <set>

#include "bind/gpu.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr const char* kOp = "cuda.graph";

class Graph;
thread_local Graph* t_recording = nullptr;
std::atomic<uint64_t> g_captures{0};

class Graph {
 public:
  explicit Graph(int device) : device_(device) {}
  ~Graph() { reset(); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // `before`: a graph whose draws of random numbers this one's kernels may use as well.
  void begin(Graph* before) {
    if (t_recording) throw std::runtime_error(std::string(kOp) + ": one is captured already");
    if (exec_ || stream_) {
      throw std::runtime_error(std::string(kOp) + ": it has been captured; reset() it before");
    }
    void* home = own_gpu_stream(device_);
    if (!home) raise_gpu_error(kOp);
    outer_ = gpu_stream(device_);
    if (gpu()->graph_begin(device_, home, &stream_) != 0) raise_gpu_error(kOp);
    set_gpu_stream(device_, stream_);
    t_recording = this;
    number_ = ++g_captures;
    if (!before) return;
    for (const Draw& d : before->draws_) {
      gpu()->graph_draw(d.seed, d.call, before->words_[d.generator], 0);
    }
  }

  // Ends the capture, and throws it away where it is not to be kept.
  void end(bool keep) {
    if (t_recording != this)
      throw std::runtime_error(std::string(kOp) + ": no capture is under way");
    t_recording = nullptr;
    set_gpu_stream(device_, outer_);
    stream_ = nullptr;
    GraphSummary what = {};
    const int failed = gpu()->graph_end(keep, &exec_, &what);
    if (exec_ && !failed) return;
    const std::string wrong =
        what.lost_draws > 0
            ? "random numbers were drawn that no kernel of the graph makes, so that replays would "
              "repeat them; draw them before the capture"
            : "nothing ran on the GPU during the capture";
    reset();
    if (failed && keep) raise_gpu_error(kOp);
    int ignored = 0;
    gpu()->last_error(&ignored);
    if (keep) throw std::runtime_error(std::string(kOp) + ": " + wrong);
  }

  // A draw by generator number `generator` of the caller's count.
  void drew(uint64_t seed, uint64_t call, size_t generator) {
    while (words_.size() <= generator) {
      void* words = nullptr;
      if (gpu()->graph_words(2, &words) != 0) raise_gpu_error(kOp);
      words_.push_back(words);
    }
    gpu()->graph_draw(seed, call, words_[generator], 1);
    draws_.push_back({seed, call, generator});
  }

  // Raises IndexError if an earlier replay met an index out of range.
  void check() {
    ready();
    if (gpu()->graph_check(device_, exec_, gpu_stream(device_)) == kGpuBadIndex) {
      PyErr_SetString(
          PyExc_IndexError,
          "CUDAGraph.replay: a label or index of an earlier replay was out of range, and "
          "was taken for ignore_index or 0");
      throw py::error_already_set();
    }
    raise_gpu_error("CUDAGraph.replay");
  }

  // moved: how far each generator is from where it was at the capture, in seed and call.
  void replay(const std::vector<std::array<uint64_t, 2>>& moved) {
    ready();
    void* stream = gpu_stream(device_);
    for (size_t i = 0; i < words_.size() && i < moved.size(); ++i) {
      gpu()->copy(device_, stream, words_[i], moved[i].data(), sizeof moved[i]);
    }
    Ctx ctx = {};
    ctx.stream = stream;
    ctx.workers = 1;
    for (const Renewal& r : renewals_) {
      gpu()->graph_refresh(r.to);
      r.call(ctx);
      gpu()->graph_refresh(nullptr);
    }
    gpu()->graph_launch(device_, exec_, stream);
    raise_gpu_error("CUDAGraph.replay");
  }

  void reset() {
    if (t_recording == this) {
      t_recording = nullptr;
      set_gpu_stream(device_, outer_);
      GraphSummary ignored = {};
      gpu()->graph_end(0, &exec_, &ignored);
    }
    if (exec_) gpu()->graph_destroy(device_, exec_);
    exec_ = stream_ = nullptr;
    words_.clear();
    draws_.clear();
    renewals_.clear();
    kept_.clear();
    owners_.clear();
  }

  bool captured() const { return exec_ != nullptr; }
  int device() const { return device_; }
  uint64_t number() const { return number_; }

  void keep(PyObject* layout) {
    py::object owner = py::reinterpret_borrow<py::object>(layout);
    while (py::isinstance<py::array>(owner)) {
      const py::object base = owner.attr("base");
      if (base.is_none()) break;
      owner = base;
    }
    if (owners_.count(owner.ptr())) return;
    // Its own memory the library keeps, and may use again for what is captured later.
    if (made_in_capture(owner, number_)) return;
    owners_.insert(owner.ptr());
    kept_.push_back(std::move(owner));
  }
  void renew(std::function<void(Ctx&)> call, py::object held) {
    renewals_.push_back({std::move(call), gpu()->graph_uploaded()});
    kept_.push_back(std::move(held));
  }

 private:
  struct Draw {
    uint64_t seed, call;
    size_t generator;
  };
  struct Renewal {
    std::function<void(Ctx&)> call;
    void* to;
  };

  void ready() const {
    if (!exec_) throw std::runtime_error("CUDAGraph.replay: it holds no captured graph");
    if (t_recording) {
      throw std::runtime_error(
          "CUDAGraph.replay: a graph is being captured, which cannot hold one");
    }
  }

  int device_;
  uint64_t number_ = 0;
  void* stream_ = nullptr;  // while it is captured
  void* outer_ = nullptr;   // the thread's stream around the capture
  void* exec_ = nullptr;
  std::vector<void*> words_;
  std::vector<Draw> draws_;
  std::vector<Renewal> renewals_;
  std::vector<py::object> kept_;
  std::set<PyObject*> owners_;
};

}  // namespace

bool capturing() { return t_recording != nullptr; }
uint64_t capture_number() { return t_recording ? t_recording->number() : 0; }

void refuse_capture(const char* op, const char* what) {
  if (!t_recording) return;
  throw std::runtime_error(std::string(op) + ": " + what +
                           ", which cannot be while a graph is captured; do it before or after the "
                           "cuda.graph block");
}

void keep_in_graph(PyObject* layout) { t_recording->keep(layout); }
void renew_in_graph(std::function<void(Ctx&)> call, py::object held) {
  t_recording->renew(std::move(call), std::move(held));
}

void guard_in_graph(const char* op, const int64_t* index, int64_t count, int64_t limit,
                    int64_t allowed, int64_t* out) {
  if (gpu()->graph_guard(index, count, limit, allowed, out) != 0) raise_gpu_error(op);
}

void meet_graph(const char* op, int device) {
  if (!t_recording || t_recording->device() == device) return;
  value_error(op, "it is on cuda:" + std::to_string(device) +
                      " but the graph that is captured is on "
                      "cuda:" +
                      std::to_string(t_recording->device()));
}

void register_graph(py::module_& m) {
  py::class_<Graph>(m, "Graph")
      .def(py::init<int>(), py::arg("device"))
      .def("begin", &Graph::begin, py::arg("before").none(true))
      .def("end", &Graph::end, py::arg("keep"))
      .def("drew", &Graph::drew, py::arg("seed"), py::arg("call"), py::arg("generator"))
      .def("check", &Graph::check)
      .def("replay", &Graph::replay, py::arg("moved"))
      .def("reset", &Graph::reset)
      .def_property_readonly("captured", &Graph::captured);
  m.def("capturing", &capturing);
}

}  // namespace hl::bind
