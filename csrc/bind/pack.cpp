#include "bind/invoke.h"
#include "bind/panels.h"
#include "bind/place.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

template <class T>
Dims panel_dims(const PackShape& s) {
  const int64_t width = kernels_for<T>().pack_panels->plan(s).tile[1];
  return {s.groups, (s.lines + width - 1) / width, s.depth, width};
}

// w (O, ..., I): a line for each output, in `groups`. None on a GPU, whose kernels read w itself.
py::object pack_panels(py::handle w_in, int64_t groups) {
  const char* op = "pack";
  const Array w(op, "w", w_in);
  w.require_float();
  if (w.ndim < 2) {
    value_error(op, "w has shape " + shape_text(w.shape, w.ndim) + ", expected (O, ..., I)");
  }
  if (groups < 1 || w.shape[0] % groups != 0) {
    value_error(op, "groups = " + std::to_string(groups) + " does not divide w's " +
                        std::to_string(w.shape[0]) + " output channels");
  }
  w.require_contiguous();
  PackShape s = {groups, w.shape[0] / groups, 1};
  for (int i = 1; i < w.ndim; ++i) s.depth *= w.shape[i];
  py::object panels = py::none();
  if (call_device() != kCpu) return panels;
  with_float(w, [&](auto zero) {
    using T = decltype(zero);
    panels = new_array(op, w.dtype, panel_dims<T>(s));
    invoke(kernels_for<T>().pack_panels, s, w.as<const T>(), data_of<T>(panels));
  });
  return panels;
}

}  // namespace

const void* panels_or_null(const char* op, py::handle panels, const Array& like, int64_t groups,
                           int64_t lines, int64_t depth) {
  if (panels.is_none()) return nullptr;
  const Array a(op, "w (packed)", panels);
  a.require_float().require_like(like);
  const PackShape s = {groups, lines, depth};
  Dims expected;
  with_float(like, [&](auto zero) { expected = panel_dims<decltype(zero)>(s); });
  if (a.dims() != expected) {
    value_error(op, "w was packed as " + shape_text(a.shape, a.ndim) + ", expected " +
                        shape_text(expected.data(), int(expected.size())) +
                        ": pack it again for these groups and this instruction set");
  }
  return a.data;
}

void register_pack(py::module_& m) { define(m, "pack_panels", &pack_panels); }

}  // namespace hl::bind
