// Recurrent networks: whole sequences and single steps of every cell.
#include <optional>

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

constexpr const char* kNames[][4] = {
    {"rnn", "rnn_backward", "rnn_cell", "rnn_cell_backward"},
    {"rnn", "rnn_backward", "rnn_cell", "rnn_cell_backward"},
    {"lstm", "lstm_backward", "lstm_cell", "lstm_cell_backward"},
    {"gru", "gru_backward", "gru_cell", "gru_cell_backward"},
    {"gru", "gru_backward", "gru_cell", "gru_cell_backward"},
};
enum Name { kWhole, kWholeBackward, kStep, kStepBackward };

int64_t gates_of(RnnCell cell) {
  return cell == RnnCell::kLstm ? 4 : cell == RnnCell::kGru || cell == RnnCell::kGruBefore ? 3 : 1;
}
// Blocks of H numbers that are saved for a step; the plain networks of tanh or ReLU need only y.
int64_t saved_blocks(RnnCell cell) {
  return cell == RnnCell::kTanh || cell == RnnCell::kRelu ? 0 : 4;
}

// An odd number of cache lines, so that rows do not share cache sets.
int64_t row_stride(int64_t n, int64_t size) {
  const int64_t line = 64 / size;
  return n < 4 * line ? n : (((n + line - 1) / line) | 1) * line;
}

const void* optional_array(const char* op, const char* name, py::handle object, const Array& like,
                           const Dims& shape) {
  if (object.is_none()) return nullptr;
  const Array a(op, name, object);
  a.require_float().require_like(like).require_shape(shape).require_contiguous();
  return a.data;
}

// Lengths as the kernels want them: null where all sequences are whole.
class Lengths {
 public:
  Lengths(const char* op, py::handle object, RnnShape& s) {
    s.rows = s.N * s.T;
    s.steps = s.N > 0 ? s.T : 0;
    if (object.is_none()) return;
    array_.emplace(op, "lengths", object);
    array_->require_index().require_shape({s.N});
    indices_.emplace(*array_);
    int64_t rows = 0, longest = 0;
    for (int64_t n = 0; n < s.N; ++n) {
      const int64_t length = indices_->data()[n];
      if (length < 0 || length > s.T) {
        value_error(op, "lengths[" + std::to_string(n) + "] is " + std::to_string(length) +
                            ", expected 0 to T = " + std::to_string(s.T));
      }
      rows += length;
      if (length > longest) longest = length;
    }
    if (rows == s.rows) return;
    s.rows = rows, s.steps = longest;
    data_ = indices_->data();
  }
  const int64_t* data() const { return data_; }

 private:
  std::optional<Array> array_;
  std::optional<Indices> indices_;
  const int64_t* data_ = nullptr;
};

// Shape and pointers of a call, checked.
struct Call {
  RnnShape s;
  Array x;
  const void *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh;

  Call(const char* op, RnnCell cell, bool step, py::handle x_in, py::handle h0_in, py::handle c0_in,
       py::handle w_ih_in, py::handle w_hh_in, py::handle b_ih_in, py::handle b_hh_in)
      : s(), x(op, "x", x_in) {
    const Array ih(op, "w_ih", w_ih_in), hh(op, "w_hh", w_hh_in);
    const int64_t G = gates_of(cell);
    x.require_float()
        .require_ndim(step ? 2 : 3, step ? "(N, I)" : "(N, T, I)")
        .require_contiguous();
    hh.require_float().require_like(x).require_ndim(2, "(gates H, H)").require_contiguous();
    s.cell = cell;
    s.N = x.shape[0], s.T = step ? 1 : x.shape[1], s.I = x.shape[x.ndim - 1];
    s.H = s.P = hh.shape[1];
    if (s.H == 0)
      value_error(op, "w_hh has shape " + shape_text(hh.shape, 2) + ", expected H >= 1");
    if (hh.shape[0] != G * s.H) {
      value_error(op, "w_hh has shape " + shape_text(hh.shape, 2) + ", expected (" +
                          std::to_string(G * s.H) + ", " + std::to_string(s.H) +
                          "): " + std::to_string(G) + (G == 1 ? " gate" : " gates") +
                          " of H = " + std::to_string(s.H));
    }
    ih.require_float().require_like(x).require_shape({G * s.H, s.I}).require_contiguous();
    w_ih = ih.data, w_hh = hh.data;
    b_ih = optional_array(op, "b_ih", b_ih_in, x, {G * s.H});
    b_hh = optional_array(op, "b_hh", b_hh_in, x, {G * s.H});
    h0 = optional_array(op, "h0", h0_in, x, {s.N, s.H});
    c0 = optional_array(op, "c0", c0_in, x, {s.N, s.H});
    s.gate_stride = row_stride(saved_blocks(cell) * s.H, x.itemsize);
  }

