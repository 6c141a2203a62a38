// How one block of numbers folds into a few doubles ("parts"), how parts of two blocks merge, and
// how they become a result. Walking the array is walk.h's business.
//
// A fold has: kParts; Out, the type of a result; row(), a contiguous run of numbers to parts;
// columns(), some rows of a strip, each column on its own; merge(); finish().
#pragma once

#include "cpu/fold.h"
#include "cpu/simd/math.h"
#include "ops/reduce/reduce.h"

namespace hl::cpu::HL_ISA {

constexpr int kBlockRows = 32;  // rows of a strip that fold at once
constexpr int kStrip = 512;     // columns of a strip

// Index of the block's first element, and the step from one element (or row) to the next.
struct Where {
  double first, step;
};

template <class T>
struct Block {
  const T* const* row;
  int rows;
  int64_t width;
};

// ---- folds of one pass: y = join over map(x)
// -----------------------------------------------------

// Joins up to kTreeRows rows of one vector of columns to its sum: eight as a tree.
constexpr int kTreeRows = 8;
template <class T, class M, class J, class Load>
HL_INLINE Vec<T> fold_rows(Vec<T> sum, int rows, Load at) {
  if (rows < kTreeRows) {
    for (int r = 0; r < rows; ++r) sum = J::join(sum, M::map(at(r)));
    return sum;
  }
  Vec<T> v[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) v[k] = M::map(at(k));
  for (int k = 0; k < 4; ++k) v[k] = J::join(v[k], v[k + 4]);
  return J::join(sum, J::join(J::join(v[0], v[2]), J::join(v[1], v[3])));
}

template <class T, class M, class J, class Load>
HL_INLINE Vec<T> fold_column(int rows, Load at) {
  Vec<T> sum = set1(J::template kNeutral<T>);
  for (int r = 0; r < rows; r += kTreeRows) {
    const int left = rows - r < kTreeRows ? rows - r : kTreeRows;
    sum = fold_rows<T, M, J>(sum, left,
                             [&](int k) __attribute__((always_inline)) { return at(r + k); });
  }
  return sum;
}

// f(column, lanes, load) for each vector of columns; load(r) reads it from row r.
template <class T, class F>
HL_INLINE void for_columns(const Block<T>& b, F f) {
  constexpr int L = kLanes<T>;
  int64_t c = 0;
  for (; c + L <= b.width; c += L)
    f(c, L, [&](int r) __attribute__((always_inline)) { return load(b.row[r] + c); });
  if (c < b.width) {
    const int n = int(b.width - c);
    f(c, n, [&](int r) __attribute__((always_inline)) { return load_n(b.row[r] + c, n); });
  }
}

template <class T>
HL_INLINE void put(double* p, Vec<T> v, int lanes) {
  for (int i = 0; i < lanes; ++i) p[i] = double(v[i]);
}

template <class T_, class M, class J>
struct OnePass {
  using T = T_;
  using Out = T;
  static constexpr int kParts = J::template kParts<T>;

  static HL_INLINE void row(const T* x, int64_t n, Where, double (&p)[kParts]) {
    p[0] = double(fold_run<T, M, J>(x, n));
    if constexpr (kParts > 1) p[1] = 0;
  }
  static HL_INLINE void columns(const Block<T>& b, Where, double (*p)[kStrip]) {
    // Not more rows at once than the hardware foresees.
    alignas(64) T sums[kStrip];
    for (int r = 0; r < b.rows; r += kTreeRows) {
      const int rows = b.rows - r < kTreeRows ? b.rows - r : kTreeRows;
      const bool last = r + rows == b.rows;
      for_columns(b, [&](int64_t c, int lanes, auto at) __attribute__((always_inline)) {
        Vec<T> sum = r ? load(sums + c) : set1(J::template kNeutral<T>);
        sum = fold_rows<T, M, J>(sum, rows,
                                 [&](int k) __attribute__((always_inline)) { return at(r + k); });
        if (last) {
          put<T>(p[0] + c, sum, lanes);
        } else {
          store(sums + c, sum);
        }
      });
    }
    if constexpr (kParts > 1) {
      for (int64_t c = 0; c < b.width; ++c) p[1][c] = 0;
    }
  }
  static HL_INLINE void merge(D (&a)[kParts], double, const D (&b)[kParts], double) {
    J::merge(a, b);
  }
  static HL_INLINE D finish(const D (&p)[kParts], const ReduceShape& s) {
    const D total = J::total(p);
    if (s.op == ReduceOp::kMean) return total / set1(double(s.count));
    if (s.op == ReduceOp::kNorm2) return sqrt(total);
    return total;
  }
};

// ---- folds of two passes over a block that stays in cache
// ----------------------------------------

// parts: mean, what is left of it below its last bit, sum of squared deviations, and for float64
// what is left of that
template <class T_>
struct Variance {
  using T = T_;
  using Out = T;
  static constexpr int kParts = sizeof(T) == 8 ? 4 : 3;

