#include "pool.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace hl {
namespace {

constexpr int64_t kHuge = int64_t(2) << 20;      // a huge page
constexpr int64_t kHugeFrom = int64_t(4) << 20;  // blocks from here on ask for them
constexpr int64_t kHeader = kPoolAlignment;      // in front of every block
constexpr int64_t kSmallest = 256;
constexpr int kClasses = 4 * 40;  // four sizes per power of two
constexpr int64_t kAlwaysKept = int64_t(256) << 20;
constexpr int64_t kWindow = 16384;  // releases, some training steps: how long a peak is remembered

struct Block {
  // Unused blocks are in two lists at once: of their size, and of all by the time of their release.
  Block *next, *previous;
  Block *older, *newer;
  int64_t bytes;  // of the whole block, header included
  int size_class;
};
static_assert(sizeof(Block) <= kHeader);

// Classes at 1, 1.25, 1.5 and 1.75 times a power of two: at most a quarter of a block is unused.
int class_of(int64_t bytes) {
  bytes = std::max(bytes, kSmallest);
  int log = 63 - __builtin_clzll(uint64_t(bytes));
  int64_t quarter = int64_t(1) << (log - 2);
  int step = int((bytes - (int64_t(1) << log) + quarter - 1) / quarter);
  return 4 * (log - 8) + step;
}
int64_t class_bytes(int c) {
  int log = c / 4 + 8;
  return (int64_t(1) << log) + (int64_t(c % 4) << (log - 2));
}

// What is unused and what is in use are together at most one and a half times what was lately in use
// at once (the half is for steps that need other sizes going back than going forth): the longest
// unused blocks go back to the system. To refuse the latest ones instead would leave a program that
// has changed its sizes with a cache of the old ones, and a page fault for every 4 KB of each result.
class Pool {
 public:
  void* allocate(int64_t bytes) {
    if (bytes < 0 || bytes > (int64_t(1) << 46)) return nullptr;
    int c = class_of(bytes + kHeader);
    {
      std::lock_guard lock(mutex_);
      if (Block* b = free_[c]) {
        take_out(b);
        count_use(b->bytes);
        return payload(b);
      }
    }
    int64_t size = class_bytes(c);
    Block* b = from_system(size);
    if (!b) {
      empty();
      b = from_system(size);
      if (!b) return nullptr;
    }
    b->bytes = size;
    b->size_class = c;
    std::lock_guard lock(mutex_);
    count_use(size);
    ++stats_.system_calls;
    return payload(b);
  }

  void release(void* p) {
    auto* b = reinterpret_cast<Block*>(static_cast<unsigned char*>(p) - kHeader);
    Block* evicted = nullptr;
    {
      std::lock_guard lock(mutex_);
      stats_.in_use -= b->bytes;
      if (++releases_ == kWindow) {
        releases_ = 0;
        peak_before_ = peak_;
        peak_ = stats_.in_use;
      }
      put_in(b);
      int64_t lately = std::max(peak_, peak_before_);
      int64_t limit = std::max(kAlwaysKept, lately + lately / 2);
      while (oldest_ && stats_.cached + stats_.in_use > limit) {
        Block* old = oldest_;
        take_out(old);
        old->next = evicted;
        evicted = old;
      }
    }
    to_system_all(evicted);
  }

  void empty() {
    Block* list = nullptr;
    {
      std::lock_guard lock(mutex_);
      while (Block* b = oldest_) {
        take_out(b);
        b->next = list;
        list = b;
      }
      peak_ = stats_.in_use;
      peak_before_ = 0;
    }
    to_system_all(list);
  }

  PoolStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  static void* payload(Block* b) { return reinterpret_cast<unsigned char*>(b) + kHeader; }

  void count_use(int64_t bytes) {
    stats_.in_use += bytes;
    peak_ = std::max(peak_, stats_.in_use);
  }

  void put_in(Block* b) {
    Block*& list = free_[b->size_class];
    b->previous = nullptr;
    b->next = list;
    if (list) list->previous = b;
    list = b;
    b->newer = nullptr;
    b->older = newest_;
    (newest_ ? newest_->newer : oldest_) = b;
    newest_ = b;
    stats_.cached += b->bytes;
  }

  void take_out(Block* b) {
    (b->previous ? b->previous->next : free_[b->size_class]) = b->next;
    if (b->next) b->next->previous = b->previous;
    (b->older ? b->older->newer : oldest_) = b->newer;
    (b->newer ? b->newer->older : newest_) = b->older;
    stats_.cached -= b->bytes;
  }

  static Block* from_system(int64_t size) {
    if (size < kHugeFrom) {
      void* p = nullptr;
      return posix_memalign(&p, kPoolAlignment, size_t(size)) == 0 ? static_cast<Block*>(p)
                                                                   : nullptr;
    }
    // Over-map, then cut to a huge-page boundary: the kernel backs only aligned ranges.
    size_t span = size_t(size + kHuge);
    void* p = mmap(nullptr, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    auto start = reinterpret_cast<uintptr_t>(p);
    uintptr_t aligned = (start + kHuge - 1) & ~uintptr_t(kHuge - 1);
    if (aligned > start) munmap(p, aligned - start);
    uintptr_t end = start + span;
    uintptr_t keep = aligned + size_t(size);
    if (end > keep) munmap(reinterpret_cast<void*>(keep), end - keep);
#ifdef MADV_HUGEPAGE
    madvise(reinterpret_cast<void*>(aligned), size_t(size), MADV_HUGEPAGE);
#endif
    return reinterpret_cast<Block*>(aligned);
  }
  static void to_system(Block* b) {
    if (b->bytes < kHugeFrom) {
      std::free(b);
    } else {
      munmap(b, size_t(b->bytes));
    }
  }

  static void to_system_all(Block* list) {
    while (list) {
      Block* next = list->next;
      to_system(list);
      list = next;
    }
  }

  std::mutex mutex_;
  Block* free_[kClasses] = {};
  Block *oldest_ = nullptr, *newest_ = nullptr;
  int64_t releases_ = 0, peak_ = 0, peak_before_ = 0;
  PoolStats stats_ = {};
};

Pool& pool() {
  static Pool* instance = [] {
    auto* p = new Pool;  // never destroyed: arrays may outlive every static destructor
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
    return p;
  }();
  return *instance;
}

}  // namespace

void* pool_allocate(int64_t bytes) { return pool().allocate(bytes); }
void pool_free(void* block) { pool().release(block); }
void pool_empty_cache() { pool().empty(); }
PoolStats pool_stats() { return pool().stats(); }

}  // namespace hl
