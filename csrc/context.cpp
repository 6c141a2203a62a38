// Scratch memory: one arena per calling thread, grown to the largest plan it has met.
#include "context.h"

#include <cstdlib>

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

int64_t align64(int64_t n) { return (n + 63) & ~int64_t(63); }

}  // namespace

bool scratch_reserve(Ctx& ctx, int64_t shared_bytes, int64_t worker_bytes) {
  ctx.workers = num_threads();
  ctx.stream = nullptr;
  // An odd number of cache lines between workers keeps their slices out of each other's cache sets.
  ctx.worker_bytes = worker_bytes ? align64(worker_bytes) + 64 : 0;
  int64_t shared = align64(shared_bytes);
  int64_t need = shared + ctx.worker_bytes * ctx.workers;
  if (need > t_arena.capacity) {
    t_arena.release();
    t_arena.base = static_cast<unsigned char*>(pool_allocate(need));
    if (!t_arena.base) return false;
    t_arena.capacity = need;
  }
  ctx.shared = t_arena.base;
  ctx.per_worker = t_arena.base + shared;
  return true;
}

void scratch_release() { t_arena.release(); }

}  // namespace hl
