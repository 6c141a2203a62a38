// What happens to a row of scores: who is seen, what is added, powers of two, dropout.
//
// Scores are kept in units of log 2: the tile multiplies by scale / log 2, and exp becomes a power
// of two, which needs no reduction by ln 2.
#pragma once

#include "cpu/fold.h"
#include "cpu/philox.h"
#include "cpu/simd/math.h"
#include "ops/attention/attention.h"

namespace hl::cpu::HL_ISA {

constexpr double kLog2e = 1.4426950408889634, kLn2 = 0.6931471805599453;

template <class T>
struct Power;
// (2^r - 1) / r on |r| <= 1/2, lowest power first: least relative error of 2^r.
template <>
struct Power<float> {
  static constexpr float kLowest = -200;  // 2^x is 0 here and below
  static constexpr float kPoly[] = {0.6931471824645996f,    0.24022644758224487f,
                                    0.055503591895103455f,  0.009618841111660004f,
                                    0.0013391136890277267f, 0.00015238006017170846f};
};
template <>
struct Power<double> {
  static constexpr double kLowest = -1200;
  static constexpr double kPoly[] = {
      0.6931471805599453,     0.24022650695910133,    0.05550410866482226,
      0.009618129107593498,   0.0013333558146380658,  0.00015403530457765014,
      1.5252733805508415e-05, 1.3215435001110848e-06, 1.0178086773687693e-07,
      7.073826046303358e-09,  4.449955477539561e-10};
};

// 2^x for x up to 1 or so: a score less the largest. -inf gives 0, NaN stays.
template <class V>
HL_INLINE V exp2_low(V x) {
  using T = Elem<V>;
  constexpr int N = int(sizeof(Power<T>::kPoly) / sizeof(T));
  x = greater(set1(Power<T>::kLowest), x);
  const V n = rint(x), r = x - n;
  V p = set1(Power<T>::kPoly[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; --i) p = fma(p, r, set1(Power<T>::kPoly[i]));
  return scale(fma(p, r, set1(T(1))), n);
}

template <class T>
struct Terms {
  const int64_t *lengths, *starts;
  const unsigned char* mask;
  const T *bias, *slopes;
};

// Keys [begin, end) of a row: both ends never fall from one query to the next.
struct Span {
  int64_t begin, end;
};

template <class T>
HL_INLINE Span span_of(const AttentionShape& s, const Terms<T>& x, int64_t n, int64_t t) {
  const int64_t keys = x.lengths ? x.lengths[n] : s.Tk;
  const int64_t at = t + (x.starts ? x.starts[n] : s.shift);
  const int64_t begin = min64(max64(at - s.left, 0), keys);
  return {begin, max64(begin, min64(keys, at + s.right + 1))};
}

// Pairs of a query and a key that the window leaves, over all heads. Long sequences are sampled.
inline double visible_pairs(const AttentionShape& s) {
  const Terms<float> none = {};
  const int64_t samples = min64(s.Tq, 256);
  double sum = 0;
  for (int64_t i = 0; i < samples; ++i) {
    const Span span = span_of(s, none, 0, (2 * i + 1) * s.Tq / (2 * samples));
    sum += double(span.end - span.begin);
  }
  return samples > 0 ? sum / double(samples) * double(s.Tq) * double(s.N) * double(s.H) : 0.0;
}

// row[j] of query t gains what is added for key + j, or becomes -inf.
template <class T>
void add_terms(const AttentionShape& s, const Terms<T>& x, int64_t n, int64_t h, int64_t t,
               int64_t key, int64_t count, T* __restrict row) {
  constexpr int L = kLanes<T>;
  const T unit = T(kLog2e);
  if (x.bias) {
    const T* __restrict b =
        x.bias + n * s.bias[0] + h * s.bias[1] + t * s.bias[2] + key * s.bias[3];
    if (s.bias[3] == 1) {
      for (int64_t j = 0; j < count; j += L) {
        const int64_t lanes = min64(L, count - j);
        store_n(row + j, fma(load_n(b + j, lanes), set1(unit), load_n(row + j, lanes)), lanes);
      }
    } else {
      for (int64_t j = 0; j < count; ++j) row[j] += unit * b[j * s.bias[3]];
    }
  }
  if (x.slopes) {
    const T slope = unit * x.slopes[n * s.slope[0] + h * s.slope[1]];
    const int64_t at = t + (x.starts ? x.starts[n] : s.shift);
    const Vec<T> lane = to_float<Vec<T>>(lane_numbers<T>());
    for (int64_t j = 0; j < count; j += L) {
      const int64_t lanes = min64(L, count - j);
      const Vec<T> away = abs(lane + set1(T(key + j - at)));
      store_n(row + j, fma(away, set1(-slope), load_n(row + j, lanes)), lanes);
    }
  }
  if (x.mask) {
    const unsigned char* __restrict m =
        x.mask + n * s.mask[0] + h * s.mask[1] + t * s.mask[2] + key * s.mask[3];
    if (s.mask[3] == 1) {
      for (int64_t j = 0; j < count; ++j) row[j] = m[j] ? row[j] : -kInf<T>;
    } else {
      for (int64_t j = 0; j < count; ++j) row[j] = m[j * s.mask[3]] ? row[j] : -kInf<T>;
    }
  }
}

// row[j] times z of (n, h, t, key + j).
template <class T>
__attribute__((noinline)) void drop_row(const AttentionShape& s, int64_t n, int64_t h, int64_t t,
                                        int64_t key, int64_t count, T* row) {
  constexpr int L = kLanes<T>;
  constexpr int64_t kPiece = 512;
  alignas(64) uint32_t words[kPiece + 2 * kPhiloxGroup + L];
  using Bits = decltype(lanes_of(words, T()));
  const Bits last = Bits{} + uint32_t(s.threshold - 1);  // the largest word that drops
  const int64_t first = ((n * s.H + h) * s.Tq + t) * s.Tk + key;
  for (int64_t j = 0; j < count; j += kPiece) {
    const int64_t most = min64(kPiece, count - j), word = first + j, skip = word % 4;
    philox_words(s.seed, s.call, uint64_t(word / 4), most + skip, words);
    for (int64_t i = 0; i < most; i += L) {
      const int64_t lanes = min64(L, most - i);
      const Vec<T> z = select(lanes_of(words + skip + i, T()) <= last, Vec<T>{}, set1(T(s.keep)));
      T* p = row + j + i;
      store_n(p, load_n(p, lanes) * z, lanes);
    }
  }
}

// The columns of a row's vectors that lie outside [begin, end) become -inf. Nothing is empty.
template <class T>
HL_INLINE void close_ends(T* row, int64_t begin, int64_t end) {
  constexpr int L = kLanes<T>;
  if (const int64_t low = begin % L; low != 0) {
    T* p = row + begin - low;
    store(p, first_of<T>(set1(-kInf<T>), low, load(p)));
  }
  if (const int64_t high = end % L; high != 0) {
    T* p = row + end - high;
    store(p, first_of<T>(load(p), high, set1(-kInf<T>)));
  }
}

template <class T>
HL_INLINE void fill_zero(T* p, int64_t begin, int64_t end) {  // whole vectors
  for (; begin < end; begin += kLanes<T>) store(p + begin, zero<T>());
}

// lse as backward wants it: a row that sees nothing has no probabilities.
template <class T>
HL_INLINE T shift_of(T lse) {
  return lse == -kInf<T> ? kInf<T> : lse * T(kLog2e);
}

}  // namespace hl::cpu::HL_ISA
