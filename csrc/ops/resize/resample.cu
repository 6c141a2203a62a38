// One axis after the other: a launch per axis that is not left alone, over a table of its runs.
#include "ops/resize/resample.h"

#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

// Most weights that one element of the result has.
int64_t longest_run(const ResampleShape& s, int axis) {
  switch (s.mode) {
    case ResampleMode::kNearest:
    case ResampleMode::kNearestExact:
      return 1;
    case ResampleMode::kLinear:
      return 2;
    case ResampleMode::kCubic:
      return 4;
    case ResampleMode::kArea:
      return s.out[axis] > 0 ? s.in[axis] / s.out[axis] + 2 : 1;
    case ResampleMode::kFir:
      return ceil_div(int64_t(s.fir_size), s.up[axis]);
  }
  return 0;
}

bool left_alone(const ResampleShape& s, int axis) {
  if (axis < 3 - s.axes) return true;
  const bool same = s.in[axis] == s.out[axis] && s.scale[axis] == 0;
  return same && s.mode != ResampleMode::kFir && s.mode != ResampleMode::kCubic;
}

__device__ int64_t within(int64_t i, int64_t low, int64_t high) {
  return i < low ? low : i > high ? high : i;
}

// Where element o of the result lies among the elements that are read.
__device__ double source_of(const ResampleShape& s, int axis, int64_t o) {
  const int64_t in = s.in[axis], out = s.out[axis];
  if (s.corners == Corners::kAligned) return out > 1 ? double(o * (in - 1)) / double(out - 1) : 0;
  if (s.scale[axis] > 0) return (double(o) + 0.5) / s.scale[axis] - 0.5;
  return double((2 * o + 1) * in - out) / double(2 * out);
}

__device__ int64_t nearest_of(const ResampleShape& s, int axis, int64_t o, float shift) {
  const int64_t in = s.in[axis], out = s.out[axis];
  if (shift == 0) {
    if (in == out) return o;
    if (out == 2 * in) return o / 2;
  }
  const float step = s.scale[axis] > 0 ? float(1 / s.scale[axis]) : float(in) / float(out);
  return within(int64_t((float(o) + shift) * step), 0, in - 1);
}

// Keys' kernel for the element k - 1 from the one below u.
__device__ double cubic(double d) {
  constexpr double a = -0.75;
  d = fabs(d);
  return d <= 1 ? (1 - d) * (1 + d - (a + 2) * d * d) : a * (d - 1) * (d - 2) * (d - 2);
}

// Writes the weights of element o, which reads from `first` on; returns where it ends.
template <class T>
__device__ int64_t put_run(const ResampleShape& s, int axis, int64_t o, int64_t& first, T* weight) {
  const int64_t in = s.in[axis], out = s.out[axis];
  switch (s.mode) {
    case ResampleMode::kNearest:
    case ResampleMode::kNearestExact:
      first = nearest_of(s, axis, o, s.mode == ResampleMode::kNearest ? 0.0f : 0.5f);
      weight[0] = T(1);
      return first + 1;
    case ResampleMode::kLinear: {
      double u = in == out ? double(o) : source_of(s, axis, o);
      if (u < 0) u = 0;
      first = within(int64_t(u), 0, in - 1);
      const double rest = u - double(first);
      if (first == in - 1 || rest <= 0) {
        weight[0] = T(1);
        return first + 1;
      }
      weight[0] = T(1 - rest), weight[1] = T(rest);
      return first + 2;
    }
    case ResampleMode::kCubic: {
      const double u = source_of(s, axis, o);
      const int64_t i = int64_t(floor(u));
      first = within(i - 1, 0, in - 1);
      const int64_t end = within(i + 2, 0, in - 1) + 1;
      for (int64_t at = first; at < end; ++at) {
        double sum = 0;  // of all that the edge holds there
        for (int64_t k = i - 1; k <= i + 2; ++k) {
          if (within(k, 0, in - 1) == at) sum += cubic(u - double(k));
        }
        weight[at - first] = T(sum);
      }
      return end;
    }
    case ResampleMode::kArea: {
      first = o * in / out;
      const int64_t end = ceil_div((o + 1) * in, out);
      for (int64_t k = 0; k < end - first; ++k) weight[k] = T(1 / double(end - first));
      return end;
    }
    case ResampleMode::kFir: {
      const int64_t up = s.up[axis], K = s.fir_size;
      const int64_t j = o * s.down[axis] - s.before[axis];  // window [j, j + K) of the stretched x
      first = j <= 0 ? 0 : ceil_div(j, up);
      first = first < in ? first : in;
      int64_t end = j + K <= 0 ? 0 : (j + K - 1) / up + 1;
      end = end < in ? end : in;
      for (int64_t i = first; i < end; ++i) weight[i - first] = T(s.fir[K - 1 - (i * up - j)]);
      return end > first ? end : first;
    }
  }
  return 0;
}

