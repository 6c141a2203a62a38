// Softmax attention.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "bind/indices.h"
#include "bind/invoke.h"
#include "bind/register.h"

namespace hl::bind {
namespace {

enum class Causal { kNone, kLowerRight, kUpperLeft };

// What a query sees and what is added: the options of forward and backward alike. They come as one
// tuple, in this order, made by python/handloom/_calls/attention.py.
struct Options {
  py::handle mask, bias, lengths, starts, slopes, scale;
  Causal causal;
  int64_t left, right;  // negative: no limit
  double dropout;
  uint64_t seed, call;
};

Options options_of(const py::tuple& t) {
  return {t[0],
          t[1],
          t[2],
          t[3],
          t[4],
          t[5],
          Causal(t[6].cast<int>()),
          t[7].cast<int64_t>(),
          t[8].cast<int64_t>(),
          t[9].cast<double>(),
          t[10].cast<uint64_t>(),
          t[11].cast<uint64_t>()};
}

std::string text(int64_t n) { return std::to_string(n); }

// The strides of n, t and h; the numbers of one head must lie side by side.
void strides_of(const Array& a, int64_t* strides) {
  a.require_float().require_ndim(4, "(N, T, heads, D)");
  for (int i = 0; i < 3; ++i) strides[i] = a.stride(i);
  if (a.shape[3] > 1 && a.stride(3) != 1 && a.size() > 0) {
    value_error(a.op, std::string(a.name) +
                          " does not have the numbers of a head side by side, "
                          "expected a contiguous last axis: np.ascontiguousarray(" +
                          a.name + ")");
  }
}

// The strides of an array that is broadcast to `shape`, and its own sizes.
void broadcast_to(const Array& a, const int64_t (&shape)[4], int64_t* strides, int64_t* sizes) {
  const int missing = 4 - a.ndim;
  bool fits = missing >= 0;
  for (int i = 0; fits && i < 4; ++i) {
    const int64_t size = i < missing ? 1 : a.shape[i - missing];
    fits = size == 1 || size == shape[i];
    strides[i] = size == 1 ? 0 : a.stride(i - missing);
    if (sizes) sizes[i] = size;
  }
  if (!fits) {
    value_error(a.op,
                std::string(a.name) + " has shape " + shape_text(a.shape, a.ndim) +
                    ", which does not broadcast to (N, heads, Tq, Tk) = " + shape_text(shape, 4));
  }
}

// A call's arrays, checked. What was made from options is kept alive here.
struct Attention {
  AttentionShape s = {};
  std::optional<Array> mask, bias, slopes, lengths_array, starts_array;
  std::optional<Indices> lengths, starts;

  Attention(const char* op, const Array& q, const Array& k, const Array* v, const Options& o) {
    strides_of(q, s.q);
    strides_of(k, s.k);
    k.require_like(q);
    s.N = q.shape[0], s.Tq = q.shape[1], s.H = q.shape[2], s.D = q.shape[3];
    s.Tk = k.shape[1], s.Hk = k.shape[2];
    k.require_shape({s.N, -1, -1, s.D});
    if (s.Hk == 0 ? s.H != 0 : s.H % s.Hk != 0) {
      value_error(op, "q has " + text(s.H) + " heads and k has " + text(s.Hk) +
                          ", expected a number that divides q's");
    }
    if (v) {
      strides_of(*v, s.v);
      v->require_like(q).require_shape({s.N, s.Tk, s.Hk, -1});
      s.Dv = v->shape[3];
    }
    terms(op, q, o);
    window(op, o);
    if (!(o.dropout >= 0 && o.dropout <= 1)) {
      value_error(
          op, "dropout is " + std::string(py::str(py::float_(o.dropout))) + ", expected 0 to 1");
    }
    s.seed = o.seed, s.call = o.call;
    s.threshold = uint64_t(std::nearbyint(std::ldexp(o.dropout, 32)));
    s.keep = o.dropout < 1 ? 1 / (1 - o.dropout) : 0;
    s.scale =
        o.scale.is_none() ? (s.D > 0 ? 1 / std::sqrt(double(s.D)) : 1.0) : o.scale.cast<double>();
  }

