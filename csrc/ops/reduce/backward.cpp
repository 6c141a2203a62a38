#include "kernel.h"
#include "ops/reduce/walk.h"

namespace hl::cpu::HL_ISA {

HL_DECLARE_KERNEL_ENTRY(reduce_forward);

namespace {

// The statistic that an op's backward needs first, a reduction of its own; kSum stands for none.
ReduceOp statistic_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMax:
      return ReduceOp::kTiesMax;
    case ReduceOp::kMin:
      return ReduceOp::kTiesMin;
    case ReduceOp::kNormInf:
      return ReduceOp::kTiesNormInf;
    case ReduceOp::kNormNegInf:
      return ReduceOp::kTiesNormNegInf;
    case ReduceOp::kProd:
      return ReduceOp::kProdNonZero;
    case ReduceOp::kVar:
    case ReduceOp::kStd:
      return ReduceOp::kMean;
    default:
      return ReduceOp::kSum;
  }
}

ReduceShape statistic_shape(const ReduceBackwardShape& s) {
  ReduceShape f = s.forward;
  f.op = statistic_of(f.op);
  return f;
}

// What of one element's inputs goes into its gradient: x, dy, y, and up to two statistics.
template <class T>
struct At {
  Vec<T> x, dy, y, a, b;
};

template <class V>
HL_INLINE V sign(V x) {
  const V one = set1(Elem<V>(1));
  return select(x > V{}, one, select(x < V{}, -one, x));  // NaN stays
}
template <class V, class M>
HL_INLINE V one_where(M mask) {
  return select(mask, set1(Elem<V>(1)), V{});
}

// In place of a number of ties: no tie at all is a NaN among the inputs.
template <class V>
HL_INLINE V share(V dy, V ties) {
  return select(ties == V{}, set1(Elem<V>(__builtin_nan(""))), dy / ties);
}

template <class T, class F>
HL_INLINE void with_rule(ReduceOp op, T scale, F f) {
  using V = Vec<T>;
  const V c = set1(scale);
  auto scaled = [c](const At<T>& e) __attribute__((always_inline)) { return e.dy * c; };
  auto ties = [](const At<T>& e) __attribute__((always_inline)) {
    return share(e.dy, e.a) * one_where<V>(e.x == e.y);
  };
  auto signed_ties = [](const At<T>& e) __attribute__((always_inline)) {
    return share(e.dy, e.a) * sign(e.x) * one_where<V>(abs(e.x) == e.y);
  };
  auto norm_1 = [](const At<T>& e) __attribute__((always_inline)) { return e.dy * sign(e.x); };
  auto norm_2 = [](const At<T>& e) __attribute__((always_inline)) {
    return select(e.y == V{}, V{}, e.dy * (e.x / e.y));
  };
  auto var = [c](const At<T>& e) __attribute__((always_inline)) { return e.dy * c * (e.x - e.a); };
  auto deviation = [c](const At<T>& e) __attribute__((always_inline)) {
    return select(e.y == V{}, V{}, e.dy * c * (e.x - e.a) / e.y);
  };
  // a: the product of what is not 0, b: how many are 0
  auto prod = [](const At<T>& e) __attribute__((always_inline)) {
    const V one_zero = select(e.x == V{}, e.dy * e.a, V{});
    return select(e.b == V{}, e.dy * (e.a / e.x), select(e.b == set1(T(1)), one_zero, V{}));
  };
  auto lse = [](const At<T>& e)
                 __attribute__((always_inline)) { return e.dy * exp(e.x - finite_or_zero(e.y)); };
  switch (op) {
    case ReduceOp::kMax:
    case ReduceOp::kMin:
      return f(ties);
    case ReduceOp::kNormInf:
    case ReduceOp::kNormNegInf:
      return f(signed_ties);
    case ReduceOp::kNorm1:
      return f(norm_1);
    case ReduceOp::kNorm2:
      return f(norm_2);
    case ReduceOp::kVar:
      return f(var);
    case ReduceOp::kStd:
      return f(deviation);
    case ReduceOp::kProd:
      return f(prod);
    case ReduceOp::kLogSumExp:
      return f(lse);
    default:
      return f(scaled);
  }
}

double scale_of(const ReduceShape& s) {
  const double n = double(s.count), left = n - s.correction > 0 ? n - s.correction : 0;
  switch (s.op) {
    case ReduceOp::kMean:
      return 1 / n;
    case ReduceOp::kVar:
      return 2 / left;
    case ReduceOp::kStd:
      return 1 / left;
    case ReduceOp::kNorm0:
      return 0;
    default:
      return 1;
  }
}

constexpr int64_t kSpreadRun = 512;  // elements between two looks at the strides

template <class T>
struct Operand {
  const T* p;
  int64_t stride;  // along the last axis

  // Where the next n elements lie contiguous: in place, or gathered into `copy`.
  HL_INLINE const T* run(int64_t offset, int64_t i, int64_t n, T* copy) const {
    const T* from = p + offset + i * stride;
    if (stride == 1 || n == 1) return from;
    gather(from, stride, n, copy);
    return copy;
  }
};

