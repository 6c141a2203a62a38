// The words of a kernel: barriers, shuffles, copies and stores that land later.
#include <string.h>

#include <cstdio>
#include <utility>

#include "cuda/emulator/together.h"
#include "cuda/emulator/world.h"

namespace hl::emulator {

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

void land(const Store& store) { memcpy(store.to, store.value, size_t(store.bytes)); }
void land_stores(LiveBlock& b) {
  for (const Store& store : b.stores) land(store);
  b.stores.clear();
}

const Thread& thread() { return w.current->thread; }
const Block& block() { return w.at->block; }
void sync_threads(const char* where) { wait_at(w.at->named[0], w.threads, where); }

namespace {
Barrier& named(int barrier, int threads) {
  if (barrier < 0 || barrier >= kBarriers || threads % 32 != 0 || threads > w.threads) {
    die("a named barrier that there is not");
  }
  return w.at->named[barrier];
}
}  // namespace
void meet_at(int barrier, int threads, const char* where) {
  wait_at(named(barrier, threads), threads, where);
}
void arrive_at(int barrier, int threads) {
  Barrier& b = named(barrier, threads);
  if (++b.arrived == threads) b.arrived = 0, b.generation++;
}
void wait_until(bool (*ready)(const void*), const void* what, const char* where) {
  if (ready(what)) return;
  Fiber& f = *w.current;
  f.where = where;
  f.until = ready, f.until_what = what;
  to_scheduler();
  f.until = nullptr;
}
void do_later(std::function<void()> work) { w.at->later.push_back(std::move(work)); }

void sync_warp(const char* where) {
  const int first = w.current->thread.linear & ~31, rest = w.threads - first;
  wait_at(w.at->warps[size_t(first >> 5)], rest < 32 ? rest : 32, where);
}
void exchange(const void* mine, size_t bytes) {
  memcpy(w.at->slots[size_t(w.current->thread.linear)].bytes, mine, bytes);
  sync_warp("a shuffle");
}
void read_lane(int lane, void* to, size_t bytes) {
  memcpy(to, w.at->slots[size_t((w.current->thread.linear & ~31) + lane)].bytes, bytes);
}
void end_exchange() { sync_warp("a shuffle"); }

void check_shared(const void* p, size_t bytes, const char* who) {
  const unsigned char* at = static_cast<const unsigned char*>(p);
  const bool inside = at >= w.at->block.shared && at + bytes <= w.at->block.shared + w.shared_bytes;
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

namespace {
bool waits(const void* from, int bytes) {
  const unsigned char* at = static_cast<const unsigned char*>(from);
  for (const Store& store : w.at->stores) {
    if (at < store.to + store.bytes && store.to < at + bytes) return true;
  }
  return false;
}
}  // namespace

// One in four is seen by all at once, the others when the block releases them.
void store_later(void* to, const void* from, int bytes) {
  Store store = {static_cast<unsigned char*>(to), bytes, {}};
  memcpy(store.value, from, size_t(bytes));
  if (w.shuffled && next_random() % 4 == 0 && !waits(to, bytes)) return land(store);
  w.at->stores.push_back(store);
}
void load_seen(void* to, const void* from, int bytes) {
  if (waits(from, bytes)) land_stores(*w.at);  // its own stores the block always sees
  memcpy(to, from, size_t(bytes));
}
void release(unsigned* counter) {
  land_stores(*w.at);
  ++*counter;
}
void await(const unsigned* counter, unsigned target) {
  if (!w.together) die("blocks that wait for each other in a launch that is not cooperative");
  Fiber& f = *w.current;
  f.where = "a grid's barrier";
  f.counter = counter;
  f.target = target;
  if (!f.ready()) to_scheduler();
  f.counter = nullptr;
}

}  // namespace hl::emulator
