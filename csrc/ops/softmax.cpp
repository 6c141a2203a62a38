#include "ops/softmax.h"

#include "cpu/exp_run.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kSoftmaxGrain = 16384;  // elements worth a task of their own
constexpr int64_t kLongLine = 65536;  // from here on exp twice is cheaper than y out and in again
constexpr int64_t kColumns = 256;     // of a strip
constexpr int kFlush = 32;            // rows summed in T before the sum goes on in double

// ---- lines that are contiguous
// -------------------------------------------------------------------

template <class T>
HL_INLINE void line_short(const T* x, int64_t n, SoftmaxKind kind, T* y) {
  const Vec<T> v = load_n(x, n);
  const Vec<T> d = v - set1(hmax(first_of<T>(v, n, set1(-kInf<T>))));
  const Vec<T> e = first_of<T>(exp(d), n, Vec<T>{});
  const Vec<T> s = set1(hsum(e));
  store_n(y, kind == SoftmaxKind::kLog ? d - log(s) : e / s, n);
}

template <class T>
HL_INLINE void line(const T* x, int64_t n, SoftmaxKind kind, T* y) {
  const T most = fold_run<T, Same, Larger>(x, n);
  const Vec<T> m = set1(most);
  if (kind == SoftmaxKind::kPlain && n < kLongLine) {
    const double s = sum_over<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> e = exp(load_some(x + i, lanes) - m);
      store_some(y + i, e, lanes);
      return lanes == kLanes<T> ? e : first_of<T>(e, lanes, Vec<T>{});
    });
    const Vec<T> scale = set1(T(1 / s));
    for_vectors<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      store_some(y + i, load_some(y + i, lanes) * scale, lanes);
    });
    return;
  }
  const double s = sum_exp(x, n, most);
  const Vec<T> scale = set1(T(1 / s)), low = set1(log_of<T>(s));
  for_vectors<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> d = load_some(x + i, lanes) - m;
    store_some(y + i, kind == SoftmaxKind::kLog ? d - low : exp(d) * scale, lanes);
  });
}

template <class T>
HL_INLINE void line_backward(const T* dy, const T* y, int64_t n, SoftmaxKind kind, T* dx) {
  const bool log = kind == SoftmaxKind::kLog;
  const double total = sum_over<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> g = load_some(dy + i, lanes);  // lanes beyond the line are 0
    return log ? g : g * load_some(y + i, lanes);
  });
  const Vec<T> s = set1(T(total));
  for_vectors<T>(n, [=](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> g = load_some(dy + i, lanes), v = load_some(y + i, lanes);
    store_some(dx + i, log ? fma(-exp(v), s, g) : v * (g - s), lanes);
  });
}

// ---- lines side by side: strips of columns
// -------------------------------------------------------

template <class T>
struct Strip {
  T most[kColumns], part[kColumns];
  double sum[kColumns];
};

// Adds f(row, column, lanes) over `rows` into sum, a few rows at a time in T.
template <class T, class F>
HL_INLINE void column_sums(Strip<T>& s, int64_t rows, int64_t width, F f) {
  for (int64_t c = 0; c < width; ++c) s.sum[c] = 0;
  for (int64_t start = 0; start < rows; start += kFlush) {
    const int64_t stop = least(rows, start + kFlush);
    for (int64_t c = 0; c < width; ++c) s.part[c] = 0;
    for (int64_t r = start; r < stop; ++r) {
      for_vectors<T>(width, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
        store_some(s.part + c, load_some(s.part + c, lanes) + f(r, c, lanes), lanes);
      });
    }
    for (int64_t c = 0; c < width; ++c) s.sum[c] += double(s.part[c]);
  }
}

template <class T>
HL_INLINE void strip_forward(Strip<T>& s, const T* x, int64_t rows, int64_t stride, int64_t width,
                             SoftmaxKind kind, T* y) {
  const bool log_of_it = kind == SoftmaxKind::kLog;
  for (int64_t c = 0; c < width; ++c) s.most[c] = x[c];
  for (int64_t r = 1; r < rows; ++r) {
    for_vectors<T>(width, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
      const Vec<T> v = load_some(x + r * stride + c, lanes);
      store_some(s.most + c, max(load_some(s.most + c, lanes), v), lanes);
    });
  }
  column_sums(
      s, rows, width, [&](int64_t r, int64_t c, int64_t lanes) __attribute__((always_inline)) {
        const Vec<T> d = load_some(x + r * stride + c, lanes) - load_some(s.most + c, lanes);
        const Vec<T> e = exp(d);
        store_some(y + r * stride + c, log_of_it ? d : e, lanes);
        return e;
      });
  for (int64_t c = 0; c < width; ++c) s.part[c] = log_of_it ? T(s.sum[c]) : T(1 / s.sum[c]);
  if (log_of_it) {
    for_vectors<T>(width, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
      store_some(s.part + c, log(load_some(s.part + c, lanes)), lanes);
    });
  }
  for (int64_t r = 0; r < rows; ++r) {
    for_vectors<T>(width, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
      T* to = y + r * stride + c;
      const Vec<T> v = load_some(to, lanes), f = load_some(s.part + c, lanes);
      store_some(to, log_of_it ? v - f : v * f, lanes);
    });
  }
}

