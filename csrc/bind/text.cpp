// Kernels on tokens; their mathematics is in ops/edit_distance.h.
#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

py::object edit_distance(py::handle a_in, py::handle b_in, py::handle a_lengths_in,
                         py::handle b_lengths_in) {
  const char* op = "edit_distance";
  const Array a(op, "a", a_in), b(op, "b", b_in);
  const Array a_lengths(op, "a_lengths", a_lengths_in), b_lengths(op, "b_lengths", b_lengths_in);
  const Indices tokens_a(a), tokens_b(b);
  Indices sizes_a(a_lengths), sizes_b(b_lengths);
  if (a.ndim != 2) value_error(op, "a has shape " + shape_text(a.dims()) + ", expected (N, S)");
  b.require_shape({a.shape[0], -1});
  const EditDistanceShape s = {a.shape[0], a.shape[1], b.shape[1]};
  a_lengths.require_shape({s.N});
  b_lengths.require_shape({s.N});
  sizes_a.require_range(s.S + 1);
  sizes_b.require_range(s.T + 1);
  py::object distance = new_array(op, DType::kInt64, Dims{s.N});
  if (s.N == 0) return distance;
  invoke(kernels_for<void>().edit_distance, s, tokens_a.data(), sizes_a.data(), tokens_b.data(),
         sizes_b.data(), data_of<int64_t>(distance));
  return distance;
}

}  // namespace

void register_text(py::module_& m) {
  define(m, "edit_distance", &edit_distance, py::arg("a"), py::arg("b"), py::arg("a_lengths"),
         py::arg("b_lengths"));
}

}  // namespace hl::bind