  void terms(const char* op, const Array& q, const Options& o) {
    const int64_t scores[4] = {s.N, s.H, s.Tq, s.Tk};
    for (int64_t& n : s.bias_sizes) n = 1;
    if (!o.mask.is_none()) {
      mask.emplace(op, "mask", o.mask).require_bool();
      broadcast_to(*mask, scores, s.mask, nullptr);
    }
    if (!o.bias.is_none()) {
      bias.emplace(op, "bias", o.bias).require_float().require_like(q);
      broadcast_to(*bias, scores, s.bias, s.bias_sizes);
    }
    if (!o.slopes.is_none()) {
      slopes.emplace(op, "slopes", o.slopes).require_float().require_like(q);
      const bool own = slopes->ndim == 2;
      slopes->require_shape(own ? Dims{s.N, s.H} : Dims{s.H});
      s.slope[0] = own ? slopes->stride(0) : 0, s.slope[1] = slopes->stride(own ? 1 : 0);
    }
    s.terms = mask || bias || slopes;
    if (!o.lengths.is_none()) {
      lengths_array.emplace(op, "lengths", o.lengths).require_index().require_shape({s.N});
      check_range(lengths.emplace(*lengths_array), "lengths", 0, s.Tk);
    }
    if (!o.starts.is_none()) {
      starts_array.emplace(op, "starts", o.starts).require_index().require_shape({s.N});
      check_range(starts.emplace(*starts_array), "starts", -(int64_t(1) << 40), int64_t(1) << 40);
    }
  }

  void check_range(const Indices& values, const char* name, int64_t low, int64_t high) const {
    for (int64_t i = 0; i < values.count(); ++i) {
      const int64_t value = values.on_host()[i];
      if (value < low || value > high) {
        const Array& a = name[0] == 'l' ? *lengths_array : *starts_array;
        value_error(a.op, std::string(name) + "[" + text(i) + "] is " + text(value) +
                              ", expected " + text(low) + " to " + text(high));
      }
    }
  }

  void window(const char* op, const Options& o) {
    if (o.causal < Causal::kNone || o.causal > Causal::kUpperLeft) {
      value_error(op, "there is no causal number " + text(int(o.causal)));
    }
    s.left = o.left < 0 ? kUnlimited : std::min(o.left, kUnlimited);
    s.right = o.right < 0 ? kUnlimited : std::min(o.right, kUnlimited);
    if (o.causal != Causal::kNone) s.right = 0;
    s.shift = o.causal == Causal::kLowerRight ? s.Tk - s.Tq : 0;
  }

  const int64_t* length() const { return lengths ? lengths->data() : nullptr; }
  const int64_t* start() const { return starts ? starts->data() : nullptr; }
  const unsigned char* hidden() const { return mask ? mask->as<const unsigned char>() : nullptr; }
  template <class T>
  const T* added() const {
    return bias ? bias->as<const T>() : nullptr;
  }
  template <class T>
  const T* slope() const {
    return slopes ? slopes->as<const T>() : nullptr;
  }
};

py::tuple attention_forward(const char* op, py::handle q_in, py::handle k_in, py::handle v_in,
                            const py::tuple& options) {
  const Array q(op, "q", q_in), k(op, "k", k_in), v(op, "v", v_in);
  const Attention a(op, q, k, &v, options_of(options));
  const AttentionShape& s = a.s;
  py::object y = new_array(op, q.dtype, {s.N, s.Tq, s.H, s.Dv});
  py::object lse = new_array(op, q.dtype, {s.N, s.H, s.Tq});
  with_float(q, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().attention_forward, s, q.as<const T>(), k.as<const T>(), v.as<const T>(),
           a.length(), a.start(), a.hidden(), a.added<T>(), a.slope<T>(), data_of<T>(y),
           data_of<T>(lse));
  });
  return py::make_tuple(y, lse);
}

py::object attention_weights(const char* op, py::handle q_in, py::handle k_in, py::handle lse_in,
                             const py::tuple& options) {
  const Array q(op, "q", q_in), k(op, "k", k_in), lse(op, "saved", lse_in);
  const Attention a(op, q, k, nullptr, options_of(options));
  const AttentionShape& s = a.s;
  lse.require_float().require_like(q).require_shape({s.N, s.H, s.Tq}).require_contiguous();
  py::object w = new_array(op, q.dtype, {s.N, s.H, s.Tq, s.Tk});
  with_float(q, [&](auto zero) {
    using T = decltype(zero);
    invoke(kernels_for<T>().attention_weights, s, q.as<const T>(), k.as<const T>(),
           lse.as<const T>(), a.length(), a.start(), a.hidden(), a.added<T>(), a.slope<T>(),
           data_of<T>(w));
  });
  return w;
}