  static HL_INLINE void row(const T* x, int64_t n, Where, double (&p)[kParts]) {
    constexpr int L = kLanes<T>;
    constexpr int64_t kShort = 16 * 4 * L;  // squares of T in one chain of roundings
    const T mean = fold_run<T, Same, Add>(x, n) / T(n);
    const Vec<T> m = set1(mean);
    double rest = 0, squares = 0;
    for (int64_t start = 0; start < n; start += kShort) {
      const int64_t stop = least(n, start + kShort);
      Vec<T> e[4] = {}, q[4] = {};
      int64_t i = start;
      for (; i + 4 * L <= stop; i += 4 * L) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k) {
          const Vec<T> d = load(x + i + k * L) - m;
          e[k] += d, q[k] = fma(d, d, q[k]);
        }
      }
      for (; i < stop; i += L) {
        const int64_t left = least(L, stop - i);
        const Vec<T> d = first_of<T>(load_n(x + i, left) - m, left, Vec<T>{});
        e[0] += d, q[0] = fma(d, d, q[0]);
      }
      rest += double(hsum((e[0] + e[2]) + (e[1] + e[3])));
      squares += double(hsum((q[0] + q[2]) + (q[1] + q[3])));
    }
    settle(double(mean), rest, squares, double(n), p[0], p[1], p[2]);
    if constexpr (kParts == 4) p[3] = 0;
  }
  static HL_INLINE void columns(const Block<T>& b, Where, double (*p)[kStrip]) {
    const Vec<T> n = set1(T(b.rows));
    for_columns(b, [&](int64_t c, int lanes, auto at) __attribute__((always_inline)) {
      const Vec<T> m = fold_column<T, Same, Add>(b.rows, at) / n;
      Vec<T> e = {}, q = {};
      for (int r = 0; r < b.rows; ++r) {
        const Vec<T> d = at(r) - m;
        e += d, q = fma(d, d, q);
      }
      for (int i = 0; i < lanes; ++i) {
        settle(double(m[i]), double(e[i]), double(q[i]), b.rows, p[0][c + i], p[1][c + i],
               p[2][c + i]);
        if constexpr (kParts == 4) p[3][c + i] = 0;
      }
    });
  }
  // The deviations from a rounded mean do not quite sum to 0: their mean belongs to the mean.
  static HL_INLINE void settle(double m, double e, double q, double n, double& mean, double& rest,
                               double& squares) {
    mean = m, rest = e / n, squares = q - e * (e / n);
  }
  static HL_INLINE void merge(D (&a)[kParts], double na, const D (&b)[kParts], double nb) {
    const D delta = (b[0] - a[0]) + (b[1] - a[1]);
    const D share = set1(nb / (na + nb));
    const D apart = delta * delta * (share * set1(na));
    if constexpr (kParts == 3) {
      a[2] = a[2] + b[2] + apart;
    } else {
      D first, second;
      two_sum(a[2], b[2], a[2], first);
      two_sum(a[2], apart, a[2], second);
      a[3] += b[3] + (first + second);
    }
    D rest;
    two_sum(a[0], a[1] + delta * share, a[0], rest);
    a[1] = rest;
  }
  static HL_INLINE D finish(const D (&p)[kParts], const ReduceShape& s) {
    const double left = double(s.count) - s.correction;
    D squares = p[2];
    if constexpr (kParts == 4) {  // an infinite sum has NaN for its rounding error
      squares = select(abs(p[2]) < set1(kInf<double>), p[2] + p[3], p[2]);
    }
    const D var = max(squares, D{}) / set1(left > 0 ? left : 0.0);
    return s.op == ReduceOp::kStd ? sqrt(var) : var;
  }
};

// exp(x - m) is wanted, but inf - inf is not a number: an infinite largest element is not taken
// away.
template <class V>
HL_INLINE V finite_or_zero(V m) {
  return select(abs(m) == set1(kInf<Elem<V>>), V{}, m);
}

// parts: the largest element m, sum of exp(x - m)
template <class T_>
struct LogSumExp {
  using T = T_;
  using Out = T;
  static constexpr int kParts = 2;

