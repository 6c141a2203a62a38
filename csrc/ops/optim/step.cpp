#include "cpu/flat.h"
#include "kernel.h"
#include "ops/optim/optim.h"
#include "ops/optim/rules.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T, class Rule>
HL_INLINE void run_piece(const Rule& rule, const OptimTensor<T>& t, int64_t from, int64_t to) {
  using V = Vec<T>;
  constexpr int L = kLanes<T>;
  V state[kOptimStates];
  int64_t i = from;
  for (; i + L <= to; i += L) {
    V w = load(t.param + i);
#pragma GCC unroll 3
    for (int k = 0; k < Rule::kStates; ++k) {
      if (Rule::uses(k)) state[k] = load(t.state[k] + i);
    }
    rule.step(w, load(t.grad + i), state);
    store(t.param + i, w);
#pragma GCC unroll 3
    for (int k = 0; k < Rule::kStates; ++k) {
      if (Rule::uses(k)) store(t.state[k] + i, state[k]);
    }
  }
  if (i == to) return;
  const int64_t n = to - i;
  V w = load_n(t.param + i, n);
  for (int k = 0; k < Rule::kStates; ++k) {
    if (Rule::uses(k)) state[k] = load_n(t.state[k] + i, n);
  }
  rule.step(w, load_n(t.grad + i, n), state);
  store_n(t.param + i, w, n);
  for (int k = 0; k < Rule::kStates; ++k) {
    if (Rule::uses(k)) store_n(t.state[k] + i, state[k], n);
  }
}

template <class T, class Rule>
void run(Ctx& ctx, const OptimShape& s, const double* hyper, const OptimTensor<T>* tensors) {
  parallel_for(ctx, s.total, kFlatGrain, [&](int64_t begin, int64_t end, int) {
    Rule rule;
    const double* known = nullptr;
    each_piece(tensors, s.tensors, begin, end,
               [&](const OptimTensor<T>& t, int64_t from, int64_t to) {
                 // Tensors are nearly always at the same step, and powers are dear beside a short
                 // bias.
                 if (!known || known[0] != t.progress[0] || known[1] != t.progress[1]) {
                   known = t.progress;
                   rule.set(hyper, known);
                 }
                 run_piece<T, Rule>(rule, t, from, to);
               });
  });
}

int states_of(OptimKind kind) {
  switch (kind) {
    case OptimKind::kSgd:
    case OptimKind::kAdagrad:
    case OptimKind::kLion:
      return 1;
    default:
      return 2;
  }
}

}  // namespace

template <class T>
Plan optim_step_plan(const OptimShape& s) {
  Plan p = {};
  p.algorithm = "flat";
  p.bytes = double(s.total) * sizeof(T) * (3 + 2 * states_of(s.kind));
  return p;
}

template <class T>
void optim_step(Ctx& ctx, const OptimShape& s, const double* h, const OptimTensor<T>* tensors) {
  for (int64_t i = 0; i < s.tensors; ++i) {
    double* progress = tensors[i].progress;
    progress[0] += 1;
    if (s.kind == OptimKind::kNadam) progress[1] *= nadam_mu(h, progress[0]);
  }
  switch (s.kind) {
    case OptimKind::kSgd:
      if (h[3] == 0) return run<T, Sgd<T, Momentum::kNone>>(ctx, s, h, tensors);
      if (h[5] == 0) return run<T, Sgd<T, Momentum::kPlain>>(ctx, s, h, tensors);
      return run<T, Sgd<T, Momentum::kNesterov>>(ctx, s, h, tensors);
    case OptimKind::kAdagrad:
      return run<T, Adagrad<T>>(ctx, s, h, tensors);
    case OptimKind::kRmsprop:
      if (h[5] == 0) {
        if (h[6] == 0) return run<T, Rmsprop<T, false, false>>(ctx, s, h, tensors);
        return run<T, Rmsprop<T, false, true>>(ctx, s, h, tensors);
      }
      if (h[6] == 0) return run<T, Rmsprop<T, true, false>>(ctx, s, h, tensors);
      return run<T, Rmsprop<T, true, true>>(ctx, s, h, tensors);
    case OptimKind::kAdam:
      if (h[6] == 0) return run<T, Adam<T, false, false>>(ctx, s, h, tensors);
      return run<T, Adam<T, false, true>>(ctx, s, h, tensors);
    case OptimKind::kAdamw:
      if (h[6] == 0) return run<T, Adam<T, true, false>>(ctx, s, h, tensors);
      return run<T, Adam<T, true, true>>(ctx, s, h, tensors);
    case OptimKind::kAdadelta:
      return run<T, Adadelta<T>>(ctx, s, h, tensors);
    case OptimKind::kAdamax:
      return run<T, Adamax<T>>(ctx, s, h, tensors);
    case OptimKind::kNadam:
      return run<T, Nadam<T>>(ctx, s, h, tensors);
    case OptimKind::kRadam:
      return run<T, Radam<T>>(ctx, s, h, tensors);
    case OptimKind::kLion:
      return run<T, Lion<T>>(ctx, s, h, tensors);
  }
}

HL_DEFINE_KERNEL(optim_step);

}  // namespace hl::cpu::HL_ISA