// What the reductions need that find the statistics.
template <class T>
Plan statistics_plan(ReduceShape f) {
  if (f.op == ReduceOp::kSum) return {};
  const auto& forward = reduce_forward_kernel<T>::entry;
  Plan p = forward.plan(f);
  if (f.op == ReduceOp::kProdNonZero) {
    f.op = ReduceOp::kZeros;
    const Plan zeros = forward.plan(f);
    p.shared_bytes = most(p.shared_bytes, zeros.shared_bytes);
    p.worker_bytes = most(p.worker_bytes, zeros.worker_bytes);
  }
  p.shared_bytes = round_up(p.shared_bytes, 64);
  return p;
}

}  // namespace

template <class T>
Plan reduce_backward_plan(const ReduceBackwardShape& s) {
  Plan p = {};
  if (s.forward.count == 0 || s.forward.outputs == 0) return p;
  const ReduceShape f = statistic_shape(s);
  const int64_t statistics = f.op == ReduceOp::kSum ? 0 : f.op == ReduceOp::kProdNonZero ? 2 : 1;
  p = statistics_plan<T>(f);
  p.algorithm = "spread";
  p.shared_bytes += statistics * s.forward.outputs * int64_t(sizeof(T));
  p.worker_bytes = most(p.worker_bytes, 5 * kSpreadRun * int64_t(sizeof(T)));
  p.bytes = double(s.forward.outputs) * double(s.forward.count) * sizeof(T) * 2;
  return p;
}

template <class T>
void reduce_backward(Ctx& ctx, const ReduceBackwardShape& s, const T* dy, const T* x, const T* y,
                     T* dx) {
  const ReduceOp op = s.forward.op;
  const T *a = nullptr, *b = nullptr;
  ReduceShape f = statistic_shape(s);
  if (f.op != ReduceOp::kSum) {
    const auto& forward = reduce_forward_kernel<T>::entry;
    T* out = reinterpret_cast<T*>(ctx.shared + statistics_plan<T>(f).shared_bytes);
    forward.run(ctx, f, x, out);
    a = out;
    if (f.op == ReduceOp::kProdNonZero) {
      f.op = ReduceOp::kZeros;
      forward.run(ctx, f, x, out + f.outputs);
      b = out + f.outputs;
    }
  }
  const int last = s.dims - 1;
  const int64_t length = s.size[last];
  const bool folds = s.stat_stride[last] == 0;  // one dy, y and statistic for the whole run
  const int64_t pieces = ceil_div(length, kReduceGrain);
  const int64_t runs = s.forward.outputs * s.forward.count / length;
  const bool need_x = op != ReduceOp::kSum && op != ReduceOp::kMean;
  const bool need_y = y && need_x;
  const int64_t grain = most(1, kReduceGrain / length);

  with_rule<T>(op, T(scale_of(s.forward)), [&](auto rule) __attribute__((always_inline)) {
    parallel_for(ctx, runs * pieces, grain, [&](int64_t begin, int64_t end, int worker) {
      T* copy = worker_scratch<T>(ctx, worker);
      Positions wx = {last, s.size, s.x_stride, s.dy_stride, {}, 0, 0};
      Positions wy = {last, s.size, s.y_stride, s.stat_stride, {}, 0, 0};
      wx.seek(begin / pieces), wy.seek(begin / pieces);
      const Operand<T> ox = {x, s.x_stride[last]}, ody = {dy, s.dy_stride[last]};
      const Operand<T> oy = {y, s.y_stride[last]}, oa = {a, s.stat_stride[last]};
      const Operand<T> ob = {b, s.stat_stride[last]};
      for (int64_t t = begin; t < end; ++t) {
        const int64_t from = t % pieces * kReduceGrain, to = least(length, from + kReduceGrain);
        At<T> e = {};
        if (folds) {
          e.dy = set1(dy[wx.b]);
          if (need_y) e.y = set1(y[wy.a]);
          if (a) e.a = set1(a[wy.b]);
          if (b) e.b = set1(b[wy.b]);
        }
        for (int64_t i = from; i < to; i += kSpreadRun) {
          const int64_t n = least(kSpreadRun, to - i);
          T* out = dx + t / pieces * length + i;
          const T* px = need_x ? ox.run(wx.a, i, n, copy) : nullptr;
          if (folds) {
            for (int64_t j = 0; j < n; j += kLanes<T>) {
              const int64_t left = least(kLanes<T>, n - j);
              if (px) e.x = left == kLanes<T> ? load(px + j) : load_n(px + j, left);
              const Vec<T> g = rule(e);
              left == kLanes<T> ? store(out + j, g) : store_n(out + j, g, left);
            }
            continue;
          }
          const T* pdy = ody.run(wx.b, i, n, copy + kSpreadRun);
          const T* py = need_y ? oy.run(wy.a, i, n, copy + 2 * kSpreadRun) : nullptr;
          const T* pa = a ? oa.run(wy.b, i, n, copy + 3 * kSpreadRun) : nullptr;
          const T* pb = b ? ob.run(wy.b, i, n, copy + 4 * kSpreadRun) : nullptr;
          for (int64_t j = 0; j < n; j += kLanes<T>) {
            const int64_t left = least(kLanes<T>, n - j);
            e.dy = load_n(pdy + j, left);
            if (px) e.x = load_n(px + j, left);
            if (py) e.y = load_n(py + j, left);
            if (pa) e.a = load_n(pa + j, left);
            if (pb) e.b = load_n(pb + j, left);
            store_n(out + j, rule(e), left);
          }
        }
        if ((t + 1) % pieces == 0) wx.next(), wy.next();
      }
    });
  });
}

HL_DEFINE_KERNEL(reduce_backward);

}  // namespace hl::cpu::HL_ISA
