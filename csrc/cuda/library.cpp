#include "cuda/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

namespace hl {
namespace {

std::mutex g_lock;
const GpuApi* g_api = nullptr;
bool g_tried = false;
std::string g_why;
void* g_streams[kMaxGpus] = {};  // the library's own, never destroyed: arrays may outlive all else
thread_local void* t_streams[kMaxGpus] = {};
// What threads chose, once for each of them. Never destroyed, either.
std::vector<void*>* const g_in_use = new std::vector<void*>[kMaxGpus];

const char* refuse(std::string why) {
  g_why = std::move(why);
  return g_why.c_str();
}

}  // namespace

const char* gpu_load(const char* path) {
  const std::lock_guard<std::mutex> held(g_lock);
  if (g_tried) return g_api ? nullptr : g_why.c_str();
  g_tried = true;
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return refuse(dlerror());
  using Ask = const GpuApi* (*)(int);
  const Ask ask = reinterpret_cast<Ask>(dlsym(library, "hl_cuda_api"));
  const GpuApi* api = ask ? ask(kGpuAbi) : nullptr;
  if (!api || api->table_bytes[0] != sizeof(OpTable<float>) ||
      api->table_bytes[1] != sizeof(OpTable<double>) ||
      api->table_bytes[2] != sizeof(OpTable<void>)) {
    dlclose(library);
    return refuse(std::string(path) + " belongs to another version of handloom");
  }
  g_api = api;
  return nullptr;
}

const GpuApi* gpu() { return g_api; }

void* gpu_stream(int device) {
  return t_streams[device] ? t_streams[device] : own_gpu_stream(device);
}
void* own_gpu_stream(int device) {
  const std::lock_guard<std::mutex> held(g_lock);
  if (!g_streams[device]) g_api->stream_create(device, &g_streams[device]);
  return g_streams[device];
}
void set_gpu_stream(int device, void* stream) {
  const std::lock_guard<std::mutex> held(g_lock);
  auto& in_use = g_in_use[device];
  if (void* before = t_streams[device])
    in_use.erase(std::find(in_use.begin(), in_use.end(), before));
  if (stream) in_use.push_back(stream);
  t_streams[device] = stream;
}
bool gpu_stream_in_use(int device, void* stream) {
  const std::lock_guard<std::mutex> held(g_lock);
  const auto& in_use = g_in_use[device];
  return std::find(in_use.begin(), in_use.end(), stream) != in_use.end();
}

}  // namespace hl
