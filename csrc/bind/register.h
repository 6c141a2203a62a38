// One registration per family file of this folder.
#pragma once

#include <pybind11/pybind11.h>

namespace hl::bind {

void register_attention(pybind11::module_& m);
void register_bench(pybind11::module_& m);
void register_binary(pybind11::module_& m);
void register_boxes(pybind11::module_& m);
void register_conv(pybind11::module_& m);
void register_ctc(pybind11::module_& m);
void register_dlpack(pybind11::module_& m);
void register_elementwise(pybind11::module_& m);
void register_gemm16(pybind11::module_& gpu);
void register_graph(pybind11::module_& gpu);
void register_streams(pybind11::module_& gpu);
void register_gpu(pybind11::module_& m);
void register_grid(pybind11::module_& m);
void register_runtime(pybind11::module_& m);
void register_linear(pybind11::module_& m);
void register_matmul(pybind11::module_& m);
void register_pack(pybind11::module_& m);
void register_loss(pybind11::module_& m);
void register_order(pybind11::module_& m);
void register_pointwise_loss(pybind11::module_& m);
void register_reduce(pybind11::module_& m);
void register_layout(pybind11::module_& m);
void register_mismatch(pybind11::module_& m);
void register_multi(pybind11::module_& m);
void register_norm(pybind11::module_& m);
void register_optim(pybind11::module_& m);
void register_pool(pybind11::module_& m);
void register_random(pybind11::module_& m);
void register_rbm(pybind11::module_& m);
void register_regions(pybind11::module_& m);
void register_resample(pybind11::module_& m);
void register_rnn(pybind11::module_& m);
void register_roi(pybind11::module_& m);
void register_softmax(pybind11::module_& m);
void register_text(pybind11::module_& m);

}  // namespace hl::bind
