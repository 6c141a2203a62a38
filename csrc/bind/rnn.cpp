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
enum class Kind { kPlain, kVariant };
int64_t saved_blocks(RnnCell cell, Kind kind) {
  if (cell == RnnCell::kTanh || cell == RnnCell::kRelu) return kind == Kind::kVariant;
  return 4;
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
      const int64_t length = indices_->on_host()[n];
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

// What the variants have more than the plain cells.
struct Extras {
  py::handle peephole, w_hr, norm_ih, norm_hh;
  double eps, drop, zone_h, zone_c;
  int zoneout;
  uint64_t seed, call;
};

// Shape and pointers of a call, checked.
struct Call {
  RnnShape s;
  Array x;
  const void *h0, *c0, *w_ih, *w_hh, *b_ih, *b_hh;
  const void *peephole = nullptr, *w_hr = nullptr, *norm_ih = nullptr, *norm_hh = nullptr;

  Call(const char* op, RnnCell cell, bool step, py::handle x_in, py::handle h0_in, py::handle c0_in,
       py::handle w_ih_in, py::handle w_hh_in, py::handle b_ih_in, py::handle b_hh_in,
       const Extras* extras = nullptr)
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
    if (extras) add(op, *extras);
    if (s.H == 0)
      value_error(op, "w_hh has shape " + shape_text(hh.shape, 2) + ", expected H >= 1");
    if (hh.shape[0] != G * s.H) {
      value_error(op, "w_hh has shape " + shape_text(hh.shape, 2) + ", expected (" +
                          std::to_string(G * s.H) + ", " + std::to_string(s.P) +
                          "): " + std::to_string(G) + (G == 1 ? " gate" : " gates") +
                          " of H = " + std::to_string(s.H));
    }
    ih.require_float().require_like(x).require_ndim(2, "(gates H, I)");
    if (ih.shape[1] != s.I) {
      value_error(op, "x has " + std::to_string(s.I) + " features, w_ih " +
                          shape_text(ih.shape, 2) + " expects " + std::to_string(ih.shape[1]));
    }
    ih.require_shape({G * s.H, s.I}).require_contiguous();
    w_ih = ih.data, w_hh = hh.data;
    b_ih = optional_array(op, "b_ih", b_ih_in, x, {G * s.H});
    b_hh = optional_array(op, "b_hh", b_hh_in, x, {G * s.H});
    h0 = optional_array(op, "h0", h0_in, x, {s.N, s.P});
    c0 = optional_array(op, "c0", c0_in, x, {s.N, s.H});
    const Kind kind = extras ? Kind::kVariant : Kind::kPlain;
    s.gate_stride = row_stride(saved_blocks(cell, kind) * s.H, x.itemsize);
    if (s.layer_norm) s.norm_stride = row_stride(2 * G * s.H + 4, x.itemsize);
  }

  template <class T>
  RnnInputs<T> inputs(const int64_t* lengths) const {
    auto given = [](const void* p) { return static_cast<const T*>(p); };
    return {lengths,         x.as<const T>(), given(h0),      given(c0),
            given(w_ih),     given(w_hh),     given(b_ih),    given(b_hh),
            given(peephole), given(w_hr),     given(norm_ih), given(norm_hh)};
  }

 private:
  void add(const char* op, const Extras& e) {
    const int64_t G = gates_of(s.cell);
    if (s.cell != RnnCell::kLstm && !(e.peephole.is_none() && e.w_hr.is_none())) {
      value_error(op, "peephole and w_hr belong to the LSTM");
    }
    if (!e.w_hr.is_none()) {
      const Array r(op, "w_hr", e.w_hr);
      r.require_float().require_like(x).require_ndim(2, "(P, H)").require_shape({s.P, -1});
      r.require_contiguous();
      s.H = r.shape[1], s.projects = true;
      w_hr = r.data;
    }
    peephole = optional_array(op, "peephole", e.peephole, x, {3, s.H});
    norm_ih = optional_array(op, "norm_ih", e.norm_ih, x, {G * s.H});
    norm_hh = optional_array(op, "norm_hh", e.norm_hh, x, {G * s.H});
    if (!norm_ih != !norm_hh) value_error(op, "norm_ih and norm_hh come together or not at all");
    s.peephole = peephole, s.layer_norm = norm_ih;
    s.eps = e.eps;
    s.drop = probability(op, "recurrent_dropout", e.drop);
    s.zone_h = probability(op, "zoneout", e.zone_h),
    s.zone_c = probability(op, "zoneout", e.zone_c);
    s.zoneout = Zoneout(e.zoneout);
    auto words = [](double p) { return uint64_t(p * 4294967296.0 + 0.5); };
    s.drop_below = words(s.drop), s.zone_h_below = words(s.zone_h),
    s.zone_c_below = words(s.zone_c);
    s.seed = e.seed, s.call = e.call;
  }

  static double probability(const char* op, const char* name, double p) {
    if (!(p >= 0 && p <= 1)) {
      value_error(op, std::string(name) + " is " + std::to_string(p) + ", expected 0 to 1");
    }
    return p;
  }
};

