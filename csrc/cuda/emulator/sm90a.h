// The words of sm90a.h on the CPU. What makes mistakes show:
//   - a copy by TMA lands when no thread can move any more, some earlier; a product reads its factors
//     when the warpgroup waits for it, not before. So a missing wait is a wrong result or NaN, and memory
//     that is given back too early is written over
//   - accumulators hold NaN between issue and wait, and what a thread wrote there is lost
//   - wgmma without a fence, accumulators that changed since theirs, a wait that does not name what came
//     back, or names what did not: reported
//   - barriers that are used before TMA can know of them, or written over: reported
//   - a wrong parity, count or number of bytes, registers that do not add up: a deadlock, reported
// It cannot see a missing fence.proxy.async after plain stores.
#pragma once

namespace hl::emulator {

struct alignas(64) TensorMap {
  const uint16_t* at;
  int64_t rows, columns, stride;  // numbers from a row to the next
  int box_rows;
};

struct Product {
  bool f16, across, from_registers, more;
  int columns;
  uint64_t a, b;
};

void init_barrier(uint64_t* b, int arrivals);
void fence_barriers();
void arrive(uint64_t* b, int64_t bytes);
void wait_for(const uint64_t* b, int parity);
void copy_box(void* to, const TensorMap& map, uint64_t* b, int column, int row);
void set_registers(int registers, bool more);
uint32_t shared_address(const void* p);

// `sums` lists the thread's accumulators, `count` floats each.
struct Sums {
  float* at;
  int count;
};
void fence_products(const Sums* sums, int n);
void start_product(const Product& p, const uint32_t* a, float* d);
void commit_products();
void await_products(int newest, const Sums* sums, int n);

}  // namespace hl::emulator

#define HL_SHARED_TILES(T, name) HL_SHARED(T, name)

namespace hl::cuda {

using emulator::TensorMap;
using Mbarrier = uint64_t;

inline uint32_t shared_address(const void* p) { return emulator::shared_address(p); }

inline void mbarrier_init(Mbarrier* b, int arrivals) { emulator::init_barrier(b, arrivals); }
inline void fence_barrier_init() { emulator::fence_barriers(); }
inline void mbarrier_arrive(Mbarrier* b) { emulator::arrive(b, 0); }
inline void mbarrier_arrive_expect(Mbarrier* b, int bytes) { emulator::arrive(b, bytes); }
inline void mbarrier_wait(Mbarrier* b, int parity) { emulator::wait_for(b, parity); }

inline void named_barrier_sync(int barrier, int threads) {
  emulator::meet_at(barrier, threads, "bar.sync");
}
inline void named_barrier_arrive(int barrier, int threads) {
  emulator::arrive_at(barrier, threads);
}

inline void tma_load(void* to, const TensorMap& map, Mbarrier* b, int column, int row) {
  emulator::copy_box(to, map, b, column, row);
}
inline void tma_prefetch(const TensorMap&) {}

template <int kRegisters>
void setmaxnreg_inc() {
  emulator::set_registers(kRegisters, true);
}
template <int kRegisters>
void setmaxnreg_dec() {
  emulator::set_registers(kRegisters, false);
}

template <int kGroups>
emulator::Sums sums_of(float (&d)[kGroups][4]) {
  return {&d[0][0], kGroups * 4};
}
template <class... Arrays>
void wgmma_fence(Arrays&... d) {
  const emulator::Sums sums[sizeof...(d) + 1] = {sums_of(d)..., {}};
  emulator::fence_products(sums, int(sizeof...(d)));
}
inline void wgmma_commit() { emulator::commit_products(); }
template <int kNewest, class... Arrays>
void wgmma_wait(Arrays&... d) {
  const emulator::Sums sums[sizeof...(d) + 1] = {sums_of(d)..., {}};
  emulator::await_products(kNewest, sums, int(sizeof...(d)));
}

inline void computed(float v) {
  if (v < 0) emulator::die("computed() of a negative number");
}

inline constexpr bool is_f16(F16) { return true; }
inline constexpr bool is_f16(Bf16) { return false; }

template <class Type, bool kAcross = false, int kGroups>
void wgmma(float (&d)[kGroups][4], uint64_t a, uint64_t b, bool more) {
  emulator::start_product({is_f16(Type()), kAcross, false, more, 8 * kGroups, a, b}, nullptr,
                          &d[0][0]);
}
template <class Type, bool kAcross = false, int kGroups>
void wgmma(float (&d)[kGroups][4], const uint32_t (&a)[4], uint64_t b, bool more) {
  emulator::start_product({is_f16(Type()), kAcross, true, more, 8 * kGroups, 0, b}, a, &d[0][0]);
}

}  // namespace hl::cuda
