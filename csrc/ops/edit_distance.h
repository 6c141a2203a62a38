// Edit distance of Levenshtein: the fewest tokens to insert, delete or replace that make b of a.
//
// a (N, S), of row n the first a_lengths[n] tokens; b (N, T) likewise; distance (N). With D[0, j] = j
// and D[i, 0] = i:
//
//   D[i, j] = min(D[i-1, j] + 1, D[i, j-1] + 1, D[i-1, j-1] + (a[i] != b[j]))
//
// Neighbours of D differ by -1, 0 or 1, so a column of 64 rows is two words: where it rises and where
// it falls from row to row. One step to the next column is a dozen operations on words, in which the
// carries of an addition run down the diagonals of equal tokens (Myers 1999, "A fast bit-vector
// algorithm for approximate string matching based on dynamic programming"; the blocks of longer
// texts are Hyyro's of 2003). Blocks go down a, each over all of b: what enters a block from above is
// how D changes from column to column in the row before.
#pragma once

#include "context.h"

namespace hl {

struct EditDistanceShape {
  int64_t N, S, T;
};

template <class>
using edit_distance_t = void(Ctx&, const EditDistanceShape&, const int64_t* a,
                             const int64_t* a_lengths, const int64_t* b, const int64_t* b_lengths,
                             int64_t* distance);

}  // namespace hl
