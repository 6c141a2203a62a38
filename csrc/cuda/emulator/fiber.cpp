#include "cuda/emulator/fiber.h"

namespace hl::emulator {

#if defined(__x86_64__)
extern "C" void hl_switch_stack(void** save, void* to);
asm(R"(
.text
.type hl_switch_stack,@function
hl_switch_stack:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi); movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size hl_switch_stack,.-hl_switch_stack
)");
void prepare(Context& c, char* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + kStack - 64);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  c.stack_pointer = top;
}
void switch_to(Context& from, Context& to) {
  hl_switch_stack(&from.stack_pointer, to.stack_pointer);
}
#else
void prepare(Context& c, char* stack, void (*entry)()) {
  getcontext(&c.state);
  c.state.uc_stack.ss_sp = stack;
  c.state.uc_stack.ss_size = kStack;
  c.state.uc_link = nullptr;
  makecontext(&c.state, entry, 0);
}
void switch_to(Context& from, Context& to) { swapcontext(&from.state, &to.state); }
#endif

}  // namespace hl::emulator
