#include "cuda/emulator/memory.h"

#include <string.h>
#include <sys/mman.h>

#include <map>
#include <mutex>
#include <utility>

namespace hl::emulator {
namespace {

constexpr size_t kCapacity = size_t(1) << 30;
constexpr size_t kGuard = 64, kStep = 256;
constexpr unsigned char kMark = 0xa5;

struct Memory {
  std::recursive_mutex lock;
  char* base = nullptr;
  size_t top = 0, used = 0;
  int open = 0;
  std::map<char*, std::pair<size_t, size_t>> blocks;  // address: asked for, taken
  std::multimap<size_t, char*> free;                  // by size taken

  Memory() {
    void* p =
        mmap(nullptr, kCapacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    base = p == MAP_FAILED ? nullptr : static_cast<char*>(p);
  }
  void protect(int mode) {
    const size_t page = 4096;
    if (top) mprotect(base, (top + page - 1) / page * page, mode);
  }
};
// Never destroyed: arrays may go after the static objects.
Memory& m() {
  static Memory& memory = *new Memory;
  return memory;
}

}  // namespace

MemoryOpen::MemoryOpen() {
  m().lock.lock();
  if (m().open++ == 0) m().protect(PROT_READ | PROT_WRITE);
}
MemoryOpen::~MemoryOpen() {
  if (--m().open == 0) m().protect(PROT_NONE);
  m().lock.unlock();
}

void* allocate(size_t bytes) {
  const std::lock_guard<std::recursive_mutex> held(m().lock);
  if (bytes > kCapacity) return nullptr;
  const size_t take = (bytes + kGuard + kStep - 1) / kStep * kStep;
  char* p = nullptr;
  const auto found = m().free.find(take);
  if (found != m().free.end()) {
    p = found->second;
    m().free.erase(found);
  } else {
    if (!m().base || m().top + take > kCapacity) return nullptr;
    p = m().base + m().top;
    m().top += take;
  }
  m().blocks[p] = {bytes, take};
  m().used += bytes;
  const MemoryOpen open;
  m().protect(PROT_READ | PROT_WRITE);  // the top may have grown
  unpoison(p, take);
  memset(p, 0xff, bytes);
  memset(p + bytes, kMark, take - bytes);
  poison(p + bytes, take - bytes);  // a read past the end shows as well
  return p;
}

bool release(void* block) {
  char* p = static_cast<char*>(block);
  const MemoryOpen open;
  const auto found = m().blocks.find(p);
  if (found == m().blocks.end()) return false;
  const auto [bytes, taken] = found->second;
  bool intact = true;
  unpoison(p, taken);
  for (size_t i = bytes; i < taken; ++i) intact &= static_cast<unsigned char>(p[i]) == kMark;
  poison(p, taken);
  m().blocks.erase(found);
  m().free.insert({taken, p});
  m().used -= bytes;
  return intact;
}

bool owns(const void* p) {
  const char* c = static_cast<const char*>(p);
  return m().base && c >= m().base && c < m().base + kCapacity;
}
size_t in_use() { return m().used; }
size_t capacity() { return kCapacity; }

}  // namespace hl::emulator
