// The one parallel loop, and the only file that knows the thread library.
#include "context.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#if defined(HL_OPENMP)
#include <omp.h>
#elif !defined(HL_SERIAL)
#include <chrono>
#include <condition_variable>
#include <thread>
#include <vector>
#endif

namespace hl {
namespace {

std::atomic<int> g_threads{0};
std::atomic<bool> g_forked{false};
thread_local bool t_in_region = false;

// Two Python threads with helpers each would fight for the same cores, so whoever finds them taken
// runs its loop alone.
std::mutex g_team;

int read_positive(const char* name) {
  const char* text = std::getenv(name);
  if (!text) return 0;
  long value = std::strtol(text, nullptr, 10);  // "4,2" (nested levels) reads as 4
  return value > 0 && value < 4096 ? int(value) : 0;
}

// Containers limit processor time by quota, which the affinity mask does not show.
int cgroup_quota() {
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    double quota = 0, period = 0;
    int fields = std::fscanf(f, "%lf %lf", &quota, &period);
    std::fclose(f);
    if (fields == 2 && quota > 0 && period > 0) return int(std::ceil(quota / period));
    return 0;
  }
  auto number = [](const char* path) {
    double value = -1;
    if (FILE* f = std::fopen(path, "r")) {
      if (std::fscanf(f, "%lf", &value) != 1) value = -1;
      std::fclose(f);
    }
    return value;
  };
  double quota = number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  double period = number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  return quota > 0 && period > 0 ? int(std::ceil(quota / period)) : 0;
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// What several threads do at once.
struct Job {
  bool together = false;  // all who take part must know how many they are
  virtual void work(int worker, int threads) = 0;
  virtual void gathered(int) {}

  void run(int worker, int threads) {
    uint64_t mode = flush_denormals();
    bool outer = t_in_region;
    t_in_region = true;
    work(worker, threads);
    t_in_region = outer;
    restore_float_mode(mode);
  }
};

struct Loop final : Job {
  int64_t n, grain, chunks;
  ParallelBody body;
  void* arg;
  std::atomic<int64_t> next{0};

  Loop(int64_t n, int64_t grain, ParallelBody body, void* arg)
      : n(n), grain(grain), chunks((n + grain - 1) / grain), body(body), arg(arg) {}

  // Chunks are handed out one at a time: a core that was taken away for a while delays one chunk.
  void work(int worker, int) override {
    for (int64_t c; (c = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) {
      body(arg, c * grain, std::min(n, (c + 1) * grain), worker);
    }
  }
};

#if defined(HL_OPENMP)

void run_threads(Job& job, int threads) {
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    job.gathered(omp_get_num_threads());
    job.run(omp_get_thread_num(), omp_get_num_threads());
  }
}

#elif defined(HL_SERIAL)

void run_threads(Job& job, int) {
  job.gathered(1);
  job.run(0, 1);
}

#else

// Threads that take part if they come in time. A job is open while the caller works on it; workers that
// find it open join, and when the caller has nothing left to do it closes the job and waits for those
// who joined, not for those who are still on their way. On a machine that others use as well, a thread
// may wait milliseconds for a core: a fork and a join would wait with it.
class Pool {
 public:
  void run(Job& job, int threads) {
    const uint64_t wanted = uint64_t(std::min(threads - 1, 0x7fff));
    spins_ = threads <= cores_;
    while (workers_.size() < wanted) {
      workers_.emplace_back([this] { serve(); });
      workers_.back().detach();
    }
    job_ = &job;
    finished_.store(0, std::memory_order_relaxed);
    const uint64_t epoch = (state_.load(std::memory_order_relaxed) >> 32) + 1;
    state_.store(epoch << 32 | kOpen | wanted << 16);
    if (sleepers_.load() > 0) {
      {
        std::lock_guard lock(mutex_);
      }  // whoever counted itself has begun to wait
      wake_.notify_all();
    }
    if (job.together) {
      wait_for([&] { return joined(state_.load(std::memory_order_relaxed)) == wanted; },
               kGathering);
      job.gathered(1 + int(joined(close())));
    }
    job.run(0, threads);
    const int others = int(joined(close()));
    while (!wait_for([&] { return finished_.load(std::memory_order_acquire) == others; }, kIdle)) {
      sched_yield();
    }
  }

 private:
  // epoch << 32 | open << 31 | wanted << 16 | joined
  static constexpr uint64_t kOpen = uint64_t(1) << 31;
  static uint64_t joined(uint64_t state) { return state & 0xffff; }
  static uint64_t wanted(uint64_t state) { return state >> 16 & 0x7fff; }

  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds kIdle{200};       // between two kernels of a network
  static constexpr std::chrono::microseconds kGathering{500};  // to wake a sleeping thread

  uint64_t close() { return state_.fetch_and(~kOpen, std::memory_order_acq_rel); }

  template <class F>
  static bool wait_for(F done, Clock::duration patience) {
    if (done()) return true;
    for (const auto end = Clock::now() + patience; Clock::now() < end;) {
      for (int i = 0; i < 32; ++i) {
        if (done()) return true;
        pause();
      }
    }
    return done();
  }

  bool join(uint64_t& seen, int& rank) {
    uint64_t state = state_.load(std::memory_order_acquire);
    seen = state >> 32;
    while ((state & kOpen) && state >> 32 == seen && joined(state) < wanted(state)) {
      if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
        rank = int(joined(state)) + 1;
        return true;
      }
    }
    return false;
  }

