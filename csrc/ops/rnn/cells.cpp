#include "ops/rnn/cells.h"

#include "cpu/simd/math.h"
#include "ops/rnn/vectors.h"

namespace hl::cpu::HL_ISA {
namespace {

template <RnnCell kCell, class T>
void finish(const ForwardBlock<T>& b) {
  using V = Vec<T>;
  const int64_t H = b.H;
  for (int64_t r = 0; r < b.rows; ++r) {
    const T* s_row = b.s ? b.s + r * b.s_rs : nullptr;
    const T* x_row = b.x + r * b.x_rs;
    const T* h_row = b.h ? b.h + r * b.h_rs : nullptr;
    T* next = b.h_next + r * b.h_rs;
    T* y = b.y + (b.place ? b.place[r] : r) * H;
    T* gates = b.gates ? b.gates + r * b.gate_rs : nullptr;
    each_vector<T>(b.units, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
      auto x = [&](int64_t g) HL_LAMBDA_INLINE {
        return get(x_row + g * b.x_gate + j) + get(b.bias + g * H + j);
      };
      auto s = [&](int64_t g)
                   HL_LAMBDA_INLINE { return s_row ? get(s_row + g * b.s_gate + j) : zero<T>(); };
      V h;
      if constexpr (kCell == RnnCell::kTanh) {
        h = tanh(s(0) + x(0));
      } else if constexpr (kCell == RnnCell::kRelu) {
        h = max(s(0) + x(0), zero<T>());
      } else if constexpr (kCell == RnnCell::kLstm) {
        const V i = sigmoid(s(0) + x(0)), f = sigmoid(s(1) + x(1));
        const V g = tanh(s(2) + x(2)), o = sigmoid(s(3) + x(3));
        T* c_at = b.c + r * H + j;
        const V c = fma(f, get(c_at), i * g);
        h = o * tanh(c);
        put(c_at, c);
        if (gates) {
          put(gates + j, i), put(gates + H + j, f);
          put(gates + 2 * H + j, g), put(gates + 3 * H + j, o);
          put(b.cells + r * H + j, c);
        }
      } else {
        const V rg = sigmoid(s(0) + x(0)), z = sigmoid(s(1) + x(1));
        const V u = s(2) + get(b.bias + 3 * H + j);
        const V n = tanh(fma(rg, u, x(2)));
        h = fma(z, (h_row ? get(h_row + j) : zero<T>()) - n, n);
        if (gates) {
          put(gates + j, rg), put(gates + H + j, z);
          put(gates + 2 * H + j, n), put(gates + 3 * H + j, u);
        }
      }
      put(y + j, h);
      put(next + j, h);
    });
  }
}

template <RnnCell kCell, class T>
void derive(const BackwardBlock<T>& b) {
  using V = Vec<T>;
  const int64_t H = b.H;
  for (int64_t r = 0; r < b.rows; ++r) {
    const int64_t at = (b.place ? b.place[r] : r) * H;
    const T* dy = b.dy ? b.dy + at : nullptr;
    const T* s_row = b.s && r < b.s_rows ? b.s + r * b.s_rs : nullptr;
    const T* dhn = b.dhn && r >= b.s_rows ? b.dhn + (b.slot ? b.slot[r] : r) * H : nullptr;
    const T* h_row = b.h ? b.h[r] + b.unit : nullptr;
    const T* c_row = b.cells_before ? b.cells_before + r * H : nullptr;
    const T* gates = b.gates + r * b.gate_rs;
    T* d = b.d + r * b.d_rs;
    T* carry = b.carry + r * H;
    each_vector<T>(b.units, [&](int64_t j, const auto& get, const auto& put) HL_LAMBDA_INLINE {
      const V one = set1(T(1));
      V dh = dy ? get(dy + j) : zero<T>();
      if (dhn) dh += get(dhn + j);
      if (s_row) {
        V sum = get(s_row + j);
        for (int64_t g = 1; g < b.parts; ++g) sum += get(s_row + g * b.s_gate + j);
        dh += sum;
      }
      if constexpr (kCell == RnnCell::kTanh) {
        const V y = get(b.y + at + j);
        put(d + j, dh * fma(-y, y, one));
      } else if constexpr (kCell == RnnCell::kRelu) {
        put(d + j, select(get(b.y + at + j) <= zero<T>(), zero<T>(), dh));
      } else if constexpr (kCell == RnnCell::kLstm) {
        const V i = get(gates + j), f = get(gates + H + j);
        const V g = get(gates + 2 * H + j), o = get(gates + 3 * H + j);
        const V t = tanh(get(b.cells + r * H + j)), dho = dh * o;
        const V dc = fma(dho, fma(-t, t, one), get(carry + j));
        put(d + j, dc * g * (i * (one - i)));
        put(d + H + j, dc * (c_row ? get(c_row + j) : zero<T>()) * (f * (one - f)));
        put(d + 2 * H + j, dc * i * fma(-g, g, one));
        put(d + 3 * H + j, dho * t * (one - o));
        put(carry + j, dc * f);
      } else {
        dh += get(carry + j);
        const V rg = get(gates + j), z = get(gates + H + j);
        const V n = get(gates + 2 * H + j), u = get(gates + 3 * H + j);
        const V h = h_row ? get(h_row + j) : zero<T>();
        const V dn = dh * (one - z) * fma(-n, n, one);
        put(d + j, dn * u * (rg * (one - rg)));
        put(d + H + j, dh * (h - n) * (z * (one - z)));
        put(d + 2 * H + j, dn * rg);
        put(d + 3 * H + j, dn);
        put(carry + j, dh * z);
      }
    });
  }
}

}  // namespace

template <class T>
Finisher<T> finisher(RnnCell cell) {
  switch (cell) {
    case RnnCell::kTanh:
      return finish<RnnCell::kTanh, T>;
    case RnnCell::kRelu:
      return finish<RnnCell::kRelu, T>;
    case RnnCell::kLstm:
      return finish<RnnCell::kLstm, T>;
    default:
      return finish<RnnCell::kGru, T>;
  }
}

template <class T>
Deriver<T> deriver(RnnCell cell) {
  switch (cell) {
    case RnnCell::kTanh:
      return derive<RnnCell::kTanh, T>;
    case RnnCell::kRelu:
      return derive<RnnCell::kRelu, T>;
    case RnnCell::kLstm:
      return derive<RnnCell::kLstm, T>;
    default:
      return derive<RnnCell::kGru, T>;
  }
}

template Finisher<float> finisher<float>(RnnCell);
template Finisher<double> finisher<double>(RnnCell);
template Deriver<float> deriver<float>(RnnCell);
template Deriver<double> deriver<double>(RnnCell);

}  // namespace hl::cpu::HL_ISA
