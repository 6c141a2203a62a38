#include "cuda/kernel.h"
#include "ops/reduce/folds.cuh"

namespace hl::cuda {
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

template <class T>
__device__ T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

// dy shared out between ties; none at all means a NaN among the inputs.
template <class T>
__device__ T share(T dy, T ties) {
  return ties == 0 ? T(NAN) : dy / ties;
}

// The gradient of one element from x, dy, y and the statistics a and b, of which only what the op
// needs is read.
template <class T>
__device__ T reduce_gradient(ReduceOp op, T scale, T dy, const T* x, const T* y, const T* a,
                             const T* b) {
  switch (op) {
    case ReduceOp::kMax:
    case ReduceOp::kMin:
      return share(dy, *a) * (*x == *y ? T(1) : T(0));
    case ReduceOp::kNormInf:
    case ReduceOp::kNormNegInf:
      return share(dy, *a) * sign(*x) * (fabs(*x) == *y ? T(1) : T(0));
    case ReduceOp::kNorm1:
      return dy * sign(*x);
    case ReduceOp::kNorm2:
      return *y == 0 ? T(0) : dy * (*x / *y);
    case ReduceOp::kVar:
      return dy * scale * (*x - *a);
    case ReduceOp::kStd:
      return *y == 0 ? T(0) : dy * scale * (*x - *a) / *y;
    case ReduceOp::kProd:  // a: the product of what is not 0, b: how many are 0
      return *b == 0 ? dy * (*a / *x) : *b == 1 && *x == 0 ? dy * *a : T(0);
    case ReduceOp::kLogSumExp:
      return dy * exp(*x - (fabs(*y) == T(INFINITY) ? T(0) : *y));
    default:
      return dy * scale;
  }
}

// Bytes of the reductions' scratch; the statistics lie behind it.
template <class T>
int64_t statistics_bytes(ReduceShape f) {
  f.op = statistic_of(f.op);
  return f.op == ReduceOp::kSum ? 0 : ceil_div(reduction_bytes<T>(f), int64_t(256)) * 256;
}

template <class T>
Plan reduce_backward_plan(const ReduceBackwardShape& s) {
  const double n = double(s.forward.outputs) * double(s.forward.count);
  Plan p = {"a thread per element", nullptr, {1, 1, 1}, 0, 0, n, 2 * n * sizeof(T)};
  const ReduceOp statistic = statistic_of(s.forward.op);
  if (statistic == ReduceOp::kSum) return p;
  const int statistics = statistic == ReduceOp::kProdNonZero ? 2 : 1;
  p.shared_bytes =
      statistics_bytes<T>(s.forward) + statistics * s.forward.outputs * int64_t(sizeof(T));
  return p;
}

template <class T>
void reduce_backward(Ctx& ctx, const ReduceBackwardShape& s, const T* dy, const T* x, const T* y,
                     T* dx) {
  const ReduceOp op = s.forward.op;
  ReduceShape f = s.forward;
  f.op = statistic_of(op);
  T* a = reinterpret_cast<T*>(ctx.shared + statistics_bytes<T>(s.forward));
  T* b = a + f.outputs;
  if (f.op != ReduceOp::kSum) reduce(ctx, f, x, a, ctx.shared);
  if (f.op == ReduceOp::kProdNonZero) {
    f.op = ReduceOp::kZeros;
    reduce(ctx, f, x, b, ctx.shared);
  }
  const T scale = T(scale_of(s.forward));
  each(ctx, s.forward.outputs * s.forward.count, [=] __device__(int64_t i) {
    int64_t rest = i, of_x = 0, of_dy = 0, of_y = 0, of_stat = 0;
    for (int d = s.dims - 1; d >= 0; --d) {
      const int64_t at = d > 0 ? split(rest, s.size[d]) : rest;
      of_x += at * s.x_stride[d];
      of_dy += at * s.dy_stride[d];
      of_y += at * s.y_stride[d];
      of_stat += at * s.stat_stride[d];
    }
    dx[i] = reduce_gradient(op, scale, dy[of_dy], x + of_x, y + of_y, a + of_stat, b + of_stat);
  });
}

HL_CUDA_KERNEL(reduce_backward);

}  // namespace
}  // namespace hl::cuda