// Runs of one axis. Neither `first` nor `end` ever goes back, so the results that read element i are a
// run, too: [low, high).
template <class T>
struct Runs {
  int64_t *first, *end;  // (out)
  int64_t *low, *high;   // (in)
  T* weight;             // (out, longest)
  int64_t longest;
};

template <class T>
int64_t table_bytes(const ResampleShape& s, int axis) {
  return aligned((2 * s.out[axis] + 2 * s.in[axis]) * 8 +
                 s.out[axis] * longest_run(s, axis) * int64_t(sizeof(T)));
}

template <class T>
Runs<T> make_runs(const Ctx& ctx, const ResampleShape& s, int axis, unsigned char* memory) {
  const int64_t in = s.in[axis], out = s.out[axis];
  Runs<T> r;
  r.first = reinterpret_cast<int64_t*>(memory), r.end = r.first + out;
  r.low = r.end + out, r.high = r.low + in;
  r.weight = reinterpret_cast<T*>(r.high + in), r.longest = longest_run(s, axis);
  each(ctx, out, [=] __device__(int64_t o) {
    int64_t first = 0;
    r.end[o] = put_run(s, axis, o, first, r.weight + o * r.longest);
    r.first[o] = first;
  });
  return r;
}

// The first o with above[o] > i.
__device__ int64_t first_above(const int64_t* above, int64_t n, int64_t i) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (above[middle] > i) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// x (outer, from, inner) -> y (outer, to, inner)
template <class T>
void forward_axis(const Ctx& ctx, const ResampleShape& s, int axis, int64_t outer, int64_t inner,
                  unsigned char* memory, const T* x, T* y) {
  const int64_t in = s.in[axis], out = s.out[axis];
  const Runs<T> r = make_runs<T>(ctx, s, axis, memory);
  const Divider by_inner = divide_by(inner), by_out = divide_by(out);
  each(ctx, outer * out * inner, [=] __device__(int64_t i) {
    int64_t n = i;
    const int64_t c = last_index(n, by_inner), o = last_index(n, by_out);
    const int64_t first = r.first[o], end = r.end[o];
    double sum = 0;
    for (int64_t k = first; k < end; ++k) {
      sum += double(r.weight[o * r.longest + k - first]) * x[(n * in + k) * inner + c];
    }
    y[i] = T(sum);
  });
}
template <class T>
void backward_axis(const Ctx& ctx, const ResampleShape& s, int axis, int64_t outer, int64_t inner,
                   unsigned char* memory, const T* dy, T* dx) {
  const int64_t in = s.in[axis], out = s.out[axis];
  const Runs<T> r = make_runs<T>(ctx, s, axis, memory);
  each(ctx, in, [=] __device__(int64_t i) {
    r.low[i] = first_above(r.end, out, i);
    r.high[i] = first_above(r.first, out, i);
  });
  const Divider by_inner = divide_by(inner), by_in = divide_by(in);
  each(ctx, outer * in * inner, [=] __device__(int64_t at) {
    int64_t n = at;
    const int64_t c = last_index(n, by_inner), i = last_index(n, by_in);
    double sum = 0;
    for (int64_t o = r.low[i]; o < r.high[i]; ++o) {
      const T weight = r.weight[o * r.longest + i - r.first[o]];
      sum += double(weight) * dy[(n * out + o) * inner + c];
    }
    dx[at] = T(sum);
  });
}

