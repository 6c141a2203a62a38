#include "ops/optim/multi.h"

#include "cpu/flat.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

// ---- sums in double ----------------------------------------------------------------------------
typedef float HalfFloats __attribute__((vector_size(kVectorBytes / 2), aligned(4), may_alias));

HL_INLINE Vec<double> load_wide(const double* x) { return load(x); }
HL_INLINE Vec<double> load_wide(const float* x) {
  return __builtin_convertvector(*reinterpret_cast<const HalfFloats*>(x), Vec<double>);
}

struct One {
  template <class V>
  HL_INLINE static V add(V sum, V x) {
    return sum + abs(x);
  }
  HL_INLINE static double add(double sum, double x) { return sum + __builtin_fabs(x); }
};
struct Two {
  template <class V>
  HL_INLINE static V add(V sum, V x) {
    return fma(x, x, sum);
  }
  HL_INLINE static double add(double sum, double x) { return sum + x * x; }
};

template <class Term, class T>
HL_INLINE double piece_sum(const T* x, int64_t n) {
  using V = Vec<double>;
  constexpr int L = kLanes<double>;
  V a = zero<double>(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    a = Term::add(a, load_wide(x + i));
    b = Term::add(b, load_wide(x + i + L));
    c = Term::add(c, load_wide(x + i + 2 * L));
    d = Term::add(d, load_wide(x + i + 3 * L));
  }
  for (; i + L <= n; i += L) a = Term::add(a, load_wide(x + i));
  double sum = hsum((a + b) + (c + d));
  for (; i < n; ++i) sum = Term::add(sum, double(x[i]));
  return sum;
}

// NaN if any element is.
HL_INLINE double larger(double a, double b) { return b > a || b != b ? b : a; }

template <class T>
HL_INLINE double piece_max(const T* x, int64_t n) {
  using V = Vec<T>;
  constexpr int L = kLanes<T>;
  V m = zero<T>();
  int64_t i = 0;
  for (; i + L <= n; i += L) m = max(m, abs(load(x + i)));
  if (i < n) m = max(m, abs(load_n(x + i, n - i)));
  return double(hmax(m));
}

template <class F>
void each(Ctx& ctx, const MultiShape& s, const F& f) {
  parallel_for(ctx, s.total, kFlatGrain, f);
}

template <class T>
Plan elementwise_plan(const MultiShape& s, double streams) {
  Plan p = {};
  p.algorithm = "flat";
  p.bytes = double(s.total) * sizeof(T) * streams;
  return p;
}

// x = f(x, y) on all tensors; f is given no y where there is none.
template <class T, class F>
HL_INLINE void update(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors, const F& f) {
  constexpr int L = kLanes<T>;
  each(ctx, s, [&](int64_t begin, int64_t end, int) {
    each_piece(tensors, s.tensors, begin, end, [&](const MultiTensor<T>& t, int64_t i, int64_t to) {
      const T* y = t.y ? t.y : t.x;
      for (; i + L <= to; i += L) store(t.x + i, f(load(t.x + i), load(y + i)));
      if (i < to) store_n(t.x + i, f(load_n(t.x + i, to - i), load_n(y + i, to - i)), to - i);
    });
  });
}

}  // namespace

template <class T>
Plan multi_norm_plan(const MultiShape& s) {
  Plan p = elementwise_plan<T>(s, 1);
  p.shared_bytes = ceil_div(s.total, kFlatGrain) * int64_t(sizeof(double));
  return p;
}

template <class T>
void multi_norm(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors, double* norm) {
  double* part = reinterpret_cast<double*>(ctx.shared);
  const int64_t parts = ceil_div(s.total, kFlatGrain);
  if (parts == 0) {
    *norm = 0;
    return;
  }
  each(ctx, s, [&](int64_t begin, int64_t end, int) {
    double sum = 0;
    each_piece(tensors, s.tensors, begin, end,
               [&](const MultiTensor<T>& t, int64_t from, int64_t to) {
                 switch (s.order) {
                   case NormOrder::kOne:
                     sum += piece_sum<One>(t.x + from, to - from);
                     break;
                   case NormOrder::kTwo:
                     sum += piece_sum<Two>(t.x + from, to - from);
                     break;
                   case NormOrder::kInfinity:
                     sum = larger(sum, piece_max(t.x + from, to - from));
                     break;
                 }
               });
    part[begin / kFlatGrain] = sum;
  });
  const bool largest = s.order == NormOrder::kInfinity;
  for (int64_t step = 1; step < parts; step *= 2) {
    for (int64_t i = 0; i + step < parts; i += 2 * step) {
      part[i] = largest ? larger(part[i], part[i + step]) : part[i] + part[i + step];
    }
  }
  *norm = s.order == NormOrder::kTwo ? __builtin_sqrt(part[0]) : part[0];
}

template <class T>
Plan multi_scale_plan(const MultiShape& s) {
  return elementwise_plan<T>(s, 2);
}
template <class T>
void multi_scale(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors) {
  const Vec<T> a = set1(T(s.a));
  update(ctx, s, tensors, [&](Vec<T> x, Vec<T>) __attribute__((always_inline)) { return x * a; });
}

template <class T>
Plan multi_clamp_plan(const MultiShape& s) {
  return elementwise_plan<T>(s, 2);
}
template <class T>
void multi_clamp(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors) {
  const Vec<T> low = set1(T(s.a)), high = set1(T(s.b));
  update(ctx, s, tensors,
         [&](Vec<T> x, Vec<T>) __attribute__((always_inline)) { return min(max(x, low), high); });
}

template <class T>
Plan multi_lerp_plan(const MultiShape& s) {
  return elementwise_plan<T>(s, 3);
}
template <class T>
void multi_lerp(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors) {
  const Vec<T> a = set1(T(s.a));
  update(ctx, s, tensors,
         [&](Vec<T> x, Vec<T> y) __attribute__((always_inline)) { return fma(a, y - x, x); });
}

HL_DEFINE_KERNEL(multi_norm);
HL_DEFINE_KERNEL(multi_scale);
HL_DEFINE_KERNEL(multi_clamp);
HL_DEFINE_KERNEL(multi_lerp);

}  // namespace hl::cpu::HL_ISA
