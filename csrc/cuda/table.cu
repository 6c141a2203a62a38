// The op table of the GPU and the library's one symbol.
#include "cuda/api.h"
#include "cuda/gemm16.h"
#include "cuda/kernel.h"
#include "cuda/runtime.h"

namespace hl::cuda {
namespace {

constexpr int kKernels = 0
#define HL_KERNEL(name, types) +3
#include "kernels.def"
#undef HL_KERNEL
    ;

const Registered*& head() {
  static const Registered* first = nullptr;
  return first;
}

bool same(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

const void* find(const char* name, unsigned type) {
  for (const Registered* r = head(); r; r = r->next) {
    if (r->type == type && same(r->name, name)) return r->entry;
  }
  return nullptr;
}

template <class F>
void fill(const Entry<F>*& slot, const char* name, unsigned type) {
  static Entry<F> missing[kKernels];
  static int used = 0;
  const void* found = find(name, type);
  if (!found) found = &(missing[used++] = {name, nullptr, nullptr});
  slot = static_cast<const Entry<F>*>(found);
}
void fill(NotBuilt&, const char*, unsigned) {}

template <class T>
const OpTable<T>* table() {
  static OpTable<T> all;
#define HL_KERNEL(name, types) fill(all.name, #name, TypeBit<T>::value);
#include "kernels.def"
#undef HL_KERNEL
  return &all;
}

int kernels(GpuApi::Kernel* rows, int capacity) {
  int n = 0;
  for (const Registered* r = head(); r; r = r->next, ++n) {
    if (n < capacity) rows[n] = {r->name, r->type, r->layer};
  }
  return n;
}

GpuApi make() {
  GpuApi api = runtime_api();
  api.abi = kGpuAbi;
  api.table_bytes[0] = sizeof(OpTable<float>);
  api.table_bytes[1] = sizeof(OpTable<double>);
  api.table_bytes[2] = sizeof(OpTable<void>);
  api.f32 = table<float>();
  api.f64 = table<double>();
  api.raw = table<void>();
  api.kernels = &kernels;
  api.gemm16 = &gemm16;
  return api;
}

}  // namespace

Registered::Registered(const char* name, unsigned type, const char* layer, const void* entry)
    : name(name), type(type), layer(layer), entry(entry), next(head()) {
  head() = this;
}

}  // namespace hl::cuda

extern "C" __attribute__((visibility("default"))) const hl::GpuApi* hl_cuda_api(int abi) {
  if (abi != hl::kGpuAbi) return nullptr;
  static const hl::GpuApi api = hl::cuda::make();
  return &api;
}
