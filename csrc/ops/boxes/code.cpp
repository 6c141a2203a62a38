#include "cpu/parallel.h"
#include "cpu/simd/math.h"
#include "kernel.h"
#include "ops/boxes/boxes.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kGrain = 2048;  // boxes

template <class T>
Plan code_plan(const BoxCodeShape& s, int arrays) {
  Plan p = {};
  p.algorithm = "vectors of boxes";
  p.flops = 16.0 * double(s.N) * double(s.K);
  p.bytes = 4.0 * double(s.N) * (1 + arrays * double(s.K)) * sizeof(T);
  return p;
}

// A vector of boxes or codes, turned so that lane i of row k is number k of box i.
template <class T>
HL_INLINE void turn_in(const T* p, int64_t n, T (&rows)[4][kLanes<T>]) {
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) rows[k][i] = p[4 * i + k];
  }
  for (int64_t i = n; i < kLanes<T>; ++i) {
    for (int k = 0; k < 4; ++k) rows[k][i] = T(1);
  }
}
template <class T>
HL_INLINE void turn_out(const T (&rows)[4][kLanes<T>], int64_t n, T* p) {
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) p[4 * i + k] = rows[k][i];
  }
}

template <class T>
struct Middle {
  Vec<T> x, y, w, h;
};
template <class T>
HL_INLINE Middle<T> middle_of(const T (&r)[4][kLanes<T>]) {
  const Vec<T> half = set1(T(0.5));
  const Vec<T> x1 = load(r[0]), y1 = load(r[1]), w = load(r[2]) - x1, h = load(r[3]) - y1;
  return {x1 + half * w, y1 + half * h, w, h};
}

// f(first code of a vector, codes in it, anchors of these in rows).
template <class T, class F>
HL_INLINE void for_codes(Ctx& ctx, const BoxCodeShape& s, const T* anchors, const F& f) {
  parallel_for(ctx, s.N * s.K, kGrain, [&](int64_t begin, int64_t end, int) {
    T own[4][kLanes<T>], gathered[4 * kLanes<T>];
    for (int64_t i = begin; i < end; i += kLanes<T>) {
      const int64_t n = min64(kLanes<T>, end - i);
      const T* from = anchors + 4 * i;
      if (s.K != 1) {
        for (int64_t j = 0; j < n; ++j) {
          for (int k = 0; k < 4; ++k) gathered[4 * j + k] = anchors[(i + j) / s.K * 4 + k];
        }
        from = gathered;
      }
      turn_in(from, n, own);
      f(i, n, own);
    }
  });
}

}  // namespace

template <class T>
Plan box_encode_plan(const BoxCodeShape& s) {
  return code_plan<T>(s, 2);
}
template <class T>
void box_encode(Ctx& ctx, const BoxCodeShape& s, const T* boxes, const T* anchors, T* codes) {
  for_codes(ctx, s, anchors, [&](int64_t i, int64_t n, const T(&own)[4][kLanes<T>]) {
    T rows[4][kLanes<T>];
    turn_in(boxes + 4 * i, n, rows);
    const Middle<T> a = middle_of<T>(own), b = middle_of<T>(rows);
    store(rows[0], set1(T(s.weight[0])) * (b.x - a.x) / a.w);
    store(rows[1], set1(T(s.weight[1])) * (b.y - a.y) / a.h);
    store(rows[2], set1(T(s.weight[2])) * log(b.w / a.w));
    store(rows[3], set1(T(s.weight[3])) * log(b.h / a.h));
    turn_out<T>(rows, n, codes + 4 * i);
  });
}

template <class T>
Plan box_decode_plan(const BoxCodeShape& s) {
  return code_plan<T>(s, 2);
}
template <class T>
void box_decode(Ctx& ctx, const BoxCodeShape& s, const T* codes, const T* anchors, T* boxes) {
  for_codes(ctx, s, anchors, [&](int64_t i, int64_t n, const T(&own)[4][kLanes<T>]) {
    T rows[4][kLanes<T>];
    turn_in(codes + 4 * i, n, rows);
    const Middle<T> a = middle_of<T>(own);
    const Vec<T> clip = set1(T(s.clip)), half = set1(T(0.5));
    const Vec<T> x = load(rows[0]) / set1(T(s.weight[0])) * a.w + a.x;
    const Vec<T> y = load(rows[1]) / set1(T(s.weight[1])) * a.h + a.y;
    const Vec<T> w = half * (exp(min(load(rows[2]) / set1(T(s.weight[2])), clip)) * a.w);
    const Vec<T> h = half * (exp(min(load(rows[3]) / set1(T(s.weight[3])), clip)) * a.h);
    store(rows[0], x - w), store(rows[1], y - h);
    store(rows[2], x + w), store(rows[3], y + h);
    turn_out<T>(rows, n, boxes + 4 * i);
  });
}

template <class T>
Plan box_decode_backward_plan(const BoxCodeShape& s) {
  return code_plan<T>(s, 3);
}
template <class T>
void box_decode_backward(Ctx& ctx, const BoxCodeShape& s, const T* dy, const T* codes,
                         const T* anchors, T* dcodes) {
  for_codes(ctx, s, anchors, [&](int64_t i, int64_t n, const T(&own)[4][kLanes<T>]) {
    T rows[4][kLanes<T>], grad[4][kLanes<T>];
    turn_in(codes + 4 * i, n, rows);
    turn_in(dy + 4 * i, n, grad);
    const Middle<T> a = middle_of<T>(own);
    const Vec<T> half = set1(T(0.5));
    for (int k = 0; k < 2; ++k) {
      const Vec<T> low = load(grad[k]), high = load(grad[k + 2]), size = k ? a.h : a.w;
      const Vec<T> weight = set1(T(s.weight[k + 2]));
      const Vec<T> t = load(rows[k + 2]) / weight, clip = set1(T(s.clip));
      const Vec<T> slope = half * (high - low) * exp(min(t, clip)) * size / weight;
      store(rows[k], (low + high) * size / set1(T(s.weight[k])));
      store(rows[k + 2], select(t > clip, zero<T>(), slope));
    }
    turn_out<T>(rows, n, dcodes + 4 * i);
  });
}

HL_DEFINE_KERNEL(box_encode);
HL_DEFINE_KERNEL(box_decode);
HL_DEFINE_KERNEL(box_decode_backward);

}  // namespace hl::cpu::HL_ISA
