#include "ops/loss/ctc.h"

#include "kernel.h"
#include "ops/loss/rows.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr double kNever = -__builtin_inf();

// log(exp a + exp b + exp c), and -inf where all three are.
HL_INLINE Vec<double> logsum(Vec<double> a, Vec<double> b, Vec<double> c) {
  const Vec<double> m = max(a, max(b, c)), never = set1(kNever);
  const Vec<double> from = select(m == never, Vec<double>{}, m);
  return select(m == never, never, from + log(exp(a - from) + exp(b - from) + exp(c - from)));
}

HL_INLINE double logsum(double a, double b) { return hmax(logsum(set1(a), set1(b), set1(kNever))); }

HL_INLINE int64_t places(int64_t labels) { return 2 * labels + 1; }
HL_INLINE int64_t saved_width(const CtcShape& s) { return places(s.S) + 2; }

// A sample's target with blanks around, and one step's logarithms.
struct Path {
  int64_t size, places;
  int64_t* label;  // (places)
  double* skip;    // (places + 2): 0 where a place may be reached past its blank, else -inf
  double* here;    // (places): logp of this step's labels
  double* next;    // (places + 2)
  double* beta;    // (places)
  double* share;   // (C)
};

HL_INLINE int64_t path_numbers(const CtcShape& s) { return 5 * places(s.S) + 4 + s.C; }

HL_INLINE Path path_of(Ctx& ctx, const CtcShape& s, int worker, const int64_t* target,
                       int64_t size) {
  double* at = worker_scratch<double>(ctx, worker);
  const int64_t most = places(s.S);
  Path p = {size,
            places(size),
            reinterpret_cast<int64_t*>(at),
            at + most,
            at + 2 * most + 2,
            at + 3 * most + 2,
            at + 4 * most + 4,
            at + 5 * most + 4};
  for (int64_t i = 0; i < p.places; ++i) {
    const bool blank = i % 2 == 0;
    p.label[i] = blank ? s.blank : target[i / 2];
    p.skip[i] = !blank && i >= 3 && p.label[i] != p.label[i - 2] ? 0 : kNever;
  }
  p.skip[p.places] = p.skip[p.places + 1] = kNever;
  return p;
}

template <class T>
HL_INLINE void look_up(const Path& p, const T* logp) {
  for (int64_t i = 0; i < p.places; ++i) p.here[i] = double(logp[p.label[i]]);
}

// Fills the sample's rows of alpha and returns L.
template <class T>
double spell(const CtcShape& s, const Path& p, const T* logp, int64_t steps, double* rows) {
  if (steps == 0) return p.size == 0 ? 0 : -kNever;
  const int64_t width = saved_width(s);
  for (int64_t t = 0; t < steps; ++t) {
    double* alpha = rows + t * width + 2;
    const double* before = alpha - width;
    alpha[-2] = alpha[-1] = kNever;
    look_up(p, logp + t * s.C);
    if (t == 0) {
      for (int64_t i = 0; i < p.places; ++i) alpha[i] = i < 2 ? p.here[i] : kNever;
      continue;
    }
    for_vectors<double>(p.places, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      const Vec<double> past_blank =
          load_some(before + i - 2, lanes) + load_some(p.skip + i, lanes);
      const Vec<double> sum =
          logsum(load_some(before + i, lanes), load_some(before + i - 1, lanes), past_blank);
      store_some(alpha + i, sum + load_some(p.here + i, lanes), lanes);
    });
  }
  const double* last = rows + (steps - 1) * width + 2 + p.places - 1;
  return -logsum(last[0], last[-1]);
}

