#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

// The last two axes of an operand, and where its batch axes lie among those of the result.
struct Matrix {
  const Array& a;
  bool vector;
  int64_t rows, columns, rs, cs;

  // NumPy's rule: a vector on the left is a row, on the right a column.
  Matrix(const Array& array, bool left) : a(array), vector(array.ndim == 1) {
    if (a.ndim == 0)
      value_error(a.op, std::string(a.name) + " is a single number, expected at least one axis");
    if (vector) {
      const int64_t n = a.shape[0], s = a.stride(0);
      rows = left ? 1 : n, columns = left ? n : 1;
      rs = left ? 0 : s, cs = left ? s : 0;
    } else {
      rows = a.shape[a.ndim - 2], columns = a.shape[a.ndim - 1];
      rs = a.stride(a.ndim - 2), cs = a.stride(a.ndim - 1);
    }
  }
  int batch_dims() const { return vector ? 0 : a.ndim - 2; }
};

Dims batch_shape(const Matrix& a, const Matrix& b) {
  const int n = std::max(a.batch_dims(), b.batch_dims());
  Dims shape(n);
  for (int i = 0; i < n; ++i) {
    const int ia = i - (n - a.batch_dims()), ib = i - (n - b.batch_dims());
    const int64_t sa = ia >= 0 ? a.a.shape[ia] : 1, sb = ib >= 0 ? b.a.shape[ib] : 1;
    if (sa != sb && sa != 1 && sb != 1) {
      value_error("matmul", "the batch axes of a " + shape_text(a.a.shape, a.a.ndim) + " and b " +
                                shape_text(b.a.shape, b.a.ndim) + " do not broadcast");
    }
    shape[i] = sa == 1 ? sb : sa;
  }
  return shape;
}

// Element strides of the operand's batch axes, aligned at the end; 0 where it is repeated.
void batch_strides(const Matrix& m, const Dims& batch, int64_t* strides) {
  const int n = int(batch.size());
  for (int i = 0; i < n; ++i) {
    const int axis = i - (n - m.batch_dims());
    strides[i] = axis >= 0 && m.a.shape[axis] != 1 ? m.a.stride(axis) : 0;
  }
}

py::object matmul(py::handle a_in, py::handle b_in, py::handle out_in, double alpha, double beta) {
  const Array aa("matmul", "a", a_in), ba("matmul", "b", b_in);
  aa.require_float();
  ba.require_float().require_like(aa);
  const Matrix a(aa, true), b(ba, false);
  if (a.columns != b.rows) {
    value_error("matmul", "a " + shape_text(aa.shape, aa.ndim) + " and b " +
                              shape_text(ba.shape, ba.ndim) + " do not match: a has " +
                              std::to_string(a.columns) + " columns, b has " +
                              std::to_string(b.rows) + " rows");
  }
  const Dims batch = batch_shape(a, b);
  if (batch.size() > kMatmulBatchDims) {
    value_error("matmul", "at most " + std::to_string(kMatmulBatchDims) + " batch axes, here are " +
                              std::to_string(batch.size()));
  }
  Dims shape = batch;
  if (!a.vector) shape.push_back(a.rows);
  if (!b.vector) shape.push_back(b.columns);

  py::object out;
  if (out_in.is_none()) {
    if (beta != 0)
      value_error("matmul",
                  "beta = " + std::to_string(beta) + " needs out=, the C of alpha*A@B + beta*C");
    out = new_array("matmul", aa.dtype, shape);
  } else {
    check_out(Array("matmul", "out", out_in), aa.dtype, shape, {&aa, &ba}, Alias::kNone);
    out = py::reinterpret_borrow<py::object>(out_in);
  }
  const Array c("matmul", "out", out);

  MatmulShape s = {};
  s.M = a.rows, s.N = b.columns, s.K = a.columns;
  s.a_rs = a.rs, s.a_cs = a.cs, s.b_rs = b.rs, s.b_cs = b.cs;
  s.batch_dims = int(batch.size());
  int axis = s.batch_dims;
  s.c_rs = a.vector ? 0 : c.stride(axis++);
  s.c_cs = b.vector ? 1 : c.stride(axis);
  s.alpha = alpha, s.beta = beta;
  batch_strides(a, batch, s.a_batch);
  batch_strides(b, batch, s.b_batch);
  for (int i = 0; i < s.batch_dims; ++i) s.batch[i] = batch[i], s.c_batch[i] = c.stride(i);
  if (c.size() == 0) return out;

  with_float(aa, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().matmul, s, aa.as<const T>(), ba.as<const T>(), c.as<T>());
  });
  return out;
}

}  // namespace

void register_matmul(py::module_& m) {
  define(m, "matmul", &matmul, py::arg("a"), py::arg("b"), py::arg("out") = py::none(),
         py::arg("alpha") = 1.0, py::arg("beta") = 0.0);
}

}  // namespace hl::bind
