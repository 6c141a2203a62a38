#include "cpu/parallel.h"
#include "kernel.h"
#include "ops/boxes/boxes.h"
#include "ops/boxes/sides.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 16384;  // least pairs of a thread's task

template <class T>
HL_INLINE T greater_of(T a, T b) {
  return a != a ? a : a > b ? a : b;
}
template <class T>
HL_INLINE T lesser_of(T a, T b) {
  return a != a ? a : a < b ? a : b;
}

// What the loss of one pair is made of.
template <class T>
struct Pair {
  T both, whole, around;  // I, U, C
  T x1, y1, x2, y2;       // of what is common
  T around_w, around_h;
  bool meet;
};

template <class T>
HL_INLINE Pair<T> pair_of(const T* a, const T* b) {
  Pair<T> p;
  p.x1 = greater_of(a[0], b[0]), p.y1 = greater_of(a[1], b[1]);
  p.x2 = lesser_of(a[2], b[2]), p.y2 = lesser_of(a[3], b[3]);
  p.meet = p.x2 > p.x1 && p.y2 > p.y1;
  p.both = p.meet ? (p.x2 - p.x1) * (p.y2 - p.y1) : T(0);
  p.whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - p.both;
  p.around_w = greater_of(a[2], b[2]) - lesser_of(a[0], b[0]);
  p.around_h = greater_of(a[3], b[3]) - lesser_of(a[1], b[1]);
  p.around = p.around_w * p.around_h;
  return p;
}

constexpr double kShape = 0.40528473456935108577551785283891;  // 4 / pi^2, of CIoU's v

// How wide a box is for its height, as an angle.
HL_INLINE float angle_of(const float* b) { return __builtin_atanf((b[2] - b[0]) / (b[3] - b[1])); }
HL_INLINE double angle_of(const double* b) { return __builtin_atan((b[2] - b[0]) / (b[3] - b[1])); }

HL_INLINE bool by_distance(Overlap kind) { return kind >= Overlap::kDiou; }

// What the distance of the middles and the shapes add to the loss of one pair.
template <class T>
struct Apart {
  T x, y;             // from b's middle to a's
  T square, within;   // D, E
  T turn, v, weight;  // the difference of the angles, v, alpha
};

template <class T>
HL_INLINE Apart<T> apart_of(const T* a, const T* b, const Pair<T>& p, Overlap kind, T eps) {
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

// How much of a gradient goes to the first of two of which one was taken.
template <class T>
HL_INLINE T share(T first, T second, bool larger) {
  if (first == second) return T(0.5);
  return (first > second) == larger ? T(1) : T(0);
}

}  // namespace

template <class T>
Plan box_overlap_plan(const OverlapShape& s) {
  Plan p = {};
  p.algorithm = "columns side by side";
  p.shared_bytes = Sides<T>::bytes(s.N) + Sides<T>::stride(s.N) * int64_t(sizeof(T));
  p.flops = (s.kind == Overlap::kIou    ? 13.0
             : s.kind == Overlap::kCiou ? 40.0
                                        : 21.0) *
            double(s.M) * double(s.N);
  p.bytes = (4.0 * double(s.M + s.N) + double(s.M) * double(s.N)) * sizeof(T);
  return p;
}

