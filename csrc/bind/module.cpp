#include <stdexcept>

#include "bind/register.h"
#include "kernels.h"

PYBIND11_MODULE(_C, m) {
  if (const char* error = hl::dispatch_error()) throw pybind11::value_error(error);
  hl::bind::register_runtime(m);
  hl::bind::register_attention(m);
  hl::bind::register_bench(m);
  hl::bind::register_linear(m);
  hl::bind::register_matmul(m);
  hl::bind::register_pack(m);
  hl::bind::register_boxes(m);
  hl::bind::register_conv(m);
  hl::bind::register_elementwise(m);
  hl::bind::register_binary(m);
  hl::bind::register_reduce(m);
  hl::bind::register_layout(m);
  hl::bind::register_multi(m);
  hl::bind::register_norm(m);
  hl::bind::register_optim(m);
  hl::bind::register_pool(m);
  hl::bind::register_random(m);
  hl::bind::register_rbm(m);
  hl::bind::register_regions(m);
  hl::bind::register_resample(m);
  hl::bind::register_gpu(m);
  hl::bind::register_dlpack(m);
  hl::bind::register_grid(m);
  hl::bind::register_rnn(m);
  hl::bind::register_roi(m);
  hl::bind::register_order(m);
  hl::bind::register_softmax(m);
  hl::bind::register_loss(m);
  hl::bind::register_ctc(m);
  hl::bind::register_pointwise_loss(m);
  hl::bind::register_text(m);
  hl::bind::register_mismatch(m);  // last: it wraps the others' functions
}
