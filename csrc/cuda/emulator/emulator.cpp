#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/emulator/memory.h"
#include "cuda/emulator/together.h"
#include "cuda/emulator/world.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace hl::emulator {
World w;

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

namespace {

std::recursive_mutex g_lock;
int g_together = 0;

void entry() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  w.body(w.arg);
  w.current->done = true;
  w.at->live--;
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

// In a shuffled schedule warps fall asleep now and then, so that others run ahead of them as far as the
// barriers let them: side by side, they would hardly notice that one is missing.
void drowse(LiveBlock& b, bool at_start) {
  if (!w.shuffled) return;
  for (int& rounds : b.asleep) {
    if (rounds > 0) {
      --rounds;
    } else if (next_random() % (at_start ? 4 : 128) == 0) {
      rounds = int(next_random() % 512);
    }
  }
}

void begin(LiveBlock& b, dim3 index) {
  for (auto& warp : b.warps) warp = Barrier();
  for (auto& barrier : b.named) barrier = Barrier();
  b.later.clear();
  b.block.index = index;
  b.block.number = ++w.begun;
  memset(b.shared.data(), 0xff, b.shared.size());
  b.live = w.threads;
  b.rounds = 0;
  b.stores.clear();
  const dim3 size = b.block.size;
  for (int i = 0; i < w.threads; ++i) {
    Fiber& f = b.fibers[size_t(i)];
    f.thread = {dim3(i % size.x, i / size.x % size.y, i / (size.x * size.y)), i};
    f.waits_for = nullptr;
    f.counter = nullptr;
    f.until = nullptr;
    f.done = false;
    f.copies.assign(1, {});
    unpoison(f.stack, kStack);  // the last block's frames were left, not unwound
    prepare(f.context, f.stack, &entry);
  }
  b.asleep.assign(b.warps.size(), 0);
  drowse(b, true);
}

template <class T>
void shuffle(std::vector<T>& order) {
  if (!w.shuffled) return;
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[next_random() % (i + 1)]);
}

// One of the works beside the threads; in thread order, the newest.
void do_one(LiveBlock& b) {
  const size_t at = w.shuffled ? size_t(next_random() % b.later.size()) : b.later.size() - 1;
  const auto work = std::move(b.later[at]);
  b.later.erase(b.later.begin() + ptrdiff_t(at));
  w.current = nullptr;
  work();
}

// Each thread that can goes on to where it has to wait. False if none can.
bool go_on(LiveBlock& b) {
  shuffle(b.order);
  bool moved = false, waking = false;
  w.at = &b;
  for (int i : b.order) {
    Fiber& f = b.fibers[size_t(i)];
    if (f.done || !f.ready()) continue;
    if (b.asleep[size_t(i) / 32] > 0) {
      waking = true;
      continue;
    }
    moved = true;
    resume(f);
  }
  drowse(b, false);
  if (!moved && waking) b.asleep.assign(b.warps.size(), 0);
  const bool stuck = !moved && !waking;
  if (!b.later.empty() && b.live == 0) die("the block has ended, what it started has not");
  if (!b.later.empty() && (stuck || (w.shuffled && next_random() % 8 == 0))) {
    do_one(b);
    return true;
  }
  return !stuck;
}

[[noreturn]] void deadlock(LiveBlock& b) {
  w.at = &b;
  w.current = nullptr;
  for (Fiber& f : b.fibers) {
    // One that waits for other blocks tells more than those that wait for it.
    if (!f.done && !(w.current && w.current->counter)) w.current = &f;
  }
  std::fprintf(stderr, "emulator: some threads wait at %s and the others never come\n",
               w.current->where);
  die("deadlock");
}

void run_block(LiveBlock& b, dim3 index) {
  begin(b, index);
  while (b.live > 0) {
    if (!go_on(b)) deadlock(b);
  }
  w.current = nullptr;
}

// All blocks of a grid side by side. Like warps, blocks fall behind now and then.
void run_all(dim3 grid) {
  std::vector<LiveBlock*> order;
  for (LiveBlock& b : w.blocks) {
    const unsigned i = unsigned(order.size());
    begin(b, dim3(i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)));
    order.push_back(&b);
  }
  while (!order.empty()) {
    shuffle(order);
    bool moved = false;
    for (LiveBlock* b : order) {
      if (b->rounds > 0) {
        moved = true;
        --b->rounds;
        continue;
      }
      moved |= go_on(*b);
      if (b->live == 0) land_stores(*b);
      if (w.shuffled && next_random() % 32 == 0) b->rounds = int(next_random() % 128);
    }
    std::erase_if(order, [](const LiveBlock* b) { return b->live == 0; });
    if (!moved && !order.empty()) deadlock(*order.front());
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
               w.at->block.index.x, w.at->block.index.y, w.at->block.index.z,
               w.current ? w.current->thread.linear : -1);
  std::abort();
}

