// The recurrent weights as panels for the register tile, packed once for all steps, and one step's
// products with them.
//
// Units come in groups as wide as the tile. A group has a panel for each gate, so that when its
// products are there, all that its units need is in the first-level cache and they can be finished
// at once.
//
//   forward    sums[row, group, gate, j] = sum_k h[row, k] w[gate H + group W + j, k]      k < P
//   backward   sums[row, group, gate, j] = sum_k du[row, gate H + k] w[gate H + k, group W + j]    k < H
//
// (W columns a tile.) Each sum is one chain, in order of k, whichever way it is computed.
#pragma once

#include "cpu/gemm.h"

namespace hl::cpu::HL_ISA {

template <class T>
struct Panels {
  const T* p;
  int64_t depth, gates, groups;
  int64_t gate_step;  // from one gate's a to the next one's: 0 forward, H backward
};

template <class T>
constexpr int64_t panel_groups(int64_t units) {
  return ceil_div(units, kTileColumns<T>);
}
template <class T>
constexpr int64_t panels_bytes(int64_t units, int64_t depth, int64_t gates) {
  return round_up(panel_groups<T>(units) * gates * depth * kTileColumns<T> * int64_t(sizeof(T)),
                  64);
}

// w's number for output unit u of a gate and step k is w[gate * gate_rs + u * rs + k * ks].
template <class T>
Panels<T> pack_panels_of(Ctx& ctx, const T* w, int64_t units, int64_t depth, int64_t gates,
                         int64_t gate_rs, int64_t rs, int64_t ks, int64_t gate_step, T* to) {
  constexpr int64_t W = kTileColumns<T>;
  const Panels<T> out = {to, depth, gates, panel_groups<T>(units), gate_step};
  const int64_t grain = max64(1, 8192 / max64(1, depth * W));
  parallel_for(ctx, out.groups * gates, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / gates, gate = i % gates;
      Strided<T>{w + gate * gate_rs, rs, ks, false}.pack(
          to + i * depth * W, int(W), group * W, int(min64(W, units - group * W)), 0, depth);
    }
  });
  return out;
}

// So few rows leave a tile's multipliers waiting for its sums; several panels at a time keep them busy.
constexpr int64_t kFewRows = 3;
constexpr int64_t kFewGroups = 8;  // most groups at a time then

template <class T, int R, int Q>
void few_rows(const Panels<T>& w, const T* a, int64_t a_rs, int64_t panel, T* s, int64_t s_rs) {
  constexpr int L = kLanes<T>, NV = kTileVectors, W = kTileColumns<T>;
  Vec<T> sum[R][Q][NV];
  const T* from[Q];
#pragma GCC unroll 4
  for (int q = 0; q < Q; ++q) {
    from[q] = a + (panel + q) % w.gates * w.gate_step;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][q][v] = zero<T>();
    }
  }
  const T* b = w.p + panel * w.depth * W;
  const int64_t step = w.depth * W;
  for (int64_t k = 0; k < w.depth; ++k, b += W) {
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const Vec<T> x = set1(from[q][r * a_rs + k]);
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v)
          sum[r][q][v] = fma(x, load(b + q * step + v * L), sum[r][q][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        T* to = s + r * s_rs + q * W + v * L;
        store(to, sum[r][q][v]);
      }
    }
  }
}

template <class T, int R>
void few_rows_of(const Panels<T>& w, const T* a, int64_t a_rs, int64_t p, int64_t end, T* s,
                 int64_t s_rs) {
  // As many panels as have registers for their sums.
  constexpr int kMost = kTileRows * kTileVectors / (R * kTileVectors);
  constexpr int Q = kMost >= 4 ? 4 : kMost >= 2 ? 2 : 1;
  constexpr int64_t W = kTileColumns<T>;
  for (; p + Q <= end; p += Q, s += Q * W) few_rows<T, R, Q>(w, a, a_rs, p, s, s_rs);
  if constexpr (Q == 4) {
    if (p + 2 <= end) few_rows<T, R, 2>(w, a, a_rs, p, s, s_rs), p += 2, s += 2 * W;
  }
  for (; p < end; ++p, s += W) few_rows<T, R, 1>(w, a, a_rs, p, s, s_rs);
}

// The products of groups [g0, g1) for `rows` rows of a. Group g0's first gate goes to s, the next
// gate or group W numbers on, the next row s_rs.
template <class T>
void step_products(const Panels<T>& w, int64_t g0, int64_t g1, const T* a, int64_t a_rs,
                   int64_t rows, T* s, int64_t s_rs) {
  constexpr int64_t W = kTileColumns<T>;
  const int64_t p0 = g0 * w.gates, p1 = g1 * w.gates;
  switch (rows) {
    case 1:
      return few_rows_of<T, 1>(w, a, a_rs, p0, p1, s, s_rs);
    case 2:
      return few_rows_of<T, 2>(w, a, a_rs, p0, p1, s, s_rs);
    case 3:
      return few_rows_of<T, 3>(w, a, a_rs, p0, p1, s, s_rs);
    default:
      break;
  }
  const int64_t mr = even_part(rows, kTileRows, 1);
  for (int64_t p = p0; p < p1; ++p) {
    for (int64_t i = 0; i < rows; i += mr) {
      const Tile<T> t = {w.depth,
                         a + i * a_rs + p % w.gates * w.gate_step,
                         a_rs,
                         1,
                         w.p + p * w.depth * W,
                         W,
                         s + i * s_rs + (p - p0) * W,
                         s_rs,
                         1,
                         W,
                         T(1),
                         T(0)};
      tile<T>(min64(mr, rows - i), kTileVectors)(t);
    }
  }
}

}  // namespace hl::cpu::HL_ISA
