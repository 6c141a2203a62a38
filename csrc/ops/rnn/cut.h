// How a call is cut, decided by the shape alone, and how its steps are shared out.
#pragma once

#include "ops/rnn/cells.h"
#include "ops/rnn/order.h"
#include "ops/rnn/panels.h"
#include "ops/rnn/vectors.h"

namespace hl::cpu::HL_ISA {

enum class Way {
  kRows,    // a task takes a block of sequences through all steps: nobody waits for anybody
  kTeam,    // a task has some of the units of all sequences; all meet after each step
  kAlone,   // as kTeam, on one thread: the steps are too short to share
  kSingle,  // one step only: nothing is packed
};

struct RnnCut {
  Way way;
  int64_t gates, blocks;  // G; blocks of H numbers in da
  int64_t groups;         // of units
  int64_t block;          // sequences that are worked on together
  int64_t chunk;          // steps between two products over many steps
  int64_t h_stride, d_stride;
  int64_t sums;  // numbers: products of a task
  bool fused;    // w_ih x is formed step by step too, as its weights are in the cache
};

inline const char* way_name(const RnnCut& k) {
  if (k.way == Way::kRows) return k.fused ? "rows, inputs fused" : "rows";
  return k.way == Way::kTeam ? "team" : k.way == Way::kAlone ? "alone" : "single step";
}

inline const char* way_reason(const RnnCut& k) {
  switch (k.way) {
    case Way::kRows:
      return k.fused ? "all weights fit a core's cache: blocks of sequences, no waiting"
                     : "w_hh fits a core's cache: blocks of sequences, no waiting";
    case Way::kTeam:
      return "w_hh is shared out among the cores, which meet after every step";
    case Way::kAlone:
      return "steps too short to share";
    default:
      return "one step: two products, nothing is packed";
  }
}

// Rows whose distance is an odd number of cache lines fall on different cache sets.
constexpr int64_t odd_lines(int64_t n, int64_t size) {
  const int64_t line = 64 / size;
  return n < 4 * line ? n : (ceil_div(n, line) | 1) * line;
}

// The part of a core's second-level cache that the packed weights may take; how much of them, or how
// many multiply-adds, make a step worth sharing.
constexpr int64_t kCacheShare = 512 << 10;
constexpr int64_t kTeamBytes = 192 << 10;
constexpr int64_t kTeamWork = 1 << 18;
// What products over many steps leave to the steps, or these to them, waits in the last cache.
constexpr int64_t kChunkBytes = 16 << 20;

// How a chain of steps is cut whose products make `units` numbers of each sequence.
template <class T>
RnnCut rnn_cut(const RnnShape& s, int64_t units) {
  constexpr int64_t size = sizeof(T);
  RnnCut k = {};
  k.gates = product_gates(s.cell), k.blocks = gate_blocks(s.cell);
  k.groups = panel_groups<T>(units);
  k.h_stride = odd_lines(s.P, size);
  k.d_stride = odd_lines(k.blocks * s.H, size);
  const int64_t work = k.gates * s.H * s.P, bytes = work * size;
  if (s.T == 1 && s.rows == s.N) {
    k.way = Way::kSingle;
  } else if (s.N >= 2 * min64(8, kTileRows) && bytes <= kCacheShare) {
    k.way = Way::kRows;
  } else {
    k.way = bytes >= kTeamBytes || s.N * work >= kTeamWork ? Way::kTeam : Way::kAlone;
  }
  if (k.way == Way::kRows) {
    const int64_t tiles = ceil_div(s.N, kTileRows);
    k.block = ceil_div(s.N, tiles <= 2 ? 2 : round_up(tiles, 4));
  } else {  // as many rows as find their products in the first-level cache
    k.block = even_part(s.N, 4 * kTileRows, 1);
  }
  k.fused = k.way == Way::kRows && bytes + k.gates * s.H * s.I * size <= kCacheShare * 5 / 4;
  k.chunk = max64(1, kChunkBytes / max64(1, s.N * k.d_stride * size));
  k.chunk = even_part(max64(1, s.steps), k.chunk, 1);
  // Where sequences end early, the last ones may be few.
  const int64_t few = kFewRows * min64(k.groups, kFewGroups);
  k.sums = max64(k.block, few) * k.gates * kTileColumns<T>;
  return k;
}

inline int64_t groups_together(int64_t rows) { return rows <= kFewRows ? kFewGroups : 1; }

enum class Direction { kUp, kDown };

// f(step, first slot, one past the last, first group, one past the last, worker) for the steps
// [t0, t1): every step after all that came before it, whatever is shared out.
template <class F>
void share_steps(Ctx& ctx, const RnnCut& k, const Order& order, int64_t N, int64_t t0, int64_t t1,
                 Direction direction, const F& f) {
  auto at = [=](int64_t i) { return direction == Direction::kUp ? t0 + i : t1 - 1 - i; };
  if (k.way == Way::kRows) {
    parallel_for(ctx, ceil_div(N, k.block), 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t i0 = b * k.block;
        for (int64_t i = 0; i < t1 - t0; ++i) {
          const int64_t i1 = min64(order.live[at(i)], i0 + k.block);
          if (i0 < i1) f(at(i), i0, i1, int64_t(0), k.groups, worker);
        }
      }
    });
    return;
  }
  auto member_steps = [&](const TeamMember& member) {
    const int64_t blocks = ceil_div(N, k.block), tasks = k.groups * blocks;
    const int64_t begin = tasks * member.rank / member.size;
    const int64_t end = tasks * (member.rank + 1) / member.size;
    for (int64_t i = 0; i < t1 - t0; ++i) {
      const int64_t live = order.live[at(i)];
      int64_t together;
      for (int64_t task = begin; task < end; task += together) {
        const int64_t group = task / blocks, i0 = task % blocks * k.block;
        const int64_t i1 = min64(live, i0 + k.block);
        together = blocks == 1 ? end - begin : 1;
        if (i0 < i1) f(at(i), i0, i1, group, group + together, member.rank);
      }
      team_wait(member);
    }
  };
  if (k.way == Way::kAlone) return member_steps({nullptr, 0, 1});
  run_team(
      ctx.workers,
      [](void* arg, const TeamMember& member) {
        (*static_cast<decltype(member_steps)*>(arg))(member);
      },
      &member_steps);
}

// A product over the rows of a chunk, of which there are at most as many as it was cut for.
inline GemmCut with_rows(GemmCut g, int64_t M) {
  g.M = M;
  if (g.narrow) g.rows = ceil_div(M, g.mr);
  return g;
}
inline GemmCut with_steps(GemmCut g, int64_t K) {
  g.K = K;
  g.splits = max64(1, min64(g.splits, ceil_div(K, g.kc)));
  return g;
}

// Pieces of the scratch memory, one after the other; a plan has no memory and only counts.
struct Scratch {
  unsigned char* base;
  int64_t used;

  template <class T>
  T* take(int64_t n) {
    T* p = base ? reinterpret_cast<T*>(base + used) : nullptr;
    used += round_up(n * int64_t(sizeof(T)), 64);
    return p;
  }
};

}  // namespace hl::cpu::HL_ISA
