// Scratch memory: one arena per calling thread, grown to the largest plan it has met.
#include "context.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "guard.h"
#include "pool.h"

namespace hl {
namespace {

struct Arena {
  unsigned char* base = nullptr;
  int64_t capacity = 0;
  ~Arena() { release(); }
  void release() {
    if (base) pool_free(base);
    base = nullptr;
    capacity = 0;
  }
};
thread_local Arena t_arena;

constexpr int64_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0xa5;
std::atomic<bool> g_guarded{false};

// Which stores a kernel uses depends on it, never a result.
int64_t last_cache() {
  constexpr int64_t kUsual = int64_t(16) << 20, kLeast = kUsual / 2, kMost = 2 * kUsual;
#ifdef _SC_LEVEL3_CACHE_SIZE
  const int64_t known = sysconf(_SC_LEVEL3_CACHE_SIZE);  // 0 or -1 where the system does not say
#else
  const int64_t known = 0;
#endif
  return known > 0 ? std::clamp(known, kLeast, kMost) : kUsual;
}

int64_t align64(int64_t n) { return (n + 63) & ~int64_t(63); }
int64_t shared_room(int64_t bytes) {
  return bytes || scratch_guarded() ? align64(bytes) + kGuardBytes : 0;
}

// f(first, last) for each stretch that no kernel may write.
template <class F>
void for_guards(const Ctx& ctx, int64_t shared_bytes, int64_t worker_bytes, F f) {
  f(ctx.shared + shared_bytes, ctx.shared + shared_room(shared_bytes));
  for (int i = 0; i < (ctx.worker_bytes ? ctx.workers : 0); ++i) {
    unsigned char* slice = ctx.per_worker + i * ctx.worker_bytes;
    f(slice + worker_bytes, slice + ctx.worker_bytes);
  }
}

}  // namespace

bool scratch_reserve(Ctx& ctx, int64_t shared_bytes, int64_t worker_bytes) {
  ctx.workers = num_threads();
  ctx.stream = nullptr;
  static const int64_t cache = last_cache();
  ctx.last_cache = cache;
  // An odd number of cache lines between workers keeps their slices out of each other's cache sets.
  ctx.worker_bytes = worker_bytes ? align64(worker_bytes) + kGuardBytes : 0;
  int64_t shared = shared_room(shared_bytes);
  int64_t need = shared + ctx.worker_bytes * ctx.workers;
  if (need > t_arena.capacity) {
    t_arena.release();
    t_arena.base = static_cast<unsigned char*>(pool_allocate(need));
    if (!t_arena.base) return false;
    t_arena.capacity = need;
  }
  ctx.shared = t_arena.base;
  ctx.per_worker = t_arena.base + shared;
  if (scratch_guarded()) {
    for_guards(ctx, shared_bytes, worker_bytes, [](unsigned char* first, unsigned char* last) {
      std::memset(first, kGuard, size_t(last - first));
    });
  }
  return true;
}

void guard_scratch(bool on) { g_guarded = on; }
bool scratch_guarded() { return g_guarded.load(std::memory_order_relaxed); }

bool scratch_intact(const Ctx& ctx, int64_t shared_bytes, int64_t worker_bytes) {
  bool intact = true;
  for_guards(ctx, shared_bytes, worker_bytes, [&](unsigned char* first, unsigned char* last) {
    for (; first < last; ++first) intact &= *first == kGuard;
  });
  return intact;
}

void scratch_release() { t_arena.release(); }

}  // namespace hl
