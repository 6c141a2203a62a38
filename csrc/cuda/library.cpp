#include "cuda/library.h"

#include <dlfcn.h>

#include <mutex>
#include <string>

namespace hl {
namespace {

std::mutex g_lock;
const GpuApi* g_api = nullptr;
bool g_tried = false;
std::string g_why;
void* g_streams[kMaxGpus] = {};  // the library's own, never destroyed: arrays may outlive all else
thread_local void* t_streams[kMaxGpus] = {};

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
void set_gpu_stream(int device, void* stream) { t_streams[device] = stream; }

}  // namespace hl
