// Products of 16-bit matrices (cuda/gemm16.h), for tests and for scripts that time the kernel.
#include "bind/gpu.h"
#include "bind/place.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

// a and b are arrays of uint16 with the bits of bfloat16 ("bf16") or float16 ("f16").
py::object gemm16(const std::string& type, py::handle a, py::handle b, py::handle bias,
                  const std::string& activation, py::handle residual, bool wide) {
  const char* op = "gemm16";
  const Array x(op, "a", a), w(op, "b", b);
  for (const Array* m : {&x, &w}) {
    m->require_ndim(2, m == &x ? "(M, K)" : "(N, K)").require_contiguous();
    if (m->dtype_name() != "uint16") type_error(op, std::string(m->name) + " expects uint16");
  }
  if (type != "bf16" && type != "f16") value_error(op, "type expects bf16 or f16");
  Gemm16 g = {};
  g.type = type == "bf16" ? Gemm16::kBf16 : Gemm16::kF16;
  g.c_type = wide ? Gemm16::kFloat32 : g.type;
  if (activation == "relu") {
    g.activation = Gemm16::kRelu;
  } else if (activation == "gelu") {
    g.activation = Gemm16::kGelu;
  } else if (activation != "none") {
    value_error(op, "activation expects none, relu or gelu");
  }
  g.M = x.shape[0], g.N = w.shape[0], g.K = x.shape[1];
  w.require_shape({-1, g.K});
  g.a = x.data, g.b = w.data;
  const int device = call_device();
  if (device == kCpu) type_error(op, "expected device arrays");
  if (!bias.is_none()) {
    const Array v(op, "bias", bias);
    v.require_contiguous().require_shape({g.N});
    if (v.dtype != DType::kFloat32) type_error(op, "bias expects float32");
    g.bias = v.as<float>();
  }
  if (!residual.is_none()) {
    const Array r(op, "residual", residual);
    r.require_like(x).require_contiguous().require_shape({g.M, g.N});
    g.residual = r.data;
  }
  py::object c = wide ? new_array(op, DType::kFloat32, {g.M, g.N}) : new_array(x, {g.M, g.N});
  g.c = data_of(c);
  if (gpu()->gemm16(device, gpu_stream(device), &g) != 0) raise_gpu_error(op);
  return c;
}

}  // namespace

void register_gemm16(py::module_& gpu_module) {
  define(gpu_module, "gemm16", &gemm16, py::arg("type"), py::arg("a"), py::arg("b"),
         py::arg("bias") = py::none(), py::arg("activation") = "none",
         py::arg("residual") = py::none(), py::arg("wide") = false);
}

}  // namespace hl::bind
