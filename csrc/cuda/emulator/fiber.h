// A fiber: a stack and where it stopped.
#pragma once

#include <stddef.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace hl::emulator {

constexpr size_t kStack = 64 << 10;

struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t state;
#endif
};

void prepare(Context& c, char* stack, void (*entry)());  // starts there when it is switched to
void switch_to(Context& from, Context& to);

}  // namespace hl::emulator