bool card_takes(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  const size_t most = size_t(capability() >= 90 ? 227 : 99) << 10;
  return threads >= 1 && threads <= 1024 && block.z <= 64 && grid.x >= 1 && grid.y >= 1 &&
         grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 &&
         shared_bytes <= most;
}

namespace {
void prepare_world(Body body, void* arg, size_t arg_bytes, dim3 grid, dim3 block,
                   size_t shared_bytes, const char* kernel, size_t alive) {
  const size_t threads = size_t(block.x) * block.y * block.z;
  spoil_host_addresses(static_cast<unsigned char*>(arg), arg_bytes);
  static std::vector<char*> stacks;
  while (stacks.size() < alive * threads) {
    void* s = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s == MAP_FAILED) die("no memory for a stack");
    stacks.push_back(static_cast<char*>(s));
  }
  w.threads = int(threads);
  w.shared_bytes = shared_bytes;
  w.body = body;
  w.arg = arg;
  w.kernel = kernel;
  const uint64_t seed = schedule_seed();
  w.shuffled = seed != 0;
  w.random = seed * 0x9E3779B97F4A7C15ull + 88172645463325252ull;
  w.blocks.resize(alive);
  for (size_t a = 0; a < alive; ++a) {
    LiveBlock& b = w.blocks[a];
    b.fibers.resize(threads);
    b.slots.resize(threads);
    b.warps.resize((threads + 31) / 32);
    b.shared.resize(shared_bytes + kSharedAlign);
    const auto base = reinterpret_cast<uintptr_t>(b.shared.data());
    const size_t skip = (kSharedAlign - base % kSharedAlign) % kSharedAlign;
    b.block = {dim3(), block, grid, b.shared.data() + skip, 0};
    b.order.resize(threads);
    for (size_t i = 0; i < threads; ++i) {
      b.order[i] = int(i);
      b.fibers[i].stack = stacks[a * threads + i];
    }
  }
}

// HANDLOOM_EMULATOR_LAUNCHES names a file that gets a line for each launch: tests see which kernel ran.
void write_down(const char* kernel, dim3 grid) {
  const char* path = std::getenv("HANDLOOM_EMULATOR_LAUNCHES");
  std::FILE* file = path ? std::fopen(path, "a") : nullptr;
  if (!file) return;
  std::fprintf(file, "%s %u\n", kernel, grid.x * grid.y * grid.z);
  std::fclose(file);
}
}  // namespace

bool run_grid(Body body, void* arg, size_t arg_bytes, dim3 grid, dim3 block, size_t shared_bytes,
              const char* kernel) {
  if (!card_takes(grid, block, shared_bytes)) return false;
  write_down(kernel, grid);
  const std::lock_guard<std::recursive_mutex> held(g_lock);
  const MemoryOpen open;
  prepare_world(body, arg, arg_bytes, grid, block, shared_bytes, kernel, 1);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) run_block(w.blocks.front(), dim3(x, y, z));
    }
  }
  return true;
}

bool takes_together(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  const int threads = int(uint64_t(block.x) * block.y * block.z);
  return card_takes(grid, block, shared_bytes) &&
         blocks <= uint64_t(resident_blocks(threads, shared_bytes));
}

bool run_together(Body body, void* arg, size_t arg_bytes, dim3 grid, dim3 block,
                  size_t shared_bytes, const char* kernel) {
  if (!takes_together(grid, block, shared_bytes)) return false;
  write_down(kernel, grid);
  const std::lock_guard<std::recursive_mutex> held(g_lock);
  const MemoryOpen open;
  prepare_world(body, arg, arg_bytes, grid, block, shared_bytes, kernel,
                size_t(grid.x) * grid.y * grid.z);
  ++g_together;
  w.together = true;
  run_all(grid);
  w.together = false;
  return true;
}

int resident_blocks(int threads, size_t shared_bytes) {
  constexpr size_t kShared = size_t(100) << 10, kMostThreads = 512;  // of a multiprocessor
  if (threads <= 0 || shared_bytes > size_t(99 << 10)) return 0;
  if (const char* text = std::getenv("HANDLOOM_EMULATOR_BLOCKS")) return std::atoi(text);
  const size_t fit = kShared / (shared_bytes + 1024), run = kMostThreads / size_t(threads);
  return multiprocessors() * int(std::min(fit, run));
}

}  // namespace hl::emulator

int hl_emulated_grids_together() { return hl::emulator::g_together; }