template <class T>
void box_overlap(Ctx& ctx, const OverlapShape& s, const T* a, const T* b, T* y) {
  const Sides<T> columns = Sides<T>::in(ctx.shared, s.N);
  T* angles = columns.x1 + Sides<T>::bytes(s.N) / int64_t(sizeof(T));
  const Vec<T> eps = set1(T(s.eps)), one_vec = set1(T(1)), none = zero<T>();
  parallel_for(ctx, s.N, kTask, [&](int64_t begin, int64_t end, int) {
    for (int64_t j = begin; j < end; ++j) columns.put(j, b + 4 * j);
    if (s.kind != Overlap::kCiou) return;
    for (int64_t j = begin; j < end; ++j) angles[j] = angle_of(b + 4 * j);
  });
  const int64_t grain = max64(1, kTask / max64(s.N, 1));
  parallel_for(ctx, s.M, grain, [&](int64_t begin, int64_t end, int) {
    constexpr int L = kLanes<T>;
    for (int64_t i = begin; i < end; ++i) {
      const OneBox<T> one(a + 4 * i);
      const Vec<T> angle = set1(s.kind == Overlap::kCiou ? angle_of(a + 4 * i) : T(0));
      T* row = y + i * s.N;
      for (int64_t j = 0; j < s.N; j += L) {
        const int64_t lanes = min64(L, s.N - j);
        Vec<T> both, whole, w, h;
        columns.overlap(j, lanes, one, both, whole);
        const Vec<T> iou = both / whole;
        Vec<T> value = iou;
        if (s.kind != Overlap::kIou) columns.around(j, lanes, one, w, h);
        if (s.kind == Overlap::kGiou) value = iou - (w * h - whole) / (w * h);
        if (by_distance(s.kind)) {
          w = max(w, none), h = max(h, none);
          value = iou - columns.apart(j, lanes, one) / (w * w + h * h + eps);
        }
        if (s.kind == Overlap::kCiou) {
          const Vec<T> turn = angle - columns.some(angles + j, lanes);
          const Vec<T> v = set1(T(kShape)) * turn * turn;
          value = value - v / (one_vec - iou + v + eps) * v;
        }
        lanes == L ? store(row + j, value) : store_n(row + j, value, lanes);
      }
    }
  });
}

template <class T>
Plan box_loss_forward_plan(const OverlapShape& s) {
  Plan p = {};
  p.algorithm = "pairs";
  p.flops = 24.0 * double(s.M);
  p.bytes = 9.0 * double(s.M) * sizeof(T);
  return p;
}
template <class T>
void box_loss_forward(Ctx& ctx, const OverlapShape& s, const T* a, const T* b, T* loss) {
  const T eps = T(s.eps);
  parallel_for(ctx, s.M, kTask / 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const Pair<T> p = pair_of(a + 4 * i, b + 4 * i);
      T value = p.both / (p.whole + eps);
      if (s.kind == Overlap::kGiou) value = value - (p.around - p.whole) / (p.around + eps);
      if (by_distance(s.kind)) {
        const Apart<T> q = apart_of(a + 4 * i, b + 4 * i, p, s.kind, eps);
        value = value - q.square / q.within - q.weight * q.v;
      }
      loss[i] = T(1) - value;
    }
  });
}

template <class T>
Plan box_loss_backward_plan(const OverlapShape& s) {
  Plan p = {};
  p.algorithm = "pairs";
  p.flops = 60.0 * double(s.M);
  p.bytes = 17.0 * double(s.M) * sizeof(T);
  return p;
}
template <class T>
void box_loss_backward(Ctx& ctx, const OverlapShape& s, const T* dy, const T* a, const T* b, T* da,
                       T* db) {
  const T eps = T(s.eps);
  parallel_for(ctx, s.M, kTask / 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
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
        for (int k = 0; k < 4; ++k) {
          const T inner = share(own[k], other[k], k < 2);
          grad[k] = dwhole * side[k] + (p.meet ? common[k] * inner : T(0));
          if (s.kind != Overlap::kIou) grad[k] += outer[k] * share(own[k], other[k], k >= 2);
          if (by_distance(s.kind)) grad[k] += sign * away[k];
        }
        if (s.kind == Overlap::kCiou) {
          // atan(w/h) grows by h/(w^2 + h^2) with w and falls by w/(w^2 + h^2) with h.
          const T by = sign * dturn / (own_w * own_w + own_h * own_h);
          grad[0] -= by * own_h, grad[2] += by * own_h;
          grad[1] += by * own_w, grad[3] -= by * own_w;
        }
      };
      if (da) corners(u, v, T(1), da + 4 * i);
      if (db) corners(v, u, T(-1), db + 4 * i);
    }
  });
}

HL_DEFINE_KERNEL(box_overlap);
HL_DEFINE_KERNEL(box_loss_forward);
HL_DEFINE_KERNEL(box_loss_backward);

}  // namespace hl::cpu::HL_ISA
