#include "ops/layout/pad.h"

#include "cuda/item.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

// Neighbours that are not padded as one axis.
PadShape merged(const PadShape& s) {
  PadShape m = s;
  m.ndim = 0;
  for (int i = 0; i < s.ndim; ++i) {
    const bool plain = s.before[i] == 0 && s.after[i] == 0;
    if (plain && m.ndim > 0 && m.before[m.ndim - 1] == 0 && m.after[m.ndim - 1] == 0) {
      m.size[m.ndim - 1] *= s.size[i];
    } else {
      m.size[m.ndim] = s.size[i], m.before[m.ndim] = s.before[i], m.after[m.ndim++] = s.after[i];
    }
  }
  return m;
}

__host__ __device__ int64_t padded(const PadShape& s, int axis) {
  return s.before[axis] + s.size[axis] + s.after[axis];
}

struct Counts {
  int64_t x, y;
};
Counts counts(const PadShape& s) {
  Counts c = {1, 1};
  for (int i = 0; i < s.ndim; ++i) c.x *= s.size[i], c.y *= padded(s, i);
  return c;
}

Plan plan_of(const PadShape& s) {
  const Counts c = counts(s);
  return {"a thread per element", nullptr, {1, 1, 1}, 0, 0, 0, double(c.x + c.y) * s.item};
}

__device__ int64_t modulo(int64_t a, int64_t n) {
  const int64_t r = a % n;
  return r < 0 ? r + n : r;
}

// The element that place i of an axis shows, i = 0 the first one; -1 for none.
__device__ int64_t source(PadMode mode, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::kReplicate:
      return i < 0 ? 0 : n - 1;
    case PadMode::kCircular:
      return modulo(i, n);
    case PadMode::kSymmetric: {
      const int64_t r = modulo(i, 2 * n);
      return r < n ? r : 2 * n - 1 - r;
    }
    case PadMode::kReflect: {
      if (n == 1) return 0;
      const int64_t r = modulo(i, 2 * n - 2);
      return r < n ? r : 2 * n - 2 - r;
    }
    default:
      return -1;
  }
}

template <class E>
void pad_as(Ctx& ctx, const PadShape& shape, const void* x_in, const void* value, void* y_out) {
  const E* x = static_cast<const E*>(x_in);
  E* y = static_cast<E*>(y_out);
  const E outside = *static_cast<const E*>(value);
  const PadShape s = merged(shape);
  each(ctx, counts(s).y, [=] __device__(int64_t e) {
    int64_t rest = e, from = 0, step = 1;
    bool there = true;
    for (int d = s.ndim - 1; d >= 0; --d) {
      const int64_t at = source(s.mode, split(rest, padded(s, d)) - s.before[d], s.size[d]);
      there &= at >= 0;
      from += at * step;
      step *= s.size[d];
    }
    y[e] = there ? x[from] : outside;
  });
}

Plan pad_forward_plan(const PadShape& s) { return plan_of(s); }
void pad_forward(Ctx& ctx, const PadShape& s, const void* x, const void* value, void* y) {
  with_item(s.item, [&](auto item) { pad_as<decltype(item)>(ctx, s, x, value, y); });
}

// ---- backward ----------------------------------------------------------------------------------
// The places of an axis that show one element: first, first + gap, then both a period further, …
struct Places {
  int64_t first, gap, period, count;
  __device__ int64_t operator[](int64_t k) const { return first + k / 2 * period + k % 2 * gap; }
};

// Those below `limit`; at least one is.
__device__ Places places_below(int64_t limit, int64_t first, int64_t gap, int64_t period) {
  const int64_t room = limit - first, last = room % period;
  return {first, gap, period, room / period * 2 + (last > 0) + (last > gap)};
}

__device__ Places places(const PadShape& s, int axis, int64_t i) {
  const int64_t n = s.size[axis], before = s.before[axis], all = padded(s, axis);
  if (s.mode == PadMode::kConstant || all == n) return {i + before, 0, 0, 1};
  if (s.mode == PadMode::kReplicate) {
    const int64_t first = i == 0 ? 0 : i + before;
    return places_below(i == n - 1 ? all : i + before + 1, first, 1, 2);
  }
  if (s.mode == PadMode::kCircular) return places_below(all, (i + before) % n, n, 2 * n);
  const bool reflect = s.mode == PadMode::kReflect;
  if (reflect && n == 1) return places_below(all, 0, 1, 2);
  const int64_t period = reflect ? 2 * n - 2 : 2 * n, mirror = reflect ? period : period - 1;
  const int64_t a = (i + before) % period, b = (mirror - i + before) % period;
  if (a == b) return places_below(all, a, period, 2 * period);
  return places_below(all, a < b ? a : b, a < b ? b - a : a - b, period);
}

template <class T>
Plan pad_backward_plan(const PadShape& s) {
  return plan_of(s);
}
template <class T>
void pad_backward(Ctx& ctx, const PadShape& shape, const T* dy, T* dx) {
  const PadShape s = merged(shape);
  each(ctx, counts(s).x, [=] __device__(int64_t e) {
    double sum = 0;
    int64_t terms = 1;  // known after the first: the product of the axes' counts
    for (int64_t k = 0; k < terms; ++k) {
      int64_t rest = e, turn = k, from = 0, step = 1;
      terms = 1;
      for (int d = s.ndim - 1; d >= 0; --d) {
        const Places at = places(s, d, split(rest, s.size[d]));
        from += at[split(turn, at.count)] * step;
        step *= padded(s, d), terms *= at.count;
      }
      sum += double(dy[from]);
    }
    dx[e] = T(sum);
  });
}

HL_CUDA_RAW_KERNEL(pad_forward);
HL_CUDA_KERNEL(pad_backward);

}  // namespace
}  // namespace hl::cuda
