// Barriers with bytes, tiled copies and warpgroup products of the emulated card.
#include "cuda/sm90a.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <deque>
#include <map>
#include <vector>

namespace hl::emulator {
namespace {

using cuda::kWarpgroup;

struct Phases {
  int arrivals = 0, missing = 0;
  int64_t bytes = 0;
  int parity = 0;
  int maker = -1;
  bool shown = false;  // to TMA

  void settle() {
    if (missing == 0 && bytes == 0) missing = arrivals, parity ^= 1;
  }
};

// One product of a warpgroup, of which every thread brings its part.
struct Started {
  Product what;
  std::array<float*, kWarpgroup> d = {};
  std::array<std::array<uint32_t, 4>, kWarpgroup> a = {};
  std::array<std::vector<float>, kWarpgroup> before;  // what was in d; empty: another has it
};

struct Shown {
  const float* at;
  std::vector<float> values;
};

struct Warpgroup {
  std::deque<Started> products;
  int64_t done = 0;              // products that are no longer in the queue
  std::vector<int64_t> commits;  // products before each
  std::array<int64_t, kWarpgroup> issued = {};
  std::array<size_t, kWarpgroup> committed = {};
  std::array<bool, kWarpgroup> fenced = {};
  std::array<std::vector<Shown>, kWarpgroup> shown;
  std::array<std::vector<const float*>, kWarpgroup> back;
  int waiting = 0, newest = 0;
  uint64_t meetings = 0;

