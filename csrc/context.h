// What every kernel is given, says of itself, and is called through.
//
// Kernels are pure functions (Ctx&, const Shape&, inputs..., outputs...) on raw pointers. This header
// is seen by plain and by ISA-specific sources alike, so it holds trivial structs and declarations
// only: an inline body here would be compiled with several instruction sets and merged into one.
#pragma once

#include <stdint.h>

namespace hl {

// How a CUDA kernel multiplies float32 matrices: by float32 arithmetic, or on tensor cores with the
// factors rounded to that type and float32 sums.
enum class Precision { kFull, kTf32, kBf16, kF16 };

// Scratch memory of one call. `shared` belongs to the call, each worker has a slice of its own.
struct Ctx {
  unsigned char* shared;
  unsigned char* per_worker;
  int64_t worker_bytes;
  int workers;          // how many threads parallel_for may use for this call
  int64_t last_cache;   // bytes; a larger result is better written past the caches
  void* stream;         // CUDA only
  Precision precision;  // CUDA only
};

// What a kernel will do with a shape, known before it starts: scratch is reserved from this, and
// explain, profile and the benchmark read it.
struct Plan {
  const char* algorithm;
  const char* why;  // that one and no other; null where there is no choice
  int64_t tile[3];
  int64_t shared_bytes;
  int64_t worker_bytes;
  double flops;
  double bytes;  // least traffic: every input read once, every output written once
};

// One kernel in the op table. F is its function type, void(Ctx&, const Shape&, ...).
template <class F>
struct Entry;
template <class S, class... Args>
struct Entry<void(Ctx&, const S&, Args...)> {
  const char* name;
  void (*run)(Ctx&, const S&, Args...);
  Plan (*plan)(const S&);
};

// ---- services, out of line -----------------------------------------------------------------------

// The body of a parallel loop: chunk [begin, end) on thread number `worker`.
using ParallelBody = void (*)(void* arg, int64_t begin, int64_t end, int worker);

// Cuts [0, n) into chunks of `grain` (the last one shorter) and runs them on up to `workers` threads.
// Where the cuts fall depends on n and grain alone; which thread gets which chunk does not matter to
// any result.
void run_parallel(int workers, int64_t n, int64_t grain, ParallelBody body, void* arg);

// Work in many short steps, each of which needs all of the one before: the members of a team run the
// same body side by side and meet in team_wait. Opening a parallel loop for each step would take
// longer than the step.
struct Team;
struct TeamMember {
  Team* team;
  int rank, size;  // 0 <= rank < size <= workers
};
using TeamBody = void (*)(void* arg, const TeamMember& member);

// Runs body on up to `workers` threads at once; on the calling thread alone where a parallel loop
// would be serial. How the work is shared out may follow from `size`, what is computed must not.
void run_team(int workers, TeamBody body, void* arg);
// Returns when every member has called it; what they wrote before is seen after.
void team_wait(const TeamMember& member);

int num_threads();
void set_num_threads(int n);
int default_num_threads();  // HANDLOOM_NUM_THREADS, OMP_NUM_THREADS, affinity and cgroup quota
const char* thread_backend();
bool in_parallel_region();

// The calling thread's scratch arena; false when the memory cannot be had.
bool scratch_reserve(Ctx& ctx, int64_t shared_bytes, int64_t worker_bytes);
void scratch_release();  // this thread's arena back to the system

// Subnormal numbers read and written as zero on the calling thread; returns the mode to restore.
uint64_t flush_denormals();
void restore_float_mode(uint64_t mode);

}  // namespace hl
