#include "ops/edit_distance.h"

#include "cpu/parallel.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kRows = 64;    // of D in a word
constexpr int64_t kSlots = 128;  // twice as many as tokens that differ in a block

// Where in a block of a each token stands: a table of bits by token, open addressing.
struct Places {
  int64_t token[kSlots];
  uint64_t rows[kSlots];  // 0: free

  int64_t slot(int64_t wanted) const {
    // Fibonacci hashing spreads small numbers, which tokens are, and any others.
    int64_t at = int64_t((uint64_t(wanted) * 0x9E3779B97F4A7C15u) >> 57);
    while (rows[at] && token[at] != wanted) at = (at + 1) % kSlots;
    return at;
  }
};

HL_INLINE void find_places(Places& places, const int64_t* a, int64_t rows) {
  for (int64_t i = 0; i < kSlots; ++i) places.rows[i] = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = places.slot(a[i]);
    places.token[at] = a[i];
    places.rows[at] |= uint64_t(1) << i;
  }
}

// change (T): how D goes from column to column above the block, then below its last row.
HL_INLINE void descend(const Places& places, int64_t rows, const int64_t* b, int64_t size,
                       int8_t* change) {
  const int64_t last = rows - 1;
  uint64_t rises = ~uint64_t(0), falls = 0;  // column 0: D[i, 0] = i
  for (int64_t j = 0; j < size; ++j) {
    const uint64_t from_left = falls;
    const uint64_t equal = places.rows[places.slot(b[j])];
    const uint64_t down = change[j] < 0, up = change[j] > 0;
    const uint64_t reached = equal | down;
    const uint64_t diagonal = (((reached & rises) + rises) ^ rises) | reached;
    const uint64_t grows = falls | ~(diagonal | rises);  // from the column before, row by row
    const uint64_t shrinks = rises & diagonal;
    change[j] = int8_t(int(grows >> last & 1) - int(shrinks >> last & 1));
    const uint64_t grows_above = grows << 1 | up, shrinks_above = shrinks << 1 | down;
    rises = shrinks_above | ~(equal | from_left | grows_above);
    falls = grows_above & (equal | from_left);
  }
}

int64_t distance_of(const int64_t* a, int64_t rows, const int64_t* b, int64_t size,
                    int8_t* change) {
  Places places;
  for (int64_t j = 0; j < size; ++j) change[j] = 1;
  for (int64_t at = 0; at < rows; at += kRows) {
    const int64_t block = min64(kRows, rows - at);
    find_places(places, a + at, block);
    descend(places, block, b, size, change);
  }
  int64_t distance = rows;
  for (int64_t j = 0; j < size; ++j) distance += change[j];
  return distance;
}

// Of a pair, in words of D.
HL_INLINE double words(const EditDistanceShape& s) {
  return double(ceil_div(s.S, kRows)) * double(s.T) + 1;
}

}  // namespace

Plan edit_distance_plan(const EditDistanceShape& s) {
  Plan p = {};
  p.algorithm = "bit vectors";
  p.bytes = 8.0 * double(s.N) * (double(s.S) + double(s.T) + 3);
  p.flops = 20 * double(s.N) * words(s);
  p.worker_bytes = s.T;
  return p;
}

void edit_distance(Ctx& ctx, const EditDistanceShape& s, const int64_t* a, const int64_t* a_lengths,
                   const int64_t* b, const int64_t* b_lengths, int64_t* distance) {
  const int64_t grain = max64(1, int64_t(4096 / words(s)));
  parallel_for(ctx, s.N, grain, [&](int64_t begin, int64_t end, int worker) {
    int8_t* change = worker_scratch<int8_t>(ctx, worker);
    for (int64_t n = begin; n < end; ++n) {
      distance[n] = distance_of(a + n * s.S, a_lengths[n], b + n * s.T, b_lengths[n], change);
    }
  });
}

HL_DEFINE_RAW_KERNEL(edit_distance);

}  // namespace hl::cpu::HL_ISA
