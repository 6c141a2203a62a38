// The memory that results live in: blocks that were freed are kept and handed out again, because a
// training loop that asks the system for the same megabytes at every step spends its time on page
// faults.
#pragma once

#include <stdint.h>

namespace hl {

constexpr int64_t kPoolAlignment = 64;

void* pool_allocate(int64_t bytes);  // null when the memory cannot be had; 64-byte aligned
void pool_free(void* block);         // from any thread, also after static destructors have run
void pool_empty_cache();             // gives every unused block back to the system

struct PoolStats {
  int64_t in_use, cached, system_calls;
};
PoolStats pool_stats();

}  // namespace hl
