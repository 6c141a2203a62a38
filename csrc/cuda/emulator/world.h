// What runs in the emulator: fibers, the blocks that they are, and the one world they are in. emulator.cpp
// runs them, words.cpp is what their kernels say.
#pragma once

#include <functional>
#include <vector>

#include "cuda/emulator/emulator.h"
#include "cuda/emulator/fiber.h"

namespace hl::emulator {

constexpr int kBarriers = 16, kSharedAlign = 1024;

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
  const unsigned* counter = nullptr;  // waits until it has come to `target`
  unsigned target = 0;
  bool (*until)(const void*) = nullptr;
  const void* until_what = nullptr;
  const char* where = nullptr;
  bool done = false;
  std::vector<std::vector<Copy>> copies;  // groups, the open one last

  bool ready() const {
    if (waits_for) return waits_for->generation != generation;
    if (until) return until(until_what);
    return !counter || int(*counter - target) >= 0;
  }
};

struct Slot {
  alignas(16) unsigned char bytes[32];
};

// A store that other blocks may not see yet.
struct Store {
  unsigned char* to;
  int bytes;
  unsigned char value[16];
};

struct LiveBlock {
  Block block;
  int live = 0;
  int rounds = 0;  // that it sits out yet
  std::vector<Fiber> fibers;
  std::vector<Barrier> warps;
  std::vector<int> asleep;  // rounds that a warp sits out yet
  std::vector<Slot> slots;
  std::vector<unsigned char> shared;
  std::vector<Store> stores;
  std::vector<int> order;
  Barrier named[kBarriers];
  std::vector<std::function<void()>> later;
};

// What runs: one block at a time, or all of a grid that was launched together. For the whole process:
// the lock is held around a grid.
struct World {
  size_t shared_bytes = 0;
  int threads = 0;
  LiveBlock* at = nullptr;
  Fiber* current = nullptr;
  Context scheduler;
  std::vector<LiveBlock> blocks;
  uint64_t begun = 0;  // blocks
  bool together = false;
  Body body = nullptr;
  void* arg = nullptr;
  const char* kernel = "";
  uint64_t random = 1;
  bool shuffled = false;
};
extern World w;

uint64_t next_random();
void to_scheduler();  // from the running fiber
// Until `count` threads have come to it.
void wait_at(Barrier& b, int count, const char* where);
// What a block stored for others is seen now.
void land(const Store& store);
void land_stores(LiveBlock& b);

}  // namespace hl::emulator
