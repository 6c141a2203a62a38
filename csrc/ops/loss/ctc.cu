#include "ops/loss/ctc.h"

#include "cuda/kernel.h"
#include "ops/loss/rows.cuh"

namespace hl::cuda {
namespace {

constexpr double kNever = -INFINITY;

__host__ __device__ int64_t places_of(int64_t labels) { return 2 * labels + 1; }
__host__ __device__ int64_t saved_width(const CtcShape& s) { return places_of(s.S) + 2; }

// Scratch of a sample of backward: this step's shares and b, each with two places of -inf behind,
// beta, and for each label the next place that has it.
__host__ __device__ int64_t sample_numbers(const CtcShape& s) {
  return 3 * (places_of(s.S) + 2) + s.S;
}

template <class T>
Plan ctc_plan(const CtcShape& s, int arrays, int64_t scratch) {
  const double steps = double(s.N) * double(s.T), width = double(saved_width(s));
  return {"a block per sample",
          nullptr,
          {1, kThreads, 1},
          scratch,
          0,
          steps * width * 100,
          steps * (arrays * double(s.C) * sizeof(T) + 8 * width)};
}
template <class T>
Plan ctc_loss_forward_plan(const CtcShape& s) {
  return ctc_plan<T>(s, 1, row_loss_bytes(s.N));
}
template <class T>
Plan ctc_loss_backward_plan(const CtcShape& s) {
  return ctc_plan<T>(s, 2, s.N * sample_numbers(s) * 8);
}

// log(exp a + exp b + exp c), and -inf where all three are.
__device__ double logsum(double a, double b, double c) {
  const double m = Larger()(a, Larger()(b, c));
  return m == kNever ? kNever : m + log(exp(a - m) + exp(b - m) + exp(c - m));
}

// The label at place i of a target with blanks around, and whether its blank may be jumped over.
__device__ int64_t label_at(const CtcShape& s, const int64_t* target, int64_t i) {
  return i % 2 == 0 ? s.blank : target[i / 2];
}
__device__ bool may_skip(const int64_t* target, int64_t places, int64_t i) {
  return i % 2 == 1 && i >= 3 && i < places && target[i / 2] != target[i / 2 - 1];
}

// What L is divided by.
__device__ double divisor(const CtcShape& s, int64_t size) {
  return s.reduction == Reduction::kMean ? double(size > 1 ? size : 1) : 1;
}

template <class T>
void ctc_loss_forward(Ctx& ctx, const CtcShape& s, const T* logp, const int64_t* target,
                      const int64_t* lengths, const int64_t* sizes, T* loss, double* saved) {
  double* losses = saved + s.N * s.T * saved_width(s);
  reduce_rows(ctx, s.N, s.reduction, loss, [=] __device__(int64_t n, void*) {
    const int64_t *labels = target + n * s.S, places = places_of(sizes[n]), steps = lengths[n];
    double* rows = saved + n * s.T * saved_width(s) + 2;
    for (int64_t t = 0; t < steps; ++t) {
      double* alpha = rows + t * saved_width(s);
      const double* before = alpha - saved_width(s);
      if (threadIdx.x < 2) alpha[int(threadIdx.x) - 2] = kNever;
      for (int64_t i = threadIdx.x; i < places; i += kThreads) {
        const double here = double(logp[(n * s.T + t) * s.C + label_at(s, labels, i)]);
        if (t == 0) {
          alpha[i] = i < 2 ? here : kNever;
        } else {
          const double past_blank = may_skip(labels, places, i) ? before[i - 2] : kNever;
          alpha[i] = here + logsum(before[i], i > 0 ? before[i - 1] : kNever, past_blank);
        }
      }
      __syncthreads();
    }
    double l = sizes[n] == 0 ? 0 : -kNever;
    if (steps > 0) {
      const double* last = rows + (steps - 1) * saved_width(s) + places - 1;
      l = -logsum(last[0], places > 1 ? last[-1] : kNever, kNever);
    }
    if (threadIdx.x == 0) losses[n] = l;
    return Two{s.zero_infinity && l == -kNever ? 0 : l / divisor(s, sizes[n]), 1};
  });
}

template <class T>
void ctc_loss_backward(Ctx& ctx, const CtcShape& s, const T* dy, const T* logp,
                       const int64_t* target, const int64_t* lengths, const int64_t* sizes,
                       const double* saved, T* dlogp) {
  const double* losses = saved + s.N * s.T * saved_width(s);
  double* scratch = reinterpret_cast<double*>(ctx.shared);
  each(ctx, s.N * s.T * s.C, [=] __device__(int64_t i) {
    const int64_t n = i / s.C / s.T, t = i / s.C % s.T;
    dlogp[i] = losses[n] == -kNever && !s.zero_infinity && t < lengths[n] ? T(NAN) : T(0);
  });
  each_row(ctx, s.N, [=] __device__(int64_t n, void* room) {
    if (losses[n] == -kNever) return;
    const int64_t *labels = target + n * s.S, size = sizes[n], places = places_of(size);
    double *share = scratch + n * sample_numbers(s), *next = share + places_of(s.S) + 2;
    double* beta = next + places_of(s.S) + 2;
    // Labels that come more than once are chains, so that one thread adds up their shares in order:
    // link[k] is where label k comes next, or -1; a label that came before is no chain's head.
    int64_t* link = reinterpret_cast<int64_t*>(beta + places_of(s.S) + 2);
    for (int64_t k = threadIdx.x; k < size; k += kThreads) {
      int64_t to = k + 1;
      while (to < size && labels[to] != labels[k]) ++to;
      bool head = true;
      for (int64_t j = 0; j < k && head; ++j) head = labels[j] != labels[k];
      link[k] = (to < size ? to : size) * 2 + (head ? 1 : 0);
    }
    for (int64_t i = threadIdx.x; i < places; i += kThreads) {
      beta[i] = i >= places - 2 ? 0 : kNever;
    }
    if (threadIdx.x < 2) next[places + threadIdx.x] = kNever;
    const double d = (s.reduction == Reduction::kNone   ? double(dy[n])
                      : s.reduction == Reduction::kMean ? double(dy[0]) / double(s.N)
                                                        : double(dy[0])) /
                     divisor(s, size);
    for (int64_t t = lengths[n] - 1; t >= 0; --t) {
      const double* alpha = saved + (n * s.T + t) * saved_width(s) + 2;
      const T* here = logp + (n * s.T + t) * s.C;
      T* out = dlogp + (n * s.T + t) * s.C;
      double blanks = 0;
      for (int64_t i = threadIdx.x; i < places; i += kThreads) {
        share[i] = exp(alpha[i] + beta[i] + losses[n]);
        next[i] = beta[i] + double(here[label_at(s, labels, i)]);
        if (i % 2 == 0) blanks += share[i];
      }
      blanks = block_reduce(blanks, static_cast<double*>(room), Plus());
      __syncthreads();
      if (threadIdx.x == 0) out[s.blank] = T(-d * blanks);
      for (int64_t k = threadIdx.x; k < size; k += kThreads) {
        if (link[k] % 2 == 0) continue;
        double sum = 0;
        for (int64_t j = k; j < size; j = link[j] / 2) sum += share[2 * j + 1];
        out[labels[k]] = T(-d * sum);
      }
      for (int64_t i = threadIdx.x; i < places; i += kThreads) {
        const double past_blank = may_skip(labels, places, i + 2) ? next[i + 2] : kNever;
        beta[i] = logsum(next[i], next[i + 1], past_blank);
      }
      __syncthreads();
    }
  });
}

HL_CUDA_KERNEL(ctc_loss_forward);
HL_CUDA_KERNEL(ctc_loss_backward);

}  // namespace
}  // namespace hl::cuda
