// Chooses the instruction set at run time. Built with plain flags: nothing here may use an
// instruction that it is about to ask for.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace hl {

namespace cpu {
#ifdef HL_HAVE_avx512
namespace avx512 {
extern const Backend backend;
}
#endif
#ifdef HL_HAVE_avx2
namespace avx2 {
extern const Backend backend;
}
#endif
#ifdef HL_HAVE_neon
namespace neon {
extern const Backend backend;
}
#endif
namespace scalar {
extern const Backend backend;
}
}  // namespace cpu

namespace {

struct Choice {
  const Backend* list[4];
  int count = 0;
  const Backend* best = nullptr;
  char error[256] = "";

  Choice() {
    // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the registers.
#ifdef HL_HAVE_avx512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      list[count++] = &cpu::avx512::backend;
    }
#endif
#ifdef HL_HAVE_avx2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      list[count++] = &cpu::avx2::backend;
    }
#endif
#ifdef HL_HAVE_neon
    list[count++] = &cpu::neon::backend;  // part of every AArch64 processor
#endif
    list[count++] = &cpu::scalar::backend;
    best = list[0];

    const char* wanted = std::getenv("HANDLOOM_ISA");
    if (wanted && *wanted) {
      if (const Backend* b = find(wanted)) {
        best = b;
      } else {
        std::snprintf(error, sizeof error, "HANDLOOM_ISA=%.40s is not available here; choose from",
                      wanted);
        for (int i = 0; i < count; ++i) {
          std::strncat(error, i ? ", " : " ", sizeof error - std::strlen(error) - 1);
          std::strncat(error, list[i]->name, sizeof error - std::strlen(error) - 1);
        }
      }
    }
    const char* log = std::getenv("HANDLOOM_LOG");
    if (log && *log && *log != '0') {
      std::fprintf(stderr, "handloom: kernels for %s\n", best->name);
    }
  }

  const Backend* find(const char* name) const {
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(list[i]->name, name) == 0) return list[i];
    }
    return nullptr;
  }
};

const Choice& choice() {
  static const Choice c;
  return c;
}
std::atomic<const Backend*> g_active{nullptr};

}  // namespace

const Backend& active_backend() {
  const Backend* b = g_active.load(std::memory_order_acquire);
  if (!b) {
    b = choice().best;
    g_active.store(b, std::memory_order_release);
  }
  return *b;
}

int available_backends(const Backend** out, int capacity) {
  int n = choice().count < capacity ? choice().count : capacity;
  for (int i = 0; i < n; ++i) out[i] = choice().list[i];
  return n;
}

bool use_backend(const char* name) {
  const Backend* b = choice().find(name);
  if (b) g_active.store(b, std::memory_order_release);
  return b != nullptr;
}

const char* dispatch_error() { return choice().error[0] ? choice().error : nullptr; }

}  // namespace hl
