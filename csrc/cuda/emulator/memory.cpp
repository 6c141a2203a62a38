#include "cuda/emulator/memory.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <map>
#include <mutex>

namespace hl::emulator {
namespace {

constexpr size_t kCapacity = size_t(1) << 30;
constexpr size_t kGuard = 64, kStep = 256, kPage = 4096;
constexpr size_t kSlack = size_t(256) << 10;  // pages kept behind the last block
constexpr unsigned char kMark = 0xa5;

struct Block {
  size_t bytes, taken;  // asked for, with the guard behind it
};

struct Memory {
  std::recursive_mutex lock;
  char* base = nullptr;
  size_t used = 0;
  size_t reach = 0;  // from here on pages were never opened, or were given back
  int open = 0;
  std::map<char*, Block> blocks;

  Memory() {
    void* p =
        mmap(nullptr, kCapacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    base = p == MAP_FAILED ? nullptr : static_cast<char*>(p);
  }
  void protect(int mode) {
    if (reach) mprotect(base, reach, mode);
  }

  // The first gap of so many bytes. Low addresses are kept in use: what a kernel opens is short.
  char* place(size_t take) {
    char* p = base;
    for (const auto& [at, block] : blocks) {
      if (size_t(at - p) >= take) break;
      p = at + block.taken;
    }
    return p;
  }
  static size_t pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
  void give_back() {
    size_t end = 0;
    if (!blocks.empty())
      end = size_t(blocks.rbegin()->first - base) + blocks.rbegin()->second.taken;
    end = pages(end);
    if (reach <= end + kSlack) return;
    mprotect(base + end, reach - end, PROT_NONE);
    madvise(base + end, reach - end, MADV_DONTNEED);
    reach = end;
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
  if (!m().base || bytes > kCapacity) return nullptr;
  const size_t take = (bytes + kGuard + kStep - 1) / kStep * kStep;
  char* p = m().place(take);
  const size_t end = size_t(p - m().base) + take;
  if (end > kCapacity) return nullptr;
  m().blocks[p] = {bytes, take};
  m().used += bytes;
  const MemoryOpen open;
  if (end > m().reach) {
    m().reach = Memory::pages(end);
    m().protect(PROT_READ | PROT_WRITE);
  }
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
  m().used -= bytes;
  m().give_back();
  return intact;
}

bool owns(const void* p) {
  const char* c = static_cast<const char*>(p);
  return m().base && c >= m().base && c < m().base + kCapacity;
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
}  // namespace

void spoil_host_addresses(unsigned char* arg, size_t bytes) {
  for (; bytes >= sizeof(uintptr_t); arg += sizeof(uintptr_t), bytes -= sizeof(uintptr_t)) {
    uintptr_t word;
    memcpy(&word, arg, sizeof word);
    if (!is_mapped(word) || owns(reinterpret_cast<void*>(word))) continue;
    word |= uintptr_t(0xbad0) << 48;
    memcpy(arg, &word, sizeof word);
  }
}

size_t in_use() { return m().used; }
size_t capacity() { return kCapacity; }

}  // namespace hl::emulator