template <class T>
HL_INLINE void strip_backward(Strip<T>& s, const T* dy, const T* y, int64_t rows, int64_t stride,
                              int64_t width, SoftmaxKind kind, T* dx) {
  const bool log = kind == SoftmaxKind::kLog;
  column_sums(s, rows, width,
              [&](int64_t r, int64_t c, int64_t lanes) __attribute__((always_inline)) {
                const Vec<T> g = load_some(dy + r * stride + c, lanes);
                return log ? g : g * load_some(y + r * stride + c, lanes);
              });
  for (int64_t c = 0; c < width; ++c) s.part[c] = T(s.sum[c]);
  for (int64_t r = 0; r < rows; ++r) {
    for_vectors<T>(width, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
      const int64_t at = r * stride + c;
      const Vec<T> g = load_some(dy + at, lanes), v = load_some(y + at, lanes);
      const Vec<T> t = load_some(s.part + c, lanes);
      store_some(dx + at, log ? fma(-exp(v), t, g) : v * (g - t), lanes);
    });
  }
}

// f(strip, offset of its first element, columns), in parallel
template <class T, class F>
void for_strips(Ctx& ctx, const SoftmaxShape& s, F f) {
  const int64_t strips = ceil_div(s.inner, kColumns);
  const int64_t grain = most(1, kSoftmaxGrain / (s.length * least(s.inner, kColumns)));
  parallel_for(ctx, s.outer * strips, grain, [&](int64_t begin, int64_t end, int worker) {
    Strip<T>& strip = *worker_scratch<Strip<T>>(ctx, worker);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t % strips * kColumns;
      f(strip, t / strips * s.length * s.inner + first, least(kColumns, s.inner - first));
    }
  });
}

template <class T>
Plan softmax_plan(const SoftmaxShape& s, int arrays) {
  Plan p = {};
  p.algorithm = s.inner > 1 ? "columns" : "lines";
  if (s.inner > 1) p.worker_bytes = sizeof(Strip<T>);
  const double n = double(s.outer) * double(s.length) * double(s.inner);
  p.flops = 4 * n;
  p.bytes = arrays * n * sizeof(T);
  return p;
}

template <class T>
Plan glu_plan(const GluShape& s, int arrays) {
  Plan p = {};
  p.algorithm = "halves";
  p.flops = 3.0 * double(s.outer) * double(s.half);
  p.bytes = arrays * double(s.outer) * double(s.half) * sizeof(T);
  return p;
}

// f(position in x's first half, position in y, lanes), in parallel; x's second half is s.half
// further.
template <class T, class F>
HL_INLINE void for_halves(Ctx& ctx, const GluShape& s, F f) {
  const int64_t pieces = ceil_div(s.half, kSoftmaxGrain);
  const int64_t grain = most(1, kSoftmaxGrain / s.half);
  parallel_for(ctx, s.outer * pieces, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t o = t / pieces, from = t % pieces * kSoftmaxGrain;
      const int64_t n = least(kSoftmaxGrain, s.half - from);
      for_vectors<T>(n, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
        f(o * 2 * s.half + from + i, o * s.half + from + i, lanes);
      });
    }
  });
}

}  // namespace

template <class T>
Plan softmax_forward_plan(const SoftmaxShape& s) {
  return softmax_plan<T>(s, 2);
}
template <class T>
void softmax_forward(Ctx& ctx, const SoftmaxShape& s, const T* x, T* y) {
  if (s.inner > 1) {
    for_strips<T>(ctx, s, [&](Strip<T>& strip, int64_t at, int64_t width) {
      strip_forward(strip, x + at, s.length, s.inner, width, s.kind, y + at);
    });
    return;
  }
  const int64_t n = s.length;
  parallel_for(ctx, s.outer, most(1, kSoftmaxGrain / n), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      if (n <= kLanes<T>) {
        line_short(x + i * n, n, s.kind, y + i * n);
      } else {
        line(x + i * n, n, s.kind, y + i * n);
      }
    }
  });
}

template <class T>
Plan softmax_backward_plan(const SoftmaxShape& s) {
  return softmax_plan<T>(s, 3);
}
template <class T>
void softmax_backward(Ctx& ctx, const SoftmaxShape& s, const T* dy, const T* y, T* dx) {
  if (s.inner > 1) {
    for_strips<T>(ctx, s, [&](Strip<T>& strip, int64_t at, int64_t width) {
      strip_backward(strip, dy + at, y + at, s.length, s.inner, width, s.kind, dx + at);
    });
    return;
  }
  const int64_t n = s.length;
  parallel_for(ctx, s.outer, most(1, kSoftmaxGrain / n), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      line_backward(dy + i * n, y + i * n, n, s.kind, dx + i * n);
    }
  });
}

template <class T>
Plan glu_forward_plan(const GluShape& s) {
  return glu_plan<T>(s, 3);
}
template <class T>
void glu_forward(Ctx& ctx, const GluShape& s, const T* x, T* y) {
  for_halves<T>(ctx, s, [&](int64_t ix, int64_t iy, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> a = load_some(x + ix, lanes), b = load_some(x + ix + s.half, lanes);
    store_some(y + iy, a * sigmoid(b), lanes);
  });
}

template <class T>
Plan glu_backward_plan(const GluShape& s) {
  return glu_plan<T>(s, 5);
}
template <class T>
void glu_backward(Ctx& ctx, const GluShape& s, const T* dy, const T* x, T* dx) {
  for_halves<T>(ctx, s, [&](int64_t ix, int64_t iy, int64_t lanes) __attribute__((always_inline)) {
    const Vec<T> a = load_some(x + ix, lanes), b = load_some(x + ix + s.half, lanes);
    const Vec<T> g = load_some(dy + iy, lanes);
    const Vec<T> gate = sigmoid(b), other = sigmoid(-b);  // 1 - gate, without losing its last bits
    store_some(dx + ix, g * gate, lanes);
    store_some(dx + ix + s.half, g * a * gate * other, lanes);
  });
}

HL_DEFINE_KERNEL(softmax_forward);
HL_DEFINE_KERNEL(softmax_backward);
HL_DEFINE_KERNEL(glu_forward);
HL_DEFINE_KERNEL(glu_backward);

}  // namespace hl::cpu::HL_ISA
