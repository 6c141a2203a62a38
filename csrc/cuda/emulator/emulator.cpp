#include "cuda/emulator/emulator.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/emulator/memory.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace hl::emulator {
namespace {

// ---- a fiber: a stack and where it stopped --------------------------------------------------------
constexpr size_t kStack = 64 << 10;

#if defined(__x86_64__)
struct Context {
  void* stack_pointer = nullptr;
};
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
struct Context {
  ucontext_t state;
};
void prepare(Context& c, char* stack, void (*entry)()) {
  getcontext(&c.state);
  c.state.uc_stack.ss_sp = stack;
  c.state.uc_stack.ss_size = kStack;
  c.state.uc_link = nullptr;
  makecontext(&c.state, entry, 0);
}
void switch_to(Context& from, Context& to) { swapcontext(&from.state, &to.state); }
#endif

struct Barrier {
  int arrived = 0;
  unsigned generation = 0;
};

struct Copy {
  void* to;
  const void* from;
  int bytes;
};

struct Fiber {
  Context context;
  char* stack = nullptr;
  Thread thread;
  Barrier* waits_for = nullptr;
  unsigned generation = 0;
  const char* where = nullptr;
  bool done = false;
  std::vector<std::vector<Copy>> copies;  // groups, the open one last
};

struct Slot {
  alignas(16) unsigned char bytes[32];
};

// The block that runs. One at a time, for the whole process: the lock is held around a grid.
struct World {
  Block block;
  size_t shared_bytes = 0;
  int threads = 0, live = 0;
  Fiber* current = nullptr;
  Context scheduler;
  std::vector<Fiber> fibers;
  std::vector<Barrier> warps;
  std::vector<int> asleep;  // rounds that a warp sits out yet
  std::vector<Slot> slots;
  std::vector<unsigned char> shared;
  Barrier all;
  Body body = nullptr;
  void* arg = nullptr;
  const char* kernel = "";
  uint64_t random = 1;
  bool shuffled = false;
};
World w;
std::recursive_mutex g_lock;

uint64_t next_random() {
  w.random ^= w.random << 13;
  w.random ^= w.random >> 7;
  w.random ^= w.random << 17;
  return w.random;
}

void to_scheduler() {
  Fiber& f = *w.current;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(f.done ? nullptr : &fake, nullptr, 0);
#endif
  switch_to(f.context, w.scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void entry() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  w.body(w.arg);
  w.current->done = true;
  w.live--;
  to_scheduler();
  std::abort();
}

void resume(Fiber& f) {
  w.current = &f;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, f.stack, kStack);
#endif
  switch_to(w.scheduler, f.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void wait_at(Barrier& b, int count, const char* where) {
  const unsigned generation = b.generation;
  if (++b.arrived == count) {
    b.arrived = 0;
    b.generation++;
    return;
  }
  Fiber& f = *w.current;
  f.where = where;
  f.waits_for = &b;
  f.generation = generation;
  to_scheduler();
  f.waits_for = nullptr;
}

// In a shuffled schedule warps fall asleep now and then, so that others run ahead of them as far as the
// barriers let them: side by side, they would hardly notice that one is missing.
void drowse(bool at_start) {
  if (!w.shuffled) return;
  for (int& rounds : w.asleep) {
    if (rounds > 0) {
      --rounds;
    } else if (next_random() % (at_start ? 4 : 128) == 0) {
      rounds = int(next_random() % 512);
    }
  }
}

void run_block(std::vector<int>& order) {
  for (auto& b : w.warps) b = Barrier();
  w.all = Barrier();
  memset(w.shared.data(), 0xff, w.shared.size());
  w.live = w.threads;
  const dim3 size = w.block.size;
  for (int i = 0; i < w.threads; ++i) {
    Fiber& f = w.fibers[size_t(i)];
    f.thread = {dim3(i % size.x, i / size.x % size.y, i / (size.x * size.y)), i};
    f.waits_for = nullptr;
    f.done = false;
    f.copies.assign(1, {});
    unpoison(f.stack, kStack);  // the last block's frames were left, not unwound
    prepare(f.context, f.stack, &entry);
  }
  w.asleep.assign(w.warps.size(), 0);
  drowse(true);
  while (w.live > 0) {
    if (w.shuffled) {
      for (int i = w.threads - 1; i > 0; --i) {
        std::swap(order[size_t(i)], order[size_t(next_random() % uint64_t(i + 1))]);
      }
    }
    bool moved = false, waking = false;
    for (int i : order) {
      Fiber& f = w.fibers[size_t(i)];
      if (f.done || (f.waits_for && f.waits_for->generation == f.generation)) continue;
      if (w.asleep[size_t(i) / 32] > 0) {
        waking = true;
        continue;
      }
      moved = true;
      resume(f);
    }
    drowse(false);
    if (!moved && waking) w.asleep.assign(w.warps.size(), 0);
    if (!moved && !waking) {
      for (Fiber& f : w.fibers) {
        if (!f.done) w.current = &f;
      }
      std::fprintf(stderr, "emulator: some threads wait at %s and the others never come\n",
                   w.current->where);
      die("deadlock");
    }
  }
  w.current = nullptr;
}

uint64_t schedule_seed() {
  const char* text = std::getenv("HANDLOOM_EMULATOR_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

}  // namespace

void die(const char* what) {
  std::fprintf(stderr, "emulator: %s in %s, block (%u, %u, %u), thread %d\n", what, w.kernel,
               w.block.index.x, w.block.index.y, w.block.index.z,
               w.current ? w.current->thread.linear : -1);
  std::abort();
}

const Thread& thread() { return w.current->thread; }
const Block& block() { return w.block; }
void sync_threads(const char* where) { wait_at(w.all, w.threads, where); }

void sync_warp(const char* where) {
  const int first = w.current->thread.linear & ~31, rest = w.threads - first;
  wait_at(w.warps[size_t(first >> 5)], rest < 32 ? rest : 32, where);
}
void exchange(const void* mine, size_t bytes) {
  memcpy(w.slots[size_t(w.current->thread.linear)].bytes, mine, bytes);
  sync_warp("a shuffle");
}
void read_lane(int lane, void* to, size_t bytes) {
  memcpy(to, w.slots[size_t((w.current->thread.linear & ~31) + lane)].bytes, bytes);
}
void end_exchange() { sync_warp("a shuffle"); }

void check_shared(const void* p, size_t bytes, const char* who) {
  const unsigned char* at = static_cast<const unsigned char*>(p);
  const bool inside = at >= w.block.shared && at + bytes <= w.block.shared + w.shared_bytes;
  if (inside && uintptr_t(p) % bytes == 0) return;
  std::fprintf(stderr, "emulator: %s: %s\n", who,
               inside ? "an address that is not aligned" : "outside the block's shared memory");
  die("a bad address");
}

namespace {
void land(const Copy& c) {
  memcpy(c.to, c.from, size_t(c.bytes));
  memset(static_cast<unsigned char*>(c.to) + c.bytes, 0, size_t(16 - c.bytes));
}
}  // namespace

// One in four lands at once, so that a copy over what others still read shows as well.
void copy_later(void* to, const void* from, int bytes) {
  const Copy copy = {to, from, bytes};
  if (w.shuffled && next_random() % 4 == 0) return land(copy);
  w.current->copies.back().push_back(copy);
}
void commit_copies() { w.current->copies.emplace_back(); }
void await_copies(int newest_groups) {
  auto& groups = w.current->copies;
  while (int(groups.size()) - 1 > newest_groups) {
    for (const Copy& c : groups.front()) land(c);
    groups.erase(groups.begin());
  }
}

bool card_takes(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  return threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 && grid.y >= 1 &&
         grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 &&
         shared_bytes <= (99 << 10);
}

namespace {
bool is_mapped(uintptr_t address) {
#if defined(__SANITIZE_ADDRESS__)
  // The sanitizer's shadow is mapped where pairs of small numbers point to.
  (void)address;
  return false;
#else
  if (address >> 32 == 0 || address >> 48 != 0) return false;  // a number, most likely
  unsigned char resident;
  return mincore(reinterpret_cast<void*>(address & ~uintptr_t(4095)), 1, &resident) == 0;
#endif
}

// Addresses of the host's memory among a kernel's arguments become such as nobody can read, which is
// what they are to a card. Most are harmless: the rest of an array that was not filled.
void spoil_host_addresses(unsigned char* arg, size_t bytes) {
  for (; bytes >= sizeof(uintptr_t); arg += sizeof(uintptr_t), bytes -= sizeof(uintptr_t)) {
    uintptr_t word;
    memcpy(&word, arg, sizeof word);
    if (!is_mapped(word) || owns(reinterpret_cast<void*>(word))) continue;
    word |= uintptr_t(0xbad0) << 48;
    memcpy(arg, &word, sizeof word);
  }
}
}  // namespace

bool run_grid(Body body, void* arg, size_t arg_bytes, dim3 grid, dim3 block, size_t shared_bytes,
              const char* kernel) {
  if (!card_takes(grid, block, shared_bytes)) return false;
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  spoil_host_addresses(static_cast<unsigned char*>(arg), arg_bytes);
  const std::lock_guard<std::recursive_mutex> held(g_lock);
  const MemoryOpen open;
  static std::vector<char*> stacks;
  while (stacks.size() < threads) {
    void* s = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s == MAP_FAILED) die("no memory for a stack");
    stacks.push_back(static_cast<char*>(s));
  }
  w.threads = int(threads);
  w.fibers.resize(threads);
  w.slots.resize(threads);
  w.warps.resize((threads + 31) / 32);
  w.shared.resize(shared_bytes + 128);
  w.shared_bytes = shared_bytes;
  w.body = body;
  w.arg = arg;
  w.kernel = kernel;
  auto base = reinterpret_cast<uintptr_t>(w.shared.data());
  w.block = {dim3(), block, grid, w.shared.data() + ((128 - base % 128) % 128)};
  const uint64_t seed = schedule_seed();
  w.shuffled = seed != 0;
  w.random = seed * 0x9E3779B97F4A7C15ull + 88172645463325252ull;
  std::vector<int> order(threads);
  for (size_t i = 0; i < threads; ++i) {
    order[i] = int(i);
    w.fibers[i].stack = stacks[i];
  }
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        w.block.index = dim3(x, y, z);
        run_block(order);
      }
    }
  }
  return true;
}

}  // namespace hl::emulator
