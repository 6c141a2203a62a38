// The order in which the steps of all sequences are worked on, and where each step's numbers are.
//
// Sequences take slots, the longest first, so that those which still run are the first slots at every
// step and a step is a block of adjacent rows. Without lengths slot n is sequence n.
#pragma once

#include "cpu/parallel.h"
#include "ops/rnn/rnn.h"

namespace hl::cpu::HL_ISA {

struct Order {
  int64_t steps;
  int64_t* slot;   // (N) the sequence in each slot
  int64_t* live;   // (steps + 1) slots that have this step
  int64_t* first;  // (steps + 1) rows before this step
  int64_t* place;  // (rows) n T + t of each row
};

inline int64_t order_bytes(const RnnShape& s) {
  return (s.N + 2 * (s.steps + 1) + s.rows + s.T + 1) * int64_t(sizeof(int64_t));
}

inline Order make_order(const RnnShape& s, const int64_t* lengths, unsigned char* memory) {
  Order o = {};
  o.steps = s.steps;
  o.slot = reinterpret_cast<int64_t*>(memory);
  o.live = o.slot + s.N;
  o.first = o.live + s.steps + 1;
  o.place = o.first + s.steps + 1;
  int64_t* count = o.place + s.rows;  // sequences longer than i, then the next free slot
  if (lengths) {
    for (int64_t i = 0; i <= s.T; ++i) count[i] = 0;
    for (int64_t n = 0; n < s.N; ++n) ++count[lengths[n]];
    int64_t longer = 0;
    for (int64_t i = s.T; i >= 0; --i) {
      const int64_t here = count[i];
      count[i] = longer;
      longer += here;
    }
    for (int64_t i = 0; i <= s.steps; ++i) o.live[i] = count[i];
    for (int64_t n = 0; n < s.N; ++n) o.slot[count[lengths[n]]++] = n;
  } else {
    for (int64_t n = 0; n < s.N; ++n) o.slot[n] = n;
    for (int64_t i = 0; i <= s.steps; ++i) o.live[i] = i < s.steps ? s.N : 0;
  }
  int64_t row = 0;
  for (int64_t i = 0; i < s.steps; ++i) {
    o.first[i] = row;
    for (int64_t j = 0; j < o.live[i]; ++j) {
      const int64_t n = o.slot[j], length = lengths ? lengths[n] : s.T;
      o.place[row++] = n * s.T + (s.reverse ? length - 1 - i : i);
    }
  }
  o.first[s.steps] = row;
  return o;
}

// Rows of a matrix that lie a fixed distance apart: all steps of a single sequence, or one step of all.
inline bool evenly_spaced(const RnnShape& s, const int64_t* lengths) {
  return !lengths && (s.N == 1 || s.T == 1);
}

}  // namespace hl::cpu::HL_ISA
