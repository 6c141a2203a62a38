// The emulated card's memory: out of reach while no kernel and no copy runs.
#pragma once

#include <stddef.h>

namespace hl::emulator {

// While one of these lives, device memory can be read and written.
class MemoryOpen {
 public:
  MemoryOpen();
  ~MemoryOpen();
  MemoryOpen(const MemoryOpen&) = delete;
  MemoryOpen& operator=(const MemoryOpen&) = delete;
};

void* allocate(size_t bytes);  // filled with NaN; null when the emulated card is full
bool release(void* block);     // false where its end was written past
bool owns(const void* p);
size_t in_use();
size_t capacity();

}  // namespace hl::emulator
