// Random numbers without a state: what element i of call c under seed s is depends on (s, c, i)
// only.
//
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11)
// maps a 64-bit key and a 128-bit counter to four 32-bit words.
//
//   key = seed      counter = (block, call), 64 bits each, low half first
//   word w of a call is word w % 4 of block w / 4; draw d, of 64 bits, is the words 2d (low), 2d +
//   1
//
//   uniform      u_i in [0, 1): float32 the top 24 bits of word i, float64 the top 53 bits of draw
//   i;
//                y = low + (high - low) u, at most the largest number below high
//   normal       Box-Muller on the elements 2j and 2j + 1: with words (draws, in float64) a and b,
//                r = sqrt(-2 log u_a),  y = mean + std r (cos t_b, sin t_b),  t_b uniform on the
//                circle; u_a has 31 (53) bits and is never 0, so |y| reaches 6.6 (8.6) standard
//                deviations
//   bernoulli    word i < p 2^32
//   integers     draw i times the range, the upper 64 bits (Lemire: "Fast random integer generation
//   in
//                an interval", 2019); a draw that would favour some results is drawn again from
//                block d / 2 + t 2^56, t = 1, 2, ...: exactly uniform
//   permutation  Fisher and Yates, inside out: element i goes to a place in [0, i] chosen by draw i
//   dropout      y = x m + s with (m, s) = kept or dropped; element i is dropped where word i < p
//   2^32.
//                Feature dropout has one word for each sample and channel, word n C + c of x (N, R,
//                C). alpha dropout keeps mean and variance of SELU's outputs (Klambauer et al.
//                2017): kept (a, a alpha' p), dropped (0, -a alpha' (1 - p)), alpha'
//                = 1.7580993408473766, a = ((1 - p)(1 + p alpha'^2))^-1/2.   Backward: dx = dy m.
//
// The rows of uniform_rows and normal_rows are calls of their own: row r is call calls[r].
//
// Integers, masks and uniform numbers are the same bits on every instruction set and device; normal
// numbers agree to a few units in the last place (measured: 2 ulp of r in either type).
#pragma once

#include "context.h"

namespace hl {

struct RandomShape {
  int64_t n;     // elements, of a row where there are rows
  int64_t rows;  // of *_rows
  uint64_t seed, call;
  double a, b;         // uniform: low, high; normal: mean, std
  double below;        // uniform: the largest number below high
  uint64_t threshold;  // bernoulli: p 2^32, rounded
  int64_t low;         // integers
  uint64_t range;      // integers: high - low
  uint64_t block;      // words: the first block
};

enum class DropoutUnit { kElement, kFeature };

struct DropoutShape {
  DropoutUnit unit;
  int64_t N, R, C;  // elements: N = R = 1
  uint64_t seed, call, threshold;
  double keep_scale, keep_shift, drop_shift;
};

template <class T>
using random_uniform_t = void(Ctx&, const RandomShape&, T* y);
template <class T>
using random_normal_t = void(Ctx&, const RandomShape&, T* y);
template <class T>
using random_uniform_rows_t = void(Ctx&, const RandomShape&, const int64_t* calls, T* y);
template <class T>
using random_normal_rows_t = void(Ctx&, const RandomShape&, const int64_t* calls, T* y);
template <class T>
using random_bernoulli_t = void(Ctx&, const RandomShape&, void* y);  // 0 and 1 in T, bool for void
template <class T>
using random_integers_t = void(Ctx&, const RandomShape&, int64_t* y);
template <class T>
using random_permutation_t = void(Ctx&, const RandomShape&, int64_t* y);
template <class T>
using random_words_t = void(Ctx&, const RandomShape&, uint32_t* y);  // n is a multiple of 4

template <class T>
using dropout_forward_t = void(Ctx&, const DropoutShape&, const T* x, T* y);
template <class T>
using dropout_backward_t = void(Ctx&, const DropoutShape&, const T* dy, T* dx);

}  // namespace hl