// The gradient by `of`: an array given by the caller, of any strides but the last, or a new one.
py::object gradient(const Array& of, const char* name, py::handle given, bool wanted,
                    int64_t* strides) {
  if (!wanted) return py::none();
  const bool fresh = given.is_none();
  py::object d = fresh ? new_like(of) : py::reinterpret_borrow<py::object>(given);
  const Array a(of.op, name, d);
  if (!fresh) {
    a.require_float().require_like(of).require_shape(of.dims());
    if (!a.writeable || share_memory(a, of)) {
      value_error(of.op, std::string(name) + " is read-only or shares memory with an input");
    }
  }
  strides_of(a, strides);
  return d;
}

py::tuple attention_backward(const char* op, py::handle dy_in, py::handle q_in, py::handle k_in,
                             py::handle v_in, py::handle y_in, py::handle lse_in,
                             const py::tuple& options, int need, py::handle dq_in, py::handle dk_in,
                             py::handle dv_in) {
  const Array q(op, "q", q_in), k(op, "k", k_in), v(op, "v", v_in);
  const Array dy(op, "dy", dy_in), y(op, "y", y_in), lse(op, "saved", lse_in);
  Attention a(op, q, k, &v, options_of(options));
  AttentionShape& s = a.s;
  const Dims result = {s.N, s.Tq, s.H, s.Dv};
  dy.require_float().require_like(q).require_shape(result).require_contiguous();
  y.require_float().require_like(q).require_shape(result).require_contiguous();
  lse.require_float().require_like(q).require_shape({s.N, s.H, s.Tq}).require_contiguous();
  const bool keys = (need & 6) != 0;
  py::object dq = gradient(q, "dq", dq_in, need & 1, s.dq);
  py::object dk = gradient(k, "dk", dk_in, keys, s.dk);
  py::object dv = gradient(v, "dv", dv_in, keys, s.dv);
  py::object dbias = py::none();
  if ((need & 8) && a.bias) dbias = new_array(op, q.dtype, a.bias->dims());
  with_float(q, [&](auto zero) {
    using T = decltype(zero);
    // Arrays that the caller gave may be views: their data is not where ours would be.
    auto at = [](const py::object& d) {
      return d.is_none() ? nullptr : static_cast<T*>(Array("attention", "d", d).data);
    };
    if (need & 7) {
      invoke(kernels_for<T>().attention_backward, s, dy.as<const T>(), q.as<const T>(),
             k.as<const T>(), v.as<const T>(), y.as<const T>(), lse.as<const T>(), a.length(),
             a.start(), a.hidden(), a.added<T>(), a.slope<T>(), at(dq), at(dk), at(dv));
    }
    if (!dbias.is_none()) {
      invoke(kernels_for<T>().attention_bias_backward, s, dy.as<const T>(), q.as<const T>(),
             k.as<const T>(), v.as<const T>(), y.as<const T>(), lse.as<const T>(), a.length(),
             a.start(), a.hidden(), a.added<T>(), a.slope<T>(), data_of<T>(dbias));
    }
  });
  return py::make_tuple(dq, need & 2 ? dk : py::none(), need & 4 ? dv : py::none(), dbias);
}

// Queries, keys and values (or keys and values alone, where q is given) side by side in one
// projection x (N, T, 3 or 2, heads, D): so is their gradient.
py::tuple attention_packed_backward(const char* op, py::handle dy, py::handle q, py::handle x,
                                    py::handle y, py::handle lse, const py::tuple& options,
                                    int need) {
  const Array packed(op, "x", x);
  const bool own = q.is_none();
  packed.require_float().require_ndim(5, "(N, T, parts, heads, D)").require_contiguous();
  packed.require_shape({-1, -1, own ? 3 : 2, -1, -1});
  py::object dx = new_like(packed);
  const py::slice all(std::nullopt, std::nullopt, std::nullopt);
  auto part = [&](py::handle a, int i) {
    return py::object(a.attr("__getitem__")(py::make_tuple(all, all, i)));
  };
  const int first = own ? 1 : 0;
  const py::object query = own ? part(x, 0) : py::reinterpret_borrow<py::object>(q);
  const py::object dq = own ? part(dx, 0) : py::none();
  const py::tuple d = attention_backward(op, dy, query, part(x, first), part(x, first + 1), y, lse,
                                         options, need, dq, part(dx, first), part(dx, first + 1));
  return py::make_tuple(own ? py::none() : py::object(d[0]), need & 6 ? dx : py::none(), d[3]);
}

}  // namespace

void register_attention(py::module_& m) {
  define(m, "attention_forward", &attention_forward);
  define(m, "attention_weights", &attention_weights);
  define(m, "attention_backward", &attention_backward);
  define(m, "attention_packed_backward", &attention_packed_backward);
}

}  // namespace hl::bind