  void serve() {
    uint64_t seen = 0;
    for (int rank;;) {
      const auto news = [&] { return state_.load(std::memory_order_relaxed) >> 32 != seen; };
      if (!(spins_.load(std::memory_order_relaxed) ? wait_for(news, kIdle) : news())) {
        std::unique_lock lock(mutex_);
        sleepers_.fetch_add(1);
        wake_.wait(lock, [&] { return state_.load() >> 32 != seen; });
        sleepers_.fetch_sub(1);
      }
      if (!join(seen, rank)) continue;
      job_->run(rank, int(wanted(state_.load(std::memory_order_relaxed))) + 1);
      finished_.fetch_add(1, std::memory_order_release);
    }
  }

  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<int> finished_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> spins_{true};
  const int cores_ = default_num_threads();
  Job* job_ = nullptr;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
};

void run_threads(Job& job, int threads) {
  static Pool* pool = new Pool;  // never destroyed: its threads outlive static destruction
  pool->run(job, threads);
}

#endif

}  // namespace

struct Team final : Job {
  TeamBody body;
  void* arg;
  std::atomic<int> arrived{0};
  std::atomic<unsigned> step{0};
  std::atomic<int> size{0};

  Team(TeamBody body, void* arg) : body(body), arg(arg) { together = true; }
  void gathered(int members) override { size.store(members, std::memory_order_release); }
  void work(int worker, int) override {
    while (size.load(std::memory_order_acquire) == 0) pause();
    body(arg, {this, worker, size.load(std::memory_order_relaxed)});
  }
};

void team_wait(const TeamMember& member) {
  if (member.size == 1) return;
  Team& team = *member.team;
  const unsigned step = team.step.load(std::memory_order_relaxed);
  if (team.arrived.fetch_add(1, std::memory_order_acq_rel) == member.size - 1) {
    team.arrived.store(0, std::memory_order_relaxed);
    team.step.store(step + 1, std::memory_order_release);
    return;
  }
  // The others are microseconds away, unless one of them has lost its core.
  constexpr int kPatience = 1024;
  for (int i = 0; team.step.load(std::memory_order_acquire) == step; ++i) {
    if (i < kPatience) {
      pause();
    } else {
      sched_yield();
    }
  }
}

void run_team(int workers, TeamBody body, void* arg) {
  std::unique_lock<std::mutex> lock(g_team, std::defer_lock);
  Team team(body, arg);
  if (workers <= 1 || t_in_region || g_forked.load(std::memory_order_relaxed) || !lock.try_lock()) {
    body(arg, {&team, 0, 1});
    return;
  }
  run_threads(team, workers);
}

void run_parallel(int workers, int64_t n, int64_t grain, ParallelBody body, void* arg) {
  if (n <= 0) return;
  Loop loop(n, grain, body, arg);
  int threads = int(std::min<int64_t>(workers, loop.chunks));
  // A grain is worth waking a thread for, half a grain is not.
  bool alone =
      threads <= 1 || 2 * n < 3 * grain || t_in_region || g_forked.load(std::memory_order_relaxed);
  std::unique_lock<std::mutex> team(g_team, std::defer_lock);
  if (alone || !team.try_lock()) {
    for (int64_t c = 0; c < loop.chunks; ++c) {
      body(arg, c * grain, std::min(n, (c + 1) * grain), 0);
    }
    return;
  }
  run_threads(loop, threads);
}

bool in_parallel_region() { return t_in_region; }

int default_num_threads() {
  if (int n = read_positive("HANDLOOM_NUM_THREADS")) return n;
  if (int n = read_positive("OMP_NUM_THREADS")) return n;
  cpu_set_t set;
  int cores = sched_getaffinity(0, sizeof set, &set) == 0
                  ? CPU_COUNT(&set)
                  : int(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  int quota = cgroup_quota();
  return std::max(1, quota > 0 ? std::min(cores, quota) : cores);
}

int num_threads() {
  int n = g_threads.load(std::memory_order_relaxed);
  if (n > 0) return n;
  // The child of a fork has none of its parent's threads and would wait for them in vain.
  static const int registered =
      pthread_atfork(nullptr, nullptr, [] { g_forked.store(true, std::memory_order_relaxed); });
  (void)registered;
  n = default_num_threads();
  g_threads.store(n, std::memory_order_relaxed);
  return n;
}

void set_num_threads(int n) {
  num_threads();  // registers the fork handler
  g_threads.store(n, std::memory_order_relaxed);
}

const char* thread_backend() {
#if defined(HL_OPENMP)
  return "openmp";
#elif defined(HL_SERIAL)
  return "none";
#else
  return "std::thread";
#endif
}

uint64_t flush_denormals() {
#if defined(__x86_64__)
  unsigned mode = __builtin_ia32_stmxcsr();
  constexpr unsigned kFlush = 0x8040;  // FTZ and DAZ
  if ((mode & kFlush) != kFlush) __builtin_ia32_ldmxcsr(mode | kFlush);
  return mode;
#elif defined(__aarch64__)
  uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  asm volatile("msr fpcr, %0" : : "r"(mode | (uint64_t(1) << 24)));  // FZ
  return mode;
#else
  return 0;
#endif
}

void restore_float_mode(uint64_t mode) {
#if defined(__x86_64__)
  // The whole register goes back: exception flags that a kernel raised are not the caller's business.
  unsigned now = __builtin_ia32_stmxcsr();
  if (now != unsigned(mode)) __builtin_ia32_ldmxcsr(unsigned(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(mode));
#else
  (void)mode;
#endif
}

}  // namespace hl