  template <class T>
  RnnInputs<T> inputs(const int64_t* lengths) const {
    RnnInputs<T> in = {};
    in.lengths = lengths;
    in.x = x.as<const T>();
    in.h0 = static_cast<const T*>(h0), in.c0 = static_cast<const T*>(c0);
    in.w_ih = static_cast<const T*>(w_ih), in.w_hh = static_cast<const T*>(w_hh);
    in.b_ih = static_cast<const T*>(b_ih), in.b_hh = static_cast<const T*>(b_hh);
    return in;
  }
};

template <class T>
T* out(const py::object& a) {
  return a.is_none() ? nullptr : data_of<T>(a);
}

RnnCell cell_of(int code) {
  if (code < 0 || code > int(RnnCell::kGruBefore)) {
    value_error("rnn", "no cell has the code " + std::to_string(code));
  }
  return RnnCell(code);
}

// (y, hn, cn, gates, cells); the last two only where `save`
py::tuple rnn_forward(int code, py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                      py::handle w_hh, py::handle b_ih, py::handle b_hh, py::handle lengths_in,
                      bool reverse, bool save) {
  const RnnCell cell = cell_of(code);
  const char* op = kNames[code][kWhole];
  Call c(op, cell, false, x, h0, c0, w_ih, w_hh, b_ih, b_hh);
  RnnShape& s = c.s;
  const Lengths lengths(op, lengths_in, s);
  s.reverse = reverse;
  s.saves = save;
  const bool lstm = cell == RnnCell::kLstm;
  py::object y = new_array(op, c.x.dtype, {s.N, s.T, s.H}),
             hn = new_array(op, c.x.dtype, {s.N, s.H});
  py::object cn = py::none(), gates = py::none(), cells = py::none();
  if (lstm) cn = new_array(op, c.x.dtype, {s.N, s.H});
  if (save && s.gate_stride > 0) gates = new_array(op, c.x.dtype, {s.rows, s.gate_stride});
  if (save && lstm) cells = new_array(op, c.x.dtype, {s.rows, s.H});
  with_float(c.x, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().rnn_forward, s, c.inputs<T>(lengths.data()),
           RnnSaved<T>{out<T>(gates), out<T>(cells), nullptr}, data_of<T>(y), data_of<T>(hn),
           out<T>(cn));
  });
  return py::make_tuple(y, hn, cn, gates, cells);
}

// (h, c, gates); what a cell saves of c is c
py::tuple rnn_cell_forward(int code, py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                           py::handle w_hh, py::handle b_ih, py::handle b_hh, bool save) {
  const RnnCell cell = cell_of(code);
  const char* op = kNames[code][kStep];
  Call call(op, cell, true, x, h0, c0, w_ih, w_hh, b_ih, b_hh);
  RnnShape& s = call.s;
  s.rows = s.N, s.steps = s.N > 0;
  s.saves = save;
  py::object h = new_array(op, call.x.dtype, {s.N, s.H}), c = py::none(), gates = py::none();
  if (cell == RnnCell::kLstm) c = new_array(op, call.x.dtype, {s.N, s.H});
  if (save && s.gate_stride > 0) gates = new_array(op, call.x.dtype, {s.N, s.gate_stride});
  with_float(call.x, [&](auto zero) {
    using T = decltype(zero);
    T *to = data_of<T>(h), *c_to = out<T>(c);
    invoke(kernels_for<T>().rnn_forward, s, call.inputs<T>(nullptr),
           RnnSaved<T>{out<T>(gates), save ? c_to : nullptr, nullptr}, to, to, c_to);
  });
  return py::make_tuple(h, c, gates);
}