// ---- all axes --------------------------------------------------------------------------------------
struct Passes {
  int count, axis[3];      // the last axis first
  int64_t made[3];         // elements after each
  int64_t table, between;  // bytes: of the largest table, of what lies between passes
};

template <class T>
Passes passes_of(const ResampleShape& s, const int64_t (&from)[3], const int64_t (&to)[3]) {
  Passes p = {};
  int64_t size[3] = {from[0], from[1], from[2]};
  for (int axis = 2; axis >= 0; --axis) {
    if (left_alone(s, axis)) continue;
    size[axis] = to[axis];
    p.made[p.count] = s.N * size[0] * size[1] * size[2] * s.C;
    p.axis[p.count++] = axis;
    const int64_t table = table_bytes<T>(s, axis);
    p.table = table > p.table ? table : p.table;
  }
  for (int i = 0; i + 1 < p.count; ++i) p.between += aligned(p.made[i] * int64_t(sizeof(T)));
  return p;
}

template <class T>
Plan plan_of(const ResampleShape& s, const int64_t (&from)[3], const int64_t (&to)[3]) {
  const Passes p = passes_of<T>(s, from, to);
  const double in = double(s.N) * double(s.in[0]) * double(s.in[1]) * double(s.in[2]) * double(s.C);
  const double out =
      double(s.N) * double(s.out[0]) * double(s.out[1]) * double(s.out[2]) * double(s.C);
  double flops = 0;
  for (int i = 0; i < p.count; ++i) {
    flops += 2 * double(p.made[i]) * double(longest_run(s, p.axis[i]));
  }
  return {"axis by axis",        nullptr, {1, 1, 1}, p.table + p.between, 0, flops,
          (in + out) * sizeof(T)};
}

template <class T>
void copy(const Ctx& ctx, int64_t n, const T* x, T* y) {
  each(ctx, n, [=] __device__(int64_t i) { y[i] = x[i]; });
}

template <class T, class Apply>
void run_passes(Ctx& ctx, const ResampleShape& s, const int64_t (&from)[3], const int64_t (&to)[3],
                const T* x, T* y, Apply apply) {
  const Passes p = passes_of<T>(s, from, to);
  const int64_t n = s.N * to[0] * to[1] * to[2] * s.C;
  if (p.count == 0) return copy(ctx, n, x, y);
  int64_t size[3] = {from[0], from[1], from[2]};
  unsigned char* free = ctx.shared + p.table;
  for (int i = 0; i < p.count; ++i) {
    T* made = i + 1 == p.count ? y : reinterpret_cast<T*>(free);
    free += aligned(p.made[i] * int64_t(sizeof(T)));
    int64_t outer = s.N, inner = s.C;
    for (int a = 0; a < 3; ++a) (a < p.axis[i] ? outer : inner) *= a == p.axis[i] ? 1 : size[a];
    apply(p.axis[i], outer, inner, x, made);
    size[p.axis[i]] = to[p.axis[i]];
    x = made;
  }
}

template <class T>
Plan resample_forward_plan(const ResampleShape& s) {
  return plan_of<T>(s, s.in, s.out);
}
template <class T>
void resample_forward(Ctx& ctx, const ResampleShape& s, const T* x, T* y) {
  run_passes(ctx, s, s.in, s.out, x, y,
             [&](int axis, int64_t outer, int64_t inner, const T* from, T* to) {
               forward_axis(ctx, s, axis, outer, inner, ctx.shared, from, to);
             });
}

template <class T>
Plan resample_backward_plan(const ResampleShape& s) {
  return plan_of<T>(s, s.out, s.in);
}
template <class T>
void resample_backward(Ctx& ctx, const ResampleShape& s, const T* dy, T* dx) {
  run_passes(ctx, s, s.out, s.in, dy, dx,
             [&](int axis, int64_t outer, int64_t inner, const T* from, T* to) {
               backward_axis(ctx, s, axis, outer, inner, ctx.shared, from, to);
             });
}

HL_CUDA_KERNEL(resample_forward);
HL_CUDA_KERNEL(resample_backward);

}  // namespace
}  // namespace hl::cuda
