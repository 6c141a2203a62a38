#include "kernel.h"
#include "ops/norm/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kShortRow = 2048;  // several fit the first cache
constexpr int64_t kLongRow = 65536;  // forward, where there are few rows besides
constexpr int64_t kFewRows = 16;

// S (x - m) and S (x - m)^2
template <class T>
HL_INLINE Two centred_sums(const T* x, int64_t n, T m) {
  constexpr int L = kLanes<T>;
  const Vec<T> centre = set1(m);
  Two total = {0, 0};
  for (int64_t start = 0; start < n; start += kRun<T>) {
    const int64_t stop = least(n, start + kRun<T>);
    Vec<T> s[2] = {}, q[2] = {};
    int64_t i = start;
    for (; i + 2 * L <= stop; i += 2 * L) {
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k) {
        const Vec<T> d = load(x + i + k * L) - centre;
        s[k] += d;
        q[k] = fma(d, d, q[k]);
      }
    }
    for (; i < stop; i += L) {
      const int64_t lanes = least(L, stop - i);
      const Vec<T> d = first_of<T>(load_some(x + i, lanes) - centre, lanes, Vec<T>{});
      s[0] += d;
      q[0] = fma(d, d, q[0]);
    }
    total.first += double(hsum(s[0] + s[1]));
    total.second += double(hsum(q[0] + q[1]));
  }
  return total;
}

struct Moments {
  double n, mean, squares;  // squares of the deviations; for RMS of the numbers, and mean = 0
};

template <class T, RowNormKind kind>
HL_INLINE Moments moments(const T* x, int64_t n) {
  const auto each = [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> v = load_some(x + i, lanes);  // lanes beyond the row are 0
    return kind == RowNormKind::kRms ? v * v : v;
  };
  const double count = double(n), sum = sum_over<T>(n, each);
  if constexpr (kind == RowNormKind::kRms) return {count, 0, sum};
  const T m = T(sum / count);
  const Two s = centred_sums(x, n, m);
  return {count, double(m) + s.first / count, s.second - s.first * s.first / count};
}
HL_INLINE Moments join(const Moments& a, const Moments& b) {
  const double n = a.n + b.n, d = b.mean - a.mean;
  return {n, a.mean + d * (b.n / n), a.squares + b.squares + d * d * (a.n * b.n / n)};
}

// xhat = (x - mean) rstd + low, where low is what the mean lost when it was rounded
template <class T>
struct RowMap {
  T mean, rstd, low;
};
template <class T>
HL_INLINE RowMap<T> map_of(const Moments& m, double eps) {
  const double rstd = 1 / __builtin_sqrt(m.squares / m.n + eps);
  const T mean = T(m.mean);
  return {mean, T(rstd), T((double(mean) - m.mean) * rstd)};
}

template <class T, RowNormKind kind, bool Stream>
HL_INLINE void apply_row(const T* x, const T* w, const T* b, T* y, int64_t n, const RowMap<T>& m) {
  const Vec<T> mean = set1(m.mean), rstd = set1(m.rstd), low = set1(m.low);
  const bool ahead = n <= kShortRow;
  for_vectors<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    if (ahead) __builtin_prefetch(x + n + i);  // the next row, which is wanted all at once
    const Vec<T> v = load_some(x + i, lanes);
    const Vec<T> xhat = kind == RowNormKind::kRms ? v * rstd : fma(v - mean, rstd, low);
    const Vec<T> z = fma(xhat, load_some(w + i, lanes), load_some(b + i, lanes));
    if constexpr (Stream) {
      store_past_cache(y + i, z);
    } else {
      store_some(y + i, z, lanes);
    }
  });
}

template <class T, RowNormKind kind, bool Stream>
void rows_forward(Ctx& ctx, const RowNormShape& s, const T* x, const T* w, const T* b, T* y,
                  T* mean, T* rstd) {
  const auto keep = [=](int64_t r, const RowMap<T>& m) __attribute__((always_inline)) {
    if (mean) mean[r] = m.mean;
    if (rstd) rstd[r] = m.rstd;
  };
  if (s.n <= kLongRow || s.rows >= kFewRows) {
    parallel_for(ctx, s.rows, most(1, kTask / s.n), [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r) {
        const T* row = x + r * s.n;
        const auto m = map_of<T>(moments<T, kind>(row, s.n), s.eps);
        apply_row<T, kind, Stream>(row, w, b, y + r * s.n, s.n, m);
        keep(r, m);
      }
      if (Stream) store_fence();
    });
    return;
  }
  const int64_t pieces = ceil_div(s.n, kPiece);
  Moments* part = reinterpret_cast<Moments*>(ctx.shared + filled_bytes<T>(s));
  for (int64_t r = 0; r < s.rows; ++r) {
    const T* row = x + r * s.n;
    parallel_for(ctx, pieces, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t k = begin; k < end; ++k) {
        part[k] = moments<T, kind>(row + k * kPiece, least(kPiece, s.n - k * kPiece));
      }
    });
    for (int64_t k = 1; k < pieces; ++k) part[0] = join(part[0], part[k]);
    const auto m = map_of<T>(part[0], s.eps);
    keep(r, m);
    parallel_for(ctx, pieces, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t k = pieces - end; k < pieces - begin; ++k) {
        const int64_t at = k * kPiece;
        apply_row<T, kind, Stream>(row + at, w + at, b + at, y + r * s.n + at,
                                   least(kPiece, s.n - at), m);
      }
      if (Stream) store_fence();
    });
  }
}

}  // namespace

template <class T>
Plan row_norm_forward_plan(const RowNormShape& s) {
  const bool whole = s.n <= kLongRow || s.rows >= kFewRows;
  Plan p = row_plan<T>(s, 2);
  p.algorithm = whole ? "rows" : "pieces of rows";
  p.shared_bytes = filled_bytes<T>(s);
  if (!whole) p.shared_bytes += ceil_div(s.n, kPiece) * int64_t(sizeof(Moments));
  return p;
}
template <class T>
void row_norm_forward(Ctx& ctx, const RowNormShape& s, const T* x, const T* w, const T* b, T* y,
                      T* mean, T* rstd) {
  T* spare = reinterpret_cast<T*>(ctx.shared);
  if (!w) w = filled(spare, s.n, T(1));
  if (!b) b = filled(spare + s.n, s.n, T(0));
  const bool rms = s.kind == RowNormKind::kRms;
  constexpr RowNormKind kLayer = RowNormKind::kLayer, kRms = RowNormKind::kRms;
  if (goes_past(ctx, s, y, 1)) {
    const auto run = rms ? rows_forward<T, kRms, true> : rows_forward<T, kLayer, true>;
    run(ctx, s, x, w, b, y, mean, rstd);
  } else {
    const auto run = rms ? rows_forward<T, kRms, false> : rows_forward<T, kLayer, false>;
    run(ctx, s, x, w, b, y, mean, rstd);
  }
}

HL_DEFINE_KERNEL(row_norm_forward);

}  // namespace hl::cpu::HL_ISA