template <class T>
T* out(const py::object& a) {
  return a.is_none() ? nullptr : data_of<T>(a);
}

// The GRU with its reset in front is one of the variants.
int check_cell(int code, Kind kind = Kind::kPlain) {
  const RnnCell last = kind == Kind::kPlain ? RnnCell::kGru : RnnCell::kGruBefore;
  if (code < 0 || code > int(last)) {
    value_error("rnn", "no cell has the code " + std::to_string(code));
  }
  return code;
}

Extras extras_of(const py::tuple& t) {
  return {t[0],
          t[1],
          t[2],
          t[3],
          t[4].cast<double>(),
          t[5].cast<double>(),
          t[6].cast<double>(),
          t[7].cast<double>(),
          t[8].cast<int>(),
          t[9].cast<uint64_t>(),
          t[10].cast<uint64_t>()};
}

// (y, hn, cn, gates, cells, norms); what is saved only where `save`
py::tuple forward(const char* op, Call& c, py::handle lengths_in, bool reverse, bool save,
                  Kind kind) {
  RnnShape& s = c.s;
  const Lengths lengths(op, lengths_in, s);
  s.reverse = reverse;
  s.saves = save;
  const bool lstm = s.cell == RnnCell::kLstm;
  py::object y = new_array(op, c.x.dtype, {s.N, s.T, s.P});
  py::object hn = new_array(op, c.x.dtype, {s.N, s.P});
  py::object cn = py::none(), gates = py::none(), cells = py::none(), norms = py::none();
  if (lstm) cn = new_array(op, c.x.dtype, {s.N, s.H});
  if (save && s.gate_stride > 0) gates = new_array(op, c.x.dtype, {s.rows, s.gate_stride});
  if (save && lstm) cells = new_array(op, c.x.dtype, {s.rows, s.H});
  if (save && s.layer_norm) norms = new_array(op, c.x.dtype, {s.rows, s.norm_stride});
  with_float(c.x, [&](auto zero) {
    using T = decltype(zero);
    const auto& table = kernels_for<T>();
    invoke(kind == Kind::kPlain ? table.rnn_forward : table.rnn_variant_forward, s,
           c.inputs<T>(lengths.data()), RnnSaved<T>{out<T>(gates), out<T>(cells), out<T>(norms)},
           data_of<T>(y), data_of<T>(hn), out<T>(cn));
  });
  return py::make_tuple(y, hn, cn, gates, cells, norms);
}

py::tuple rnn_forward(int code, py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                      py::handle w_hh, py::handle b_ih, py::handle b_hh, py::handle lengths,
                      bool reverse, bool save) {
  const char* op = kNames[check_cell(code)][kWhole];
  Call c(op, RnnCell(code), false, x, h0, c0, w_ih, w_hh, b_ih, b_hh);
  return forward(op, c, lengths, reverse, save, Kind::kPlain);
}

py::tuple rnn_variant_forward(int code, py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                              py::handle w_hh, py::handle b_ih, py::handle b_hh, py::handle lengths,
                              bool reverse, bool save, py::tuple extras) {
  const char* op = kNames[check_cell(code, Kind::kVariant)][kWhole];
  const Extras e = extras_of(extras);
  Call c(op, RnnCell(code), false, x, h0, c0, w_ih, w_hh, b_ih, b_hh, &e);
  return forward(op, c, lengths, reverse, save, Kind::kVariant);
}

