// Between the two ways through the steps of a chunk: what is done before and after is the same.
#pragma once

#include "ops/rnn/steps.cuh"

namespace hl::cuda {

// Steps t0 ... t0 + steps - 1 forward. What they need is there; y and what is saved are theirs to write.
struct ForwardChunk {
  Walk walk;
  const float* ax;  // w_ih x: row (t - t0) N + n
  float* c;         // (N, H): before and after
  int64_t t0, steps;
};
class ForwardSteps {
 public:
  virtual void run(const Ctx& ctx, const ForwardChunk& chunk) const = 0;

 protected:
  ~ForwardSteps() = default;
};
// As rnn_forward of layer simt, but for the steps.
void rnn_forward_by(Ctx& ctx, const RnnShape& s, const RnnInputs<float>& in,
                    const RnnSaved<float>& saved, float* y, float* hn, float* cn,
                    const ForwardSteps& by);

// Steps t0 + steps - 1 ... t0 backward.
struct BackwardChunk {
  Walk walk;
  const float *dy, *y;
  // Rows (t - t0) N + n, to be written: the gradients of w_ih x + b_ih, then of w_hh h + b_hh.
  float* d;
  int64_t stride;
  float *dh, *dc;  // (N, H): of the states after the steps, then before
  int64_t t0, steps;
};
class BackwardSteps {
 public:
  virtual void run(const Ctx& ctx, const BackwardChunk& chunk) const = 0;

 protected:
  ~BackwardSteps() = default;
};
void rnn_backward_by(Ctx& ctx, const RnnShape& s, const float* dy, const float* dhn,
                     const float* dcn, const RnnInputs<float>& in, const RnnSaved<float>& saved,
                     const float* y, const RnnGradients<float>& out, const BackwardSteps& by);

}  // namespace hl::cuda
