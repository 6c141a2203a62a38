// The op table of the GPU and the library's one symbol.
#include "cuda/api.h"
#include "cuda/gemm16.h"
#include "cuda/kernel.h"
#include "cuda/runtime.h"

#if __has_include("source_hashes.h")
#include "source_hashes.h"  // made by the build
#else
#define HL_SOURCE_HASHES(X)
#endif

namespace hl::cuda {
namespace {

constexpr int kKernels = 0
#define HL_KERNEL(name, types) +3
#include "kernels.def"
#undef HL_KERNEL
    ;

Registered*& head() {
  static Registered* first = nullptr;
  return first;
}

bool same(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

int rank(const Registered& r) { return same(r.layer, "simt") ? 0 : same(r.layer, "mma") ? 1 : 2; }

// The fastest layer up to `highest` that may be used.
const Registered* find(const char* name, unsigned type, int highest) {
  const Registered* best = nullptr;
  for (const Registered* r = head(); r; r = r->next) {
    const bool fits = r->chosen && r->type == type && same(r->name, name) && rank(*r) <= highest;
    if (fits && (!best || rank(*r) > rank(*best))) best = r;
  }
  return best;
}
// ... if the plain one may, to which the others hand what they do not take.
const void* find(const char* name, unsigned type) {
  return find(name, type, 0) ? find(name, type, 2)->entry : nullptr;
}

[[maybe_unused]] bool ends_with(const char* text, const char* end) {
  const char* t = text;
  const char* e = end;
  while (*t) ++t;
  while (*e) ++e;
  while (e > end && t > text && e[-1] == t[-1]) --e, --t;
  return e == end;
}

const char* hash_of(const char* file) {
#define HL_HASH(path, hash) \
  if (ends_with(file, "csrc/" path)) return hash;
  HL_SOURCE_HASHES(HL_HASH)
#undef HL_HASH
  return file ? "" : nullptr;
}

template <class F>
void fill(const Entry<F>*& slot, const char* name, unsigned type) {
  static Entry<F> missing[kKernels];
  static int used = 0;
  const void* found = find(name, type);
  for (int i = 0; i < used && !found; ++i) {
    if (same(missing[i].name, name)) found = &missing[i];
  }
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
    if (n < capacity) rows[n] = {r->name, r->type, r->layer, hash_of(r->file)};
  }
  return n;
}

void choose(const unsigned char* flags) {
  int n = 0;
  for (Registered* r = head(); r; r = r->next) r->chosen = flags[n++] != 0;
  table<float>();
  table<double>();
  table<void>();
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
  api.choose = &choose;
  api.gemm16 = &gemm16;
  return api;
}

}  // namespace

const void* plain_entry(const char* name, unsigned type) {
  const Registered* found = find(name, type, 0);
  return found ? found->entry : nullptr;
}

const void* entry_below_sm90a(const char* name, unsigned type) {
  const Registered* found = find(name, type, 1);
  return found ? found->entry : nullptr;
}
const void* sm90a_entry(const char* name, unsigned type) {
  const Registered* found = find(name, type, 2);
  return found && rank(*found) == 2 ? found->entry : nullptr;
}

Registered::Registered(const char* name, unsigned type, const char* layer, const char* file,
                       const void* entry)
    : name(name), type(type), layer(layer), file(file), entry(entry), next(head()) {
  head() = this;
}

}  // namespace hl::cuda

extern "C" __attribute__((visibility("default"))) const hl::GpuApi* hl_cuda_api(int abi) {
  if (abi != hl::kGpuAbi) return nullptr;
  static const hl::GpuApi api = hl::cuda::make();
  return &api;
}
