#include "kernel.h"
#include "ops/reduce/walk.h"

namespace hl::cpu::HL_ISA {
namespace {

// Calls f with the fold of an op.
template <class T, class F>
HL_INLINE auto with_fold(ReduceOp op, F f) {
  switch (op) {
    case ReduceOp::kProd:
      return f(OnePass<T, Same, Multiply>{});
    case ReduceOp::kMax:
      return f(OnePass<T, Same, Larger>{});
    case ReduceOp::kMin:
      return f(OnePass<T, Same, Smaller>{});
    case ReduceOp::kNorm0:
      return f(OnePass<T, CountNonZero, Add>{});
    case ReduceOp::kNorm1:
      return f(OnePass<T, Magnitude, Add>{});
    case ReduceOp::kNorm2:
      return f(OnePass<T, Squared, Add>{});
    case ReduceOp::kNormInf:
      return f(OnePass<T, Magnitude, Larger>{});
    case ReduceOp::kNormNegInf:
      return f(OnePass<T, Magnitude, Smaller>{});
    case ReduceOp::kVar:
    case ReduceOp::kStd:
      return f(Variance<T>{});
    case ReduceOp::kLogSumExp:
      return f(LogSumExp<T>{});
    case ReduceOp::kTiesMax:
      return f(Ties<T, Same, Larger>{});
    case ReduceOp::kTiesMin:
      return f(Ties<T, Same, Smaller>{});
    case ReduceOp::kTiesNormInf:
      return f(Ties<T, Magnitude, Larger>{});
    case ReduceOp::kTiesNormNegInf:
      return f(Ties<T, Magnitude, Smaller>{});
    case ReduceOp::kProdNonZero:
      return f(OnePass<T, SkipZero, Multiply>{});
    case ReduceOp::kZeros:
      return f(OnePass<T, CountZero, Add>{});
    default:
      return f(OnePass<T, Same, Add>{});
  }
}

template <class T, class F>
HL_INLINE auto with_first(ReduceOp op, F f) {
  return op == ReduceOp::kArgMax ? f(First<T, Larger>{}) : f(First<T, Smaller>{});
}

// The result of reducing nothing; the bindings refuse the ops that have none.
double nothing(ReduceOp op) {
  switch (op) {
    case ReduceOp::kMean:
    case ReduceOp::kVar:
    case ReduceOp::kStd:
      return __builtin_nan("");
    case ReduceOp::kProd:
      return 1;
    case ReduceOp::kLogSumExp:
      return -__builtin_inf();
    default:
      return 0;
  }
}

}  // namespace

template <class T>
Plan reduce_forward_plan(const ReduceShape& s) {
  if (s.count == 0) return {};
  return with_fold<T>(s.op, [&](auto fold) { return plan_reduction<decltype(fold)>(s); });
}
template <class T>
void reduce_forward(Ctx& ctx, const ReduceShape& s, const T* x, T* y) {
  if (s.count == 0) {
    const T value = T(nothing(s.op));
    for (int64_t i = 0; i < s.outputs; ++i) y[i] = value;
    return;
  }
  with_fold<T>(s.op, [&](auto fold) { run_reduction<decltype(fold)>(ctx, s, x, y); });
}

template <class T>
Plan arg_reduce_plan(const ReduceShape& s) {
  return with_first<T>(s.op, [&](auto fold) { return plan_reduction<decltype(fold)>(s); });
}
template <class T>
void arg_reduce(Ctx& ctx, const ReduceShape& s, const T* x, int64_t* y) {
  with_first<T>(s.op, [&](auto fold) { run_reduction<decltype(fold)>(ctx, s, x, y); });
}

HL_DEFINE_KERNEL(reduce_forward);
HL_DEFINE_KERNEL(arg_reduce);

}  // namespace hl::cpu::HL_ISA