// Goes back through the steps: dlogp = -d times how probable it is to be at a label.
template <class T>
void spell_backward(const CtcShape& s, const Path& p, double d, double loss, const T* logp,
                    int64_t steps, const double* rows, T* dlogp) {
  const int64_t width = saved_width(s);
  for (int64_t i = 0; i < p.places; ++i) p.beta[i] = i >= p.places - 2 ? 0 : kNever;
  p.next[p.places] = p.next[p.places + 1] = kNever;
  for (int64_t t = steps - 1; t >= 0; --t) {
    const double* alpha = rows + t * width + 2;
    for (int64_t c = 0; c < s.C; ++c) p.share[c] = 0;
    for_vectors<double>(p.places, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      const Vec<double> both = load_some(alpha + i, lanes) + load_some(p.beta + i, lanes);
      store_some(p.here + i, exp(both + set1(loss)), lanes);
    });
    for (int64_t i = 0; i < p.places; ++i) p.share[p.label[i]] += p.here[i];
    for (int64_t c = 0; c < s.C; ++c) dlogp[t * s.C + c] = T(-d * p.share[c]);
    look_up(p, logp + t * s.C);
    for (int64_t i = 0; i < p.places; ++i) p.next[i] = p.beta[i] + p.here[i];
    for_vectors<double>(p.places, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
      const Vec<double> past_blank =
          load_some(p.next + i + 2, lanes) + load_some(p.skip + i + 2, lanes);
      store_some(p.beta + i,
                 logsum(load_some(p.next + i, lanes), load_some(p.next + i + 1, lanes), past_blank),
                 lanes);
    });
  }
}

HL_INLINE int64_t cells(const CtcShape& s) { return s.T * (8 * places(s.S) + s.C); }

template <class T>
Plan ctc_plan(const CtcShape& s, int arrays) {
  const double numbers = double(s.N) * double(s.T);
  Plan p = row_loss_plan("log alpha-beta", s.N, cells(s), 0);
  p.bytes = numbers * (arrays * double(s.C) * sizeof(T) + 8.0 * double(saved_width(s)));
  p.flops = numbers * double(places(s.S)) * 100;
  p.worker_bytes = path_numbers(s) * int64_t(sizeof(double));
  return p;
}

// What L is divided by.
HL_INLINE double divisor(const CtcShape& s, int64_t size) {
  return s.reduction == Reduction::kMean ? double(most(1, size)) : 1;
}

}  // namespace

template <class T>
Plan ctc_loss_forward_plan(const CtcShape& s) {
  return ctc_plan<T>(s, 1);
}
template <class T>
void ctc_loss_forward(Ctx& ctx, const CtcShape& s, const T* logp, const int64_t* target,
                      const int64_t* lengths, const int64_t* sizes, T* loss, double* saved) {
  double* losses = saved + s.N * s.T * saved_width(s);
  reduce_losses<T>(ctx, s.N, cells(s), s.reduction, loss, [&](int64_t n, int worker) {
    const Path p = path_of(ctx, s, worker, target + n * s.S, sizes[n]);
    const double l =
        spell(s, p, logp + n * s.T * s.C, lengths[n], saved + n * s.T * saved_width(s));
    losses[n] = l;
    return RowSum{(s.zero_infinity && l == -kNever ? 0 : l) / divisor(s, sizes[n]), 1};
  });
}

template <class T>
Plan ctc_loss_backward_plan(const CtcShape& s) {
  return ctc_plan<T>(s, 2);
}
template <class T>
void ctc_loss_backward(Ctx& ctx, const CtcShape& s, const T* dy, const T* logp,
                       const int64_t* target, const int64_t* lengths, const int64_t* sizes,
                       const double* saved, T* dlogp) {
  const double* losses = saved + s.N * s.T * saved_width(s);
  parallel_for(ctx, s.N, row_grain(cells(s)), [&](int64_t begin, int64_t end, int worker) {
    for (int64_t n = begin; n < end; ++n) {
      T* out = dlogp + n * s.T * s.C;
      const int64_t steps = lengths[n];
      const T beyond = losses[n] == -kNever && !s.zero_infinity ? T(__builtin_nan("")) : T(0);
      for (int64_t i = 0; i < steps * s.C; ++i) out[i] = beyond;
      for (int64_t i = steps * s.C; i < s.T * s.C; ++i) out[i] = 0;
      if (losses[n] == -kNever) continue;
      const double d = s.reduction == Reduction::kNone   ? double(dy[n])
                       : s.reduction == Reduction::kMean ? double(dy[0]) / double(s.N)
                                                         : double(dy[0]);
      const Path p = path_of(ctx, s, worker, target + n * s.S, sizes[n]);
      spell_backward(s, p, d / divisor(s, sizes[n]), losses[n], logp + n * s.T * s.C, steps,
                     saved + n * s.T * saved_width(s), out);
    }
  });
}

HL_DEFINE_KERNEL(ctc_loss_forward);
HL_DEFINE_KERNEL(ctc_loss_backward);

}  // namespace hl::cpu::HL_ISA