// (dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh), None for those whose bit in `need` is not set
py::tuple backward(const char* op, bool step, RnnCell cell, py::handle dy_in, py::handle dhn_in,
                   py::handle dcn_in, py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                   py::handle w_hh, py::handle lengths_in, bool reverse, py::handle y_in,
                   py::handle gates_in, py::handle cells_in, int need) {
  const py::none none;
  Call c(op, cell, step, x, h0, c0, w_ih, w_hh, none, none);
  RnnShape& s = c.s;
  const Lengths lengths(op, lengths_in, s);
  s.reverse = reverse;
  s.saves = true;
  const int64_t G = gates_of(cell);
  const bool lstm = cell == RnnCell::kLstm;
  const Dims whole = step ? Dims{s.N, s.H} : Dims{s.N, s.T, s.H};
  const void* dy = optional_array(op, "dy", dy_in, c.x, whole);
  const void* dhn = optional_array(op, "dhn", dhn_in, c.x, {s.N, s.H});
  const void* dcn = optional_array(op, "dcn", dcn_in, c.x, {s.N, s.H});
  const Array y(op, "y", y_in);
  y.require_float().require_like(c.x).require_shape(whole).require_contiguous();
  const void *gates = nullptr, *cells = nullptr;
  if (s.gate_stride > 0) {
    const Array a(op, "gates", gates_in);
    a.require_float().require_like(c.x).require_shape({s.rows, s.gate_stride}).require_contiguous();
    gates = a.data;
  }
  if (lstm) {
    const Array a(op, "cells", cells_in);
    a.require_float().require_like(c.x).require_shape({s.rows, s.H}).require_contiguous();
    cells = a.data;
  }
  const Dims shapes[7] = {c.x.dims(),     {s.N, s.H}, {s.N, s.H}, {G * s.H, s.I},
                          {G * s.H, s.H}, {G * s.H},  {G * s.H}};
  py::object made[7];
  for (int i = 0; i < 7; ++i) {
    const bool wanted = need >> i & 1 && (i != 2 || lstm);
    made[i] = wanted ? new_array(op, c.x.dtype, shapes[i]) : py::none();
  }
  with_float(c.x, [&](auto zero) {
    using T = decltype(zero);
    auto given = [](const void* p) { return static_cast<const T*>(p); };
    RnnGradients<T> to = {};
    to.x = out<T>(made[0]), to.h0 = out<T>(made[1]), to.c0 = out<T>(made[2]);
    to.w_ih = out<T>(made[3]), to.w_hh = out<T>(made[4]);
    to.b_ih = out<T>(made[5]), to.b_hh = out<T>(made[6]);
    const RnnSaved<T> saved = {const_cast<T*>(given(gates)), const_cast<T*>(given(cells)), nullptr};
    invoke(kernels_for<T>().rnn_backward, s, given(dy), given(dhn), given(dcn),
           c.inputs<T>(lengths.data()), saved, y.as<const T>(), to);
  });
  return py::make_tuple(made[0], made[1], made[2], made[3], made[4], made[5], made[6]);
}

py::tuple rnn_backward(int code, py::handle dy, py::handle dhn, py::handle dcn, py::handle x,
                       py::handle h0, py::handle c0, py::handle w_ih, py::handle w_hh,
                       py::handle lengths, bool reverse, py::handle y, py::handle gates,
                       py::handle cells, int need) {
  const RnnCell cell = cell_of(code);
  return backward(kNames[code][kWholeBackward], false, cell, dy, dhn, dcn, x, h0, c0, w_ih, w_hh,
                  lengths, reverse, y, gates, cells, need);
}

py::tuple rnn_cell_backward(int code, py::handle dh, py::handle dc, py::handle x, py::handle h0,
                            py::handle c0, py::handle w_ih, py::handle w_hh, py::handle h,
                            py::handle c, py::handle gates, int need) {
  const RnnCell cell = cell_of(code);
  const py::none none;
  return backward(kNames[code][kStepBackward], true, cell, dh, none, dc, x, h0, c0, w_ih, w_hh,
                  none, false, h, gates, c, need);
}

}  // namespace

void register_rnn(py::module_& m) {
  py::dict cells;
  cells["tanh"] = int(RnnCell::kTanh);
  cells["relu"] = int(RnnCell::kRelu);
  cells["lstm"] = int(RnnCell::kLstm);
  cells["gru"] = int(RnnCell::kGru);
  cells["gru_before"] = int(RnnCell::kGruBefore);
  m.attr("rnn_cells") = cells;
  m.def("rnn_forward", &rnn_forward);
  m.def("rnn_backward", &rnn_backward);
  m.def("rnn_cell_forward", &rnn_cell_forward);
  m.def("rnn_cell_backward", &rnn_cell_backward);
}

}  // namespace hl::bind