// (h, c, gates); what a cell saves of c is c
py::tuple rnn_cell_forward(int code, py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                           py::handle w_hh, py::handle b_ih, py::handle b_hh, bool save) {
  const RnnCell cell = RnnCell(check_cell(code));
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

struct Saved {
  py::handle y, gates, cells, norms;
};

// (dx, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh, then those of peephole, w_hr, norm_ih, norm_hh), None for
// those whose bit in `need` is not set
py::tuple backward(const char* op, Call& c, bool step, py::handle dy_in, py::handle dhn_in,
                   py::handle dcn_in, py::handle lengths_in, bool reverse, const Saved& given,
                   int need, Kind kind) {
  RnnShape& s = c.s;
  const Lengths lengths(op, lengths_in, s);
  s.reverse = reverse;
  s.saves = true;
  const int64_t G = gates_of(s.cell);
  const bool lstm = s.cell == RnnCell::kLstm;
  const Dims whole = step ? Dims{s.N, s.P} : Dims{s.N, s.T, s.P};
  const void* dy = optional_array(op, "dy", dy_in, c.x, whole);
  const void* dhn = optional_array(op, "dhn", dhn_in, c.x, {s.N, s.P});
  const void* dcn = optional_array(op, "dcn", dcn_in, c.x, {s.N, s.H});
  auto saved = [&](bool there, const char* name, py::handle object, const Dims& shape) {
    if (!there) return static_cast<void*>(nullptr);
    const Array a(op, name, object);
    a.require_float().require_like(c.x).require_shape(shape).require_contiguous();
    return a.data;
  };
  const void* y = saved(true, "y", given.y, whole);
  void* gates = saved(s.gate_stride > 0, "gates", given.gates, {s.rows, s.gate_stride});
  void* cells = saved(lstm, "cells", given.cells, {s.rows, s.H});
  void* norms = saved(s.layer_norm, "norms", given.norms, {s.rows, s.norm_stride});
  constexpr int kCount = 11;
  const Dims shapes[kCount] = {c.x.dims(),     {s.N, s.P}, {s.N, s.H}, {G * s.H, s.I},
                               {G * s.H, s.P}, {G * s.H},  {G * s.H},  {3, s.H},
                               {s.P, s.H},     {G * s.H},  {G * s.H}};
  py::tuple made(kind == Kind::kPlain ? 7 : kCount);
  void* to[kCount] = {};
  for (int i = 0; i < int(made.size()); ++i) {
    const bool there = i == 2   ? lstm
                       : i == 7 ? s.peephole
                       : i == 8 ? s.projects
                       : i >= 9 ? s.layer_norm
                                : true;
    py::object array = there && need >> i & 1 ? new_array(op, c.x.dtype, shapes[i]) : py::none();
    if (!array.is_none()) to[i] = data_of(array);
    made[size_t(i)] = array;
  }
  with_float(c.x, [&](auto zero) {
    using T = decltype(zero);
    auto in = [](const void* p) { return static_cast<const T*>(p); };
    auto at = [](void* p) { return static_cast<T*>(p); };
    const RnnGradients<T> gradients = {at(to[0]), at(to[1]), at(to[2]), at(to[3]),
                                       at(to[4]), at(to[5]), at(to[6]), at(to[7]),
                                       at(to[8]), at(to[9]), at(to[10])};
    const auto& table = kernels_for<T>();
    invoke(kind == Kind::kPlain ? table.rnn_backward : table.rnn_variant_backward, s, in(dy),
           in(dhn), in(dcn), c.inputs<T>(lengths.data()),
           RnnSaved<T>{at(gates), at(cells), at(norms)}, in(y), gradients);
  });
  return made;
}

py::tuple rnn_backward(int code, py::handle dy, py::handle dhn, py::handle dcn, py::handle x,
                       py::handle h0, py::handle c0, py::handle w_ih, py::handle w_hh,
                       py::handle lengths, bool reverse, py::handle y, py::handle gates,
                       py::handle cells, int need) {
  const char* op = kNames[check_cell(code)][kWholeBackward];
  const py::none none;
  Call c(op, RnnCell(code), false, x, h0, c0, w_ih, w_hh, none, none);
  return backward(op, c, false, dy, dhn, dcn, lengths, reverse, {y, gates, cells, none}, need,
                  Kind::kPlain);
}

py::tuple rnn_variant_backward(int code, py::handle dy, py::handle dhn, py::handle dcn,
                               py::handle x, py::handle h0, py::handle c0, py::handle w_ih,
                               py::handle w_hh, py::handle lengths, bool reverse, py::tuple extras,
                               py::handle y, py::handle gates, py::handle cells, py::handle norms,
                               int need) {
  const char* op = kNames[check_cell(code, Kind::kVariant)][kWholeBackward];
  const py::none none;
  const Extras e = extras_of(extras);
  Call c(op, RnnCell(code), false, x, h0, c0, w_ih, w_hh, none, none, &e);
  return backward(op, c, false, dy, dhn, dcn, lengths, reverse, {y, gates, cells, norms}, need,
                  Kind::kVariant);
}

py::tuple rnn_cell_backward(int code, py::handle dh, py::handle dc, py::handle x, py::handle h0,
                            py::handle c0, py::handle w_ih, py::handle w_hh, py::handle h,
                            py::handle c, py::handle gates, int need) {
  const char* op = kNames[check_cell(code)][kStepBackward];
  const py::none none;
  Call call(op, RnnCell(code), true, x, h0, c0, w_ih, w_hh, none, none);
  return backward(op, call, true, dh, none, dc, none, false, {h, gates, c, none}, need,
                  Kind::kPlain);
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
  define(m, "rnn_forward", &rnn_forward);
  define(m, "rnn_backward", &rnn_backward);
  define(m, "rnn_variant_forward", &rnn_variant_forward);
  define(m, "rnn_variant_backward", &rnn_variant_backward);
  define(m, "rnn_cell_forward", &rnn_cell_forward);
  define(m, "rnn_cell_backward", &rnn_cell_backward);
}

}  // namespace hl::bind