  static HL_INLINE void row(const T* x, int64_t n, Where, double (&p)[2]) {
    constexpr int L = kLanes<T>;
    const T most = fold_run<T, Same, Larger>(x, n);
    const Vec<T> m = finite_or_zero(set1(most));
    Vec<T> s[2] = {};
    int64_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
      s[0] += exp(load(x + i) - m);
      s[1] += exp(load(x + i + L) - m);
    }
    for (; i < n; i += L) {
      const int64_t left = n - i < L ? n - i : L;
      s[0] += first_of<T>(exp(load_n(x + i, left) - m), left, Vec<T>{});
    }
    p[0] = double(most), p[1] = double(hsum(s[0] + s[1]));
  }
  static HL_INLINE void columns(const Block<T>& b, Where, double (*p)[kStrip]) {
    for_columns(b, [&](int64_t c, int lanes, auto at) __attribute__((always_inline)) {
      const Vec<T> most = fold_column<T, Same, Larger>(b.rows, at);
      const Vec<T> m = finite_or_zero(most);
      Vec<T> s = {};
      for (int r = 0; r < b.rows; ++r) s += exp(at(r) - m);
      put<T>(p[0] + c, most, lanes);
      put<T>(p[1] + c, s, lanes);
    });
  }
  static HL_INLINE void merge(D (&a)[2], double, const D (&b)[2], double) {
    const D m = max(a[0], b[0]);
    a[1] = a[1] * rescale(a[0], m) + b[1] * rescale(b[0], m);
    a[0] = m;
  }
  static HL_INLINE D rescale(D from, D to) {
    const D one = set1(1.0);
    const D factor = select(from == to, one, exp(from - to));
    return select(from == set1(-kInf<double>), select(from == to, one, D{}), factor);
  }
  static HL_INLINE D finish(const D (&p)[2], const ReduceShape&) {
    const D y = p[0] + log(p[1]);
    return select((abs(p[0]) == set1(kInf<double>)) | (p[0] != p[0]), p[0], y);
  }
};

// parts: the winner, how often it occurs. The result is the count.
template <class T_, class M, class J>
struct Ties {
  using T = T_;
  using Out = T;
  static constexpr int kParts = 2;

  static HL_INLINE void row(const T* x, int64_t n, Where, double (&p)[2]) {
    constexpr int L = kLanes<T>;
    const T best = fold_run<T, M, J>(x, n);
    const Vec<T> b = set1(best), one = set1(T(1));
    Vec<T> s = {};
    int64_t i = 0;
    for (; i + L <= n; i += L) s += select(M::map(load(x + i)) == b, one, Vec<T>{});
    if (i < n) {
      const Vec<T> v = M::map(load_n(x + i, n - i));
      s += first_of<T>(select(v == b, one, Vec<T>{}), n - i, Vec<T>{});
    }
    p[0] = double(best), p[1] = double(hsum(s));
  }
  static HL_INLINE void columns(const Block<T>& b, Where, double (*p)[kStrip]) {
    for_columns(b, [&](int64_t c, int lanes, auto at) __attribute__((always_inline)) {
      const Vec<T> best = fold_column<T, M, J>(b.rows, at), one = set1(T(1));
      Vec<T> s = {};
      for (int r = 0; r < b.rows; ++r) s += select(M::map(at(r)) == best, one, Vec<T>{});
      put<T>(p[0] + c, best, lanes);
      put<T>(p[1] + c, s, lanes);
    });
  }
  static HL_INLINE void merge(D (&a)[2], double, const D (&b)[2], double) {
    const D best = J::join(a[0], b[0]);
    a[1] = select(a[0] == best, a[1], D{}) + select(b[0] == best, b[1], D{});
    a[0] = best;
  }
  static HL_INLINE D finish(const D (&p)[2], const ReduceShape&) { return p[1]; }
};

// parts: the winner, its index. A later equal does not win, a first NaN does.
template <class T_, class J>
struct First {
  using T = T_;
  using Out = int64_t;
  static constexpr int kParts = 2;

  static HL_INLINE void row(const T* x, int64_t n, Where at, double (&p)[2]) {
    constexpr int L = kLanes<T>;
    const T best = fold_run<T, Same, J>(x, n);
    const bool nan = best != best;
    const Vec<T> b = set1(best);
    int64_t i = 0;
    for (; i + L <= n; i += L) {
      const Vec<T> v = load(x + i);
      if (any(nan ? v != v : v == b)) break;
    }
    while (i < n - 1 && !(nan ? x[i] != x[i] : x[i] == best)) ++i;
    p[0] = double(best), p[1] = at.first + at.step * double(i);
  }
  static HL_INLINE void columns(const Block<T>& b, Where where, double (*p)[kStrip]) {
    for_columns(b, [&](int64_t c, int lanes, auto at) __attribute__((always_inline)) {
      Vec<T> best = at(0), index = {};
      for (int r = 1; r < b.rows; ++r) {
        const Vec<T> v = at(r);
        const auto wins = (J::join(best, v) != best) & (best == best);
        best = select(wins, v, best);
        index = select(wins, set1(T(r)), index);
      }
      put<T>(p[0] + c, best, lanes);
      for (int i = 0; i < lanes; ++i) p[1][c + i] = where.first + where.step * double(index[i]);
    });
  }
  static HL_INLINE void merge(D (&a)[2], double, const D (&b)[2], double) {
    const auto a_nan = a[0] != a[0], b_nan = b[0] != b[0];
    const auto b_better = (J::join(a[0], b[0]) != a[0]) & ~a_nan;  // true for a NaN too
    const auto tie = ((a[0] == b[0]) | (a_nan & b_nan)) & (b[1] < a[1]);
    const auto wins = b_better | tie;
    a[0] = select(wins, b[0], a[0]);
    a[1] = select(wins, b[1], a[1]);
  }
  static HL_INLINE D finish(const D (&p)[2], const ReduceShape&) { return p[1]; }
};

}  // namespace hl::cpu::HL_ISA
