// The axes of an elementwise problem as a thread walks them (ops/elementwise/elementwise.h).
#pragma once

#include "cuda/fold.h"
#include "ops/elementwise/elementwise.h"

namespace hl::cuda {

// Where one element lies in each of N operands.
template <int N>
struct Offsets {
  int64_t at[N];
};

// Two numbers that belong together.
template <class T>
struct Both {
  T a, b;
};

template <int N>
__device__ Offsets<N> offsets(const ElementShape& s, int64_t index) {
  Offsets<N> o = {};
  for (int d = s.dims - 1; d >= 0; --d) {
    const int64_t digit = d > 0 ? split(index, s.size[d]) : index;
#pragma unroll
    for (int k = 0; k < N; ++k) o.at[k] += digit * s.stride[k][d];
  }
  return o;
}

inline int64_t elements(const ElementShape& s) {
  int64_t n = 1;
  for (int d = 0; d < s.dims; ++d) n *= s.size[d];
  return n;
}

// to[offset] = make(load(offsets)) for every element of N operands, of which `to` is the last.
template <class V>
struct Loaded {
  V v;
  int64_t to;
};
template <int N, class To, class Load, class Make>
void map_elements(const Ctx& ctx, const ElementShape& s, To* to, Load load, Make make) {
  using V = decltype(load(Offsets<N>()));
  each_ahead(
      ctx, elements(s),
      [=] __device__(int64_t i) {
        const Offsets<N> o = offsets<N>(s, i);
        return Loaded<V>{load(o), o.at[N - 1]};
      },
      [=] __device__(int64_t, const Loaded<V>& got) { to[got.to] = make(got.v); });
}

// f(offsets) for every element of N operands.
template <int N, class F>
void each_element(const Ctx& ctx, const ElementShape& s, F f) {
  each(ctx, elements(s), [=] __device__(int64_t i) { f(offsets<N>(s, i)); });
}

inline Plan element_plan(const ElementShape& s, int operands, int64_t item) {
  Plan p = {"a thread per element", nullptr, {1, 1, 1}, 0, 0, double(elements(s)), 0};
  for (int k = 0; k < operands; ++k) {
    double n = double(item);
    for (int d = 0; d < s.dims; ++d) n *= s.stride[k][d] != 0 ? double(s.size[d]) : 1;
    p.bytes += n;
  }
  return p;
}

// ---- gradients of broadcast operands --------------------------------------------------------------
// Axes along which the last of N operands moves number the results, the others the terms of each.
template <int N>
struct Summed {
  ElementShape results, terms;

  explicit Summed(const ElementShape& s) : results{}, terms{} {
    for (int d = 0; d < s.dims; ++d) {
      ElementShape& to = s.stride[N - 1][d] != 0 ? results : terms;
      to.size[to.dims] = s.size[d];
      for (int k = 0; k < N; ++k) to.stride[k][to.dims] = s.stride[k][d];
      ++to.dims;
    }
  }
  bool sums() const { return elements(terms) != 1; }
  FoldCut cut() const {
    const int r = results.dims - 1, t = terms.dims - 1;
    const bool columns = r >= 0 && (t < 0 || distance(results, r) < distance(terms, t));
    return fold_cut(elements(results), elements(terms), columns);
  }
  // How far apart the gradient's neighbours along an axis are; axes come in C order.
  static int64_t distance(const ElementShape& s, int axis) {
    return s.stride[0][axis] < 0 ? -s.stride[0][axis] : s.stride[0][axis];
  }
};

// grad = sum of term(offsets), for a term that is a struct with that device function.
template <class T, int N, class Term>
struct GradientSum : Sums<T> {
  using Part = Total<T>;
  Summed<N> axes;
  Term term;
  T* grad;

  GradientSum(const Summed<N>& axes, const Term& term, T* grad)
      : axes(axes), term(term), grad(grad) {}
  __device__ Offsets<N> start(int64_t o) const { return offsets<N>(axes.results, o); }
  __device__ void take(Part& p, Offsets<N> at, int64_t j) const {
    const Offsets<N> more = offsets<N>(axes.terms, j);
#pragma unroll
    for (int k = 0; k < N; ++k) at.at[k] += more.at[k];
    p.add(double(term(at)));
  }
  __device__ void finish(int64_t o, const Part& p) const {
    grad[offsets<N>(axes.results, o).at[N - 1]] = T(p.value());
  }
};

template <class T, int N>
Plan gradient_plan(const ElementShape& s) {
  Plan p = element_plan(s, N, sizeof(T));
  const Summed<N> axes(s);
  if (!axes.sums()) return p;
  const FoldCut c = axes.cut();
  p.algorithm = c.columns ? "columns, summed" : "rows, summed";
  p.tile[0] = c.lanes, p.tile[1] = c.width, p.tile[2] = c.pieces;
  if (c.pieces > 1) p.shared_bytes = c.outputs * c.pieces * int64_t(sizeof(Total<T>));
  return p;
}

template <int N, class T, class Term>
void gradient(const Ctx& ctx, const ElementShape& s, const Term& term, T* grad) {
  const Summed<N> axes(s);
  if (axes.sums()) {
    fold(ctx, axes.cut(), GradientSum<T, N, Term>(axes, term, grad), ctx.shared);
  } else {
    each_element<N>(ctx, s, [=] __device__(const Offsets<N>& o) { grad[o.at[N - 1]] = term(o); });
  }
}

}  // namespace hl::cuda