  bool in_flight(int t, const float* d) const {
    const int64_t mine = issued[size_t(t)] - done;
    for (int64_t i = 0; i < mine; ++i) {
      if (products[size_t(i)].d[size_t(t)] == d) return true;
    }
    return false;
  }
};

// What a block has of all this.
struct State {
  std::deque<Phases> barriers;
  std::vector<Warpgroup> warpgroups;
  std::vector<int> registers;
  int free_registers = 0;
};
// By the blocks' numbers; those of a cooperative launch are there together.
std::map<uint64_t, State> g_states;

State& state() {
  const auto found = g_states.find(block().number);
  if (found != g_states.end()) return found->second;
  constexpr size_t kMostAlive = 64;
  while (g_states.size() >= kMostAlive) g_states.erase(g_states.begin());
  State& made = g_states[block().number];
  const dim3 size = block().size;
  const int threads = int(size.x * size.y * size.z);
  made.warpgroups.resize(size_t(threads / kWarpgroup));
  constexpr int kRegisters = 65536;
  const int each = std::min(kRegisters / threads / 8 * 8, 248);
  made.registers.assign(size_t(threads), each);
  made.free_registers = kRegisters - each * threads;
  return made;
}

constexpr uint64_t kMark = 0x6d626172;  // in the upper half of a barrier's word

Phases& phases_of(const uint64_t* b) {
  check_shared(b, sizeof *b, "mbarrier");
  const uint64_t at = *b & 0xffffffff;
  if (*b >> 32 != kMark || at >= state().barriers.size()) die("an mbarrier that is none");
  return state().barriers[size_t(at)];
}

int64_t shared_place(const void* p) {
  return static_cast<const unsigned char*>(p) - block().shared;
}
// Chunks of 16 bytes change places by the number of their row of 128.
int64_t swizzled(int64_t at) { return at ^ ((at >> 7 & 7) << 4); }

}  // namespace

uint32_t shared_address(const void* p) { return uint32_t(shared_place(p)); }

// ---- barriers --------------------------------------------------------------------------------------
void init_barrier(uint64_t* b, int arrivals) {
  check_shared(b, sizeof *b, "mbarrier");
  auto& all = state().barriers;
  *b = kMark << 32 | all.size();
  all.emplace_back();
  all.back().arrivals = all.back().missing = arrivals;
  all.back().maker = thread().linear;
}

void fence_barriers() {
  for (Phases& b : state().barriers) b.shown |= b.maker == thread().linear;
}

void arrive(uint64_t* b, int64_t bytes) {
  Phases& p = phases_of(b);
  if (p.missing == 0) die("more arrivals at an mbarrier than it was made for");
  p.bytes += bytes;
  p.missing--;
  p.settle();
}

void wait_for(const uint64_t* b, int parity) {
  struct Until {
    const Phases* phases;
    int parity;
  } const until = {&phases_of(b), parity};
  const auto over = [](const void* at) {
    const Until& u = *static_cast<const Until*>(at);
    return u.phases->parity != u.parity;
  };
  wait_until(over, &until, "an mbarrier");
}

// ---- copies ----------------------------------------------------------------------------------------
void copy_box(void* to, const TensorMap& map, uint64_t* b, int column, int row) {
  Phases& p = phases_of(b);
  if (!p.shown) die("TMA is given an mbarrier without fence_barrier_init()");
  const int64_t place = shared_place(to);
  if (place % 1024 != 0) die("TMA with the 128-byte swizzle wants multiples of 1024 bytes");
  for (int r = 0; r < map.box_rows; ++r) {
    check_shared(static_cast<unsigned char*>(to) + r * 128, 128, "TMA");
  }
  do_later([=, &p] {
    for (int r = 0; r < map.box_rows; ++r) {
      for (int c = 0; c < cuda::kTmaColumns; ++c) {
        const int64_t i = int64_t(row) + r, j = int64_t(column) + c;
        const bool inside = i >= 0 && i < map.rows && j >= 0 && j < map.columns;
        const uint16_t number = inside ? map.at[i * map.stride + j] : 0;
        memcpy(block().shared + swizzled(place + r * 128 + c * 2), &number, sizeof number);
      }
    }
    p.bytes -= map.box_rows * 128;
    p.settle();
  });
}

// ---- registers -------------------------------------------------------------------------------------
void set_registers(int registers, bool more) {
  State& s = state();
  int& mine = s.registers[size_t(thread().linear)];
  if (registers % 8 != 0 || registers < 24 || registers > 256 ||
      (more ? registers < mine : registers > mine)) {
    die("setmaxnreg with a number that it does not take");
  }
  struct Until {
    const int* free;
    int wanted;
  } const until = {&s.free_registers, registers - mine};
  const auto there = [](const void* at) {
    const Until& u = *static_cast<const Until*>(at);
    return *u.free >= u.wanted;
  };
  wait_until(there, &until, "setmaxnreg");
  s.free_registers -= registers - mine;
  mine = registers;
}

// ---- products --------------------------------------------------------------------------------------
namespace {

Warpgroup& my_warpgroup() {
  const size_t at = size_t(thread().linear / kWarpgroup);
  if (at >= state().warpgroups.size()) die("wgmma outside of a warpgroup");
  return state().warpgroups[at];
}
size_t my_place() { return size_t(thread().linear % kWarpgroup); }

float number(uint16_t bits, bool f16) {
  return f16 ? cuda::to_float(cuda::F16{bits}) : cuda::to_float(cuda::Bf16{bits});
}

// Element (row, k) of a factor in shared memory, or (k, row) where its rows run across k.
float element(uint64_t descriptor, int row, int k, bool across, bool f16) {
  const auto field = [&](int bit) { return int64_t(descriptor >> bit & 0x3fff) << 4; };
  if (descriptor >> 62 != 1) die("a factor of wgmma that is not swizzled by 128 bytes");
  const int64_t start = field(0), far = field(16), eight = field(32);
  const int64_t at = across ? start + row / 64 * far + k / 8 * eight + k % 8 * 128 + row % 64 * 2
                            : start + row / 8 * eight + row % 8 * 128 + k * 2;
  const unsigned char* p = block().shared + swizzled(at);
  check_shared(p, 2, "wgmma");
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return number(bits, f16);
}

constexpr int kDown = 64, kDeep = 16;

// A number that arithmetic changes, if only to a quiet NaN: what accumulators hold while products run.
constexpr uint32_t kUnderWay = 0x7f812345;

void hide(float* d, size_t count) {
  for (size_t i = 0; i < count; ++i) memcpy(d + i, &kUnderWay, sizeof *d);
}
bool is_hidden(const float* d, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (memcmp(d + i, &kUnderWay, sizeof *d) != 0) return false;
  }
  return true;
}

void multiply(const Started& s) {
  const int n = s.what.columns;
  std::vector<float> a(kDown * kDeep), b(size_t(n) * kDeep);
  for (int i = 0; i < kDown; ++i) {
    for (int k = 0; k < kDeep; ++k) {
      float& to = a[size_t(i * kDeep + k)];
      if (s.what.from_registers) {
        const int lane = i % 8 * 4 + k % 8 / 2, part = i % 16 / 8 + k / 8 * 2;
        const uint32_t word = s.a[size_t(i / 16 * 32 + lane)][size_t(part)];
        to = number(uint16_t(word >> k % 2 * 16), s.what.f16);
      } else {
        to = element(s.what.a, i, k, false, s.what.f16);
      }
    }
  }
  for (int j = 0; j < n; ++j) {
    for (int k = 0; k < kDeep; ++k) {
      b[size_t(j * kDeep + k)] = element(s.what.b, j, k, s.what.across, s.what.f16);
    }
  }
  for (int t = 0; t < kWarpgroup; ++t) {
    const auto& before = s.before[size_t(t)];
    if (before.empty()) continue;
    if (!is_hidden(s.d[size_t(t)], before.size()))
      die("sums were written while wgmma adds to them");
    memcpy(s.d[size_t(t)], before.data(), before.size() * sizeof(float));
  }
  for (int i = 0; i < kDown; ++i) {
    for (int j = 0; j < n; ++j) {
      const int lane = i % 8 * 4 + j % 8 / 2;
      float& d = s.d[size_t(i / 16 * 32 + lane)][j / 8 * 4 + i % 16 / 8 * 2 + j % 2];
      float sum = s.what.more ? d : 0;
      for (int k = 0; k < kDeep; ++k) {
        sum += a[size_t(i * kDeep + k)] * b[size_t(j * kDeep + k)];
      }
      d = sum;
    }
  }
}

// All are here: the products of all groups but the newest.
void finish(Warpgroup& g, int newest) {
  for (size_t t = 1; t < kWarpgroup; ++t) {
    if (g.issued[t] != g.issued[0] || g.committed[t] != g.committed[0]) {
      die("threads of a warpgroup wait after different products");
    }
  }
  for (auto& list : g.back) list.clear();
  const int64_t kept = int64_t(g.commits.size()) - newest;
  const int64_t end = kept > 0 ? g.commits[size_t(kept) - 1] : 0;
  std::deque<Started> finished;
  for (; g.done < end; ++g.done) {
    multiply(g.products.front());
    finished.push_back(std::move(g.products.front()));
    g.products.pop_front();
  }
  // A product in the queue whose sums were those of one that is done goes on from there.
  for (size_t t = 0; t < kWarpgroup; ++t) {
    for (const Started& s : finished) {
      float* const d = s.d[t];
      auto& list = g.back[t];
      if (std::find(list.begin(), list.end(), d) != list.end()) continue;
      const auto next = std::find_if(g.products.begin(), g.products.end(),
                                     [&](const Started& p) { return p.d[t] == d; });
      if (next == g.products.end()) {
        list.push_back(d);
      } else if (next->before[t].empty()) {
        const size_t count = size_t(next->what.columns / 2);
        next->before[t].assign(d, d + count);
        hide(d, count);
      }
    }
  }
}

}  // namespace

