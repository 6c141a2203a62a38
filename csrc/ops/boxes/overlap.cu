#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/boxes/boxes.h"

namespace hl::cuda {
namespace {

constexpr double kShape = 0.40528473456935108577551785283891;  // 4 / pi^2, of CIoU's v

template <class T>
__device__ T greater_of(T a, T b) {
  return a != a ? a : a > b ? a : b;
}
template <class T>
__device__ T lesser_of(T a, T b) {
  return a != a ? a : a < b ? a : b;
}

__device__ bool by_distance(Overlap kind) { return kind >= Overlap::kDiou; }

// How wide a box is for its height, as an angle.
template <class T>
__device__ T angle_of(const T* b) {
  return atan((b[2] - b[0]) / (b[3] - b[1]));
}
template <class T>
__device__ T area_of(const T* b) {
  return (b[2] - b[0]) * (b[3] - b[1]);
}

template <class T>
struct Pair {
  T both, whole, around;  // I, U, C
  T x1, y1, x2, y2;       // of what is common
  T around_w, around_h;
  bool meet;
};
template <class T>
__device__ Pair<T> pair_of(const T* a, const T* b) {
  Pair<T> p;
  p.x1 = greater_of(a[0], b[0]), p.y1 = greater_of(a[1], b[1]);
  p.x2 = lesser_of(a[2], b[2]), p.y2 = lesser_of(a[3], b[3]);
  p.meet = p.x2 > p.x1 && p.y2 > p.y1;
  p.both = p.meet ? (p.x2 - p.x1) * (p.y2 - p.y1) : T(0);
  p.whole = area_of(a) + area_of(b) - p.both;
  p.around_w = greater_of(a[2], b[2]) - lesser_of(a[0], b[0]);
  p.around_h = greater_of(a[3], b[3]) - lesser_of(a[1], b[1]);
  p.around = p.around_w * p.around_h;
  return p;
}

// What the distance of the middles and the shapes add to the loss of one pair.
template <class T>
struct Apart {
  T x, y;             // from b's middle to a's
  T square, within;   // D, E
  T turn, v, weight;  // the difference of the angles, v, alpha
};
template <class T>
__device__ Apart<T> apart_of(const T* a, const T* b, const Pair<T>& p, Overlap kind, T eps) {
  Apart<T> q = {};
  q.x = ((a[0] + a[2]) - (b[0] + b[2])) * T(0.5);
  q.y = ((a[1] + a[3]) - (b[1] + b[3])) * T(0.5);
  q.square = q.x * q.x + q.y * q.y;
  q.within = p.around_w * p.around_w + p.around_h * p.around_h + eps;
  if (kind == Overlap::kCiou) {
    q.turn = angle_of(a) - angle_of(b);
    q.v = T(kShape) * q.turn * q.turn;
    q.weight = q.v / (T(1) - p.both / (p.whole + eps) + q.v + eps);
  }
  return q;
}

// ---- each with each --------------------------------------------------------------------------------
template <class T>
Plan box_overlap_plan(const OverlapShape& s) {
  const double each = s.kind == Overlap::kIou ? 13 : s.kind == Overlap::kCiou ? 40 : 21;
  const double m = double(s.M), n = double(s.N);
  return {"a thread per pair",
          nullptr,
          {1, 1, 1},
          0,
          0,
          each * m * n,
          (4 * (m + n) + m * n) * sizeof(T)};
}

// Sides of what is common are held at 0, and NaN comes through.
template <class T>
__device__ T held(T v) {
  return v < 0 ? T(0) : v;
}

template <class T>
void box_overlap(Ctx& ctx, const OverlapShape& s, const T* boxes1, const T* boxes2, T* y) {
  const Divider by_n = divide_by(s.N);
  each(ctx, s.M * s.N, [=] __device__(int64_t i) {
    int64_t row = i;
    const T *b = boxes2 + 4 * last_index(row, by_n), *a = boxes1 + 4 * row;
    Pair<T> p = pair_of(a, b);
    p.both = held(p.x2 - p.x1) * held(p.y2 - p.y1);
    p.whole = area_of(a) + area_of(b) - p.both;
    const T iou = p.both / p.whole;
    T value = iou;
    if (s.kind == Overlap::kGiou) value = iou - (p.around - p.whole) / p.around;
    if (by_distance(s.kind)) {
      p.around_w = held(p.around_w), p.around_h = held(p.around_h);
      const Apart<T> q = apart_of(a, b, p, Overlap::kDiou, T(s.eps));
      value = iou - q.square / q.within;
    }
    if (s.kind == Overlap::kCiou) {
      const T turn = angle_of(a) - angle_of(b), v = T(kShape) * turn * turn;
      value -= v / (T(1) - iou + v + T(s.eps)) * v;
    }
    y[i] = value;
  });
}

// ---- pairs -----------------------------------------------------------------------------------------
template <class T>
Plan pair_plan(const OverlapShape& s, double flops, double numbers) {
  const double m = double(s.M);
  return {"a thread per pair", nullptr, {1, 1, 1}, 0, 0, flops * m, numbers * m * sizeof(T)};
}
template <class T>
Plan box_loss_forward_plan(const OverlapShape& s) {
  return pair_plan<T>(s, 24, 9);
}
template <class T>
Plan box_loss_backward_plan(const OverlapShape& s) {
  return pair_plan<T>(s, 60, 17);
}

template <class T>
void box_loss_forward(Ctx& ctx, const OverlapShape& s, const T* boxes1, const T* boxes2, T* loss) {
  const T eps = T(s.eps);
  each(ctx, s.M, [=] __device__(int64_t i) {
    const T *a = boxes1 + 4 * i, *b = boxes2 + 4 * i;
    const Pair<T> p = pair_of(a, b);
    T value = p.both / (p.whole + eps);
    if (s.kind == Overlap::kGiou) value -= (p.around - p.whole) / (p.around + eps);
    if (by_distance(s.kind)) {
      const Apart<T> q = apart_of(a, b, p, s.kind, eps);
      value = value - q.square / q.within - q.weight * q.v;
    }
    loss[i] = T(1) - value;
  });
}

// How much of a gradient goes to the first of two of which one was taken.
template <class T>
__device__ T share(T first, T second, bool larger) {
  return first == second ? T(0.5) : (first > second) == larger ? T(1) : T(0);
}

template <class T>
void box_loss_backward(Ctx& ctx, const OverlapShape& s, const T* dy, const T* a, const T* b, T* da,
                       T* db) {
  const T eps = T(s.eps);
  each(ctx, s.M, [=] __device__(int64_t i) {
    const T *u = a + 4 * i, *v = b + 4 * i;
    const Pair<T> p = pair_of(u, v);
    const T g = -dy[i], whole = p.whole + eps, around = p.around + eps;
    T dwhole = -p.both / (whole * whole), daround = 0;
    if (s.kind == Overlap::kGiou) {
      dwhole += 1 / around;
      daround = -g * (whole / around) / around;
    }
    dwhole *= g;
    const T dboth = p.meet ? g / whole - dwhole : T(0);
    // To (x1, y1, x2, y2) of what is common and of what is around both.
    const T w = p.x2 - p.x1, h = p.y2 - p.y1;
    const T common[4] = {-dboth * h, -dboth * w, dboth * h, dboth * w};
    T dwide = daround * p.around_h, dhigh = daround * p.around_w;
    Apart<T> q = {};
    T dapart = 0, dturn = 0;
    if (by_distance(s.kind)) {
      q = apart_of(u, v, p, s.kind, eps);
      dapart = -g / q.within;
      const T dwithin = -dapart * (q.square / q.within);
      dwide = dwithin * 2 * p.around_w, dhigh = dwithin * 2 * p.around_h;
      dturn = -g * q.weight * T(2 * kShape) * q.turn;
    }
    const T outer[4] = {-dwide, -dhigh, dwide, dhigh};
    const T away[4] = {dapart * q.x, dapart * q.y, dapart * q.x, dapart * q.y};
    const auto corners = [&](const T* own, const T* other, T sign, T* grad) {
      const T own_w = own[2] - own[0], own_h = own[3] - own[1];
      const T side[4] = {-own_h, -own_w, own_h, own_w};
      // atan(w/h) grows by h/(w^2 + h^2) with w and falls by w/(w^2 + h^2) with h.
      const T by = s.kind == Overlap::kCiou ? sign * dturn / (own_w * own_w + own_h * own_h) : T(0);
      const T turned[4] = {-by * own_h, by * own_w, by * own_h, -by * own_w};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        T sum = dwhole * side[k];
        if (p.meet) sum += common[k] * share(own[k], other[k], k < 2);
        if (s.kind != Overlap::kIou) sum += outer[k] * share(own[k], other[k], k >= 2);
        if (by_distance(s.kind)) sum += sign * away[k];
        if (s.kind == Overlap::kCiou) sum += turned[k];
        grad[k] = sum;
      }
    };
    if (da) corners(u, v, T(1), da + 4 * i);
    if (db) corners(v, u, T(-1), db + 4 * i);
  });
}

HL_CUDA_KERNEL(box_overlap);
HL_CUDA_KERNEL(box_loss_forward);
HL_CUDA_KERNEL(box_loss_backward);

}  // namespace
}  // namespace hl::cuda
