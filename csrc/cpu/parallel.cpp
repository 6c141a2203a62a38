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
#include <condition_variable>
#include <thread>
#include <vector>
#endif

namespace hl {
namespace {

std::atomic<int> g_threads{0};
std::atomic<bool> g_forked{false};
thread_local bool t_in_region = false;

// libgomp keeps one team of threads per calling thread. Two Python threads with a team each would
// fight for the same cores, so whoever finds the team taken runs its loop alone.
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

// What all threads do at once.
struct Job {
  virtual void work(int worker, int threads) = 0;

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
  job.run(omp_get_thread_num(), omp_get_num_threads());
}

#elif defined(HL_SERIAL)

void run_threads(Job& job, int) { job.run(0, 1); }

#else

// A plain pool that ThreadSanitizer understands. Workers sleep between loops: it is for checking and
// for compilers without OpenMP, not for speed.
class Pool {
 public:
  void run(Job& job, int threads) {
    std::unique_lock lock(mutex_);
    while (int(workers_.size()) < threads - 1) {
      int id = int(workers_.size()) + 1;
      workers_.emplace_back([this, id] { serve(id); });
    }
    job_ = &job;
    wanted_ = threads - 1;
    running_ = wanted_;
    ++generation_;
    wake_.notify_all();
    lock.unlock();
    job.run(0, threads);
    lock.lock();
    done_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void serve(int id) {
    uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (id > wanted_) continue;
      Job* job = job_;
      int threads = wanted_ + 1;
      lock.unlock();
      job->run(id, threads);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  int wanted_ = 0, running_ = 0;
  uint64_t generation_ = 0;
};

void run_threads(Job& job, int threads) {
  static Pool* pool = new Pool;  // never destroyed: its threads outlive static destruction
  pool->run(job, threads);
}

#endif

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct Team final : Job {
  TeamBody body;
  void* arg;
  std::atomic<int> arrived{0};
  std::atomic<unsigned> step{0};

  Team(TeamBody body, void* arg) : body(body), arg(arg) {}
  void work(int worker, int threads) override { body(arg, {this, worker, threads}); }
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
  // The child of a fork has none of its parent's threads, and libgomp hangs when it looks for them.
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