void fence_products(const Sums* sums, int n) {
  Warpgroup& g = my_warpgroup();
  const size_t t = my_place();
  g.fenced[t] = true;
  g.shown[t].clear();
  for (int i = 0; i < n; ++i) {
    g.shown[t].push_back({sums[i].at, {sums[i].at, sums[i].at + sums[i].count}});
  }
}

void start_product(const Product& p, const uint32_t* a, float* d) {
  Warpgroup& g = my_warpgroup();
  const size_t t = my_place();
  const bool goes_on = g.in_flight(int(t), d);
  if (!g.fenced[t] && (!goes_on || p.from_registers)) die("wgmma without a wgmma_fence()");
  const int64_t at = g.issued[t] - g.done;
  if (at == int64_t(g.products.size())) {
    g.products.emplace_back();
    g.products.back().what = p;
  }
  Started& s = g.products[size_t(at)];
  if (s.what.a != p.a || s.what.b != p.b || s.what.columns != p.columns || s.what.more != p.more ||
      s.what.across != p.across || s.what.from_registers != p.from_registers) {
    die("threads of a warpgroup start different products");
  }
  s.d[t] = d;
  if (a) std::copy(a, a + 4, s.a[t].begin());
  if (!goes_on) {
    const size_t count = size_t(p.columns / 2);
    if (p.more) {
      const auto found = std::find_if(g.shown[t].begin(), g.shown[t].end(),
                                      [&](const Shown& shown) { return shown.at == d; });
      if (found == g.shown[t].end()) die("wgmma adds to what wgmma_fence() did not name");
      if (memcmp(found->values.data(), d, count * sizeof(float)) != 0) {
        die("accumulators were written between wgmma_fence() and wgmma");
      }
    }
    s.before[t].assign(d, d + count);
    hide(d, count);
  }
  g.issued[t]++;
}

void commit_products() {
  Warpgroup& g = my_warpgroup();
  const size_t t = my_place(), at = g.committed[t]++;
  if (at == g.commits.size()) g.commits.push_back(g.issued[t]);
  if (g.commits[at] != g.issued[t]) die("threads of a warpgroup commit different products");
}

void await_products(int newest, const Sums* sums, int n) {
  Warpgroup& g = my_warpgroup();
  const size_t t = my_place();
  if (g.waiting > 0 && g.newest != newest) die("threads of a warpgroup wait for different groups");
  g.newest = newest;
  struct Until {
    const uint64_t* meetings;
    uint64_t now;
  } const until = {&g.meetings, g.meetings};
  if (++g.waiting == kWarpgroup) {
    g.waiting = 0;
    do_later([&g, newest] {
      finish(g, newest);
      g.meetings++;
    });
  }
  const auto over = [](const void* at) {
    const Until& u = *static_cast<const Until*>(at);
    return *u.meetings != u.now;
  };
  wait_until(over, &until, "wgmma_wait");
  g.fenced[t] = false;
  const auto named = [&](const float* d) {
    return std::any_of(sums, sums + n, [&](const Sums& s) { return s.at == d; });
  };
  for (const float* d : g.back[t]) {
    if (!named(d)) die("sums came back at a wgmma_wait() that does not name them");
  }
  for (int i = 0; i < n; ++i) {
    if (g.in_flight(int(t), sums[i].at)) die("wgmma_wait() names sums that are under way");
  }
}

}  // namespace hl::emulator
