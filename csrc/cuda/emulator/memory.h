// The emulated card's memory: out of reach while no kernel and no copy runs.
#pragma once

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

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
// Addresses of the host's memory among a kernel's arguments become such as nobody can read, which is
// what they are to a card. Most are harmless: the rest of an array that was not filled.
void spoil_host_addresses(unsigned char* arg, size_t bytes);
// For the address sanitizer, where the library is built with it: nobody may touch this, or may again.
#if defined(__SANITIZE_ADDRESS__)
inline void poison(void* at, size_t bytes) { __asan_poison_memory_region(at, bytes); }
inline void unpoison(void* at, size_t bytes) { __asan_unpoison_memory_region(at, bytes); }
#else
inline void poison(void*, size_t) {}
inline void unpoison(void*, size_t) {}
#endif

size_t in_use();
size_t capacity();

// The emulated card's, as in 80: HANDLOOM_EMULATOR_CAPABILITY in the environment, "8.0" without.
int capability();

}  // namespace hl::emulator
