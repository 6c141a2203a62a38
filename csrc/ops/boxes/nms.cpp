#include "ops/boxes/nms.h"

#include "cpu/simd/math.h"
#include "kernel.h"
#include "ops/boxes/sides.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kBlock = 512;  // candidates that are held against what stayed, in parallel
constexpr int64_t kPiece = 64;   // of them for a task
constexpr int64_t kSoftTask = 8192;

// Whether one of the boxes [0, n) overlaps `one` by more than the threshold.
template <class T>
HL_INLINE bool falls(const Sides<T>& kept, int64_t n, const OneBox<T>& one, Vec<T> threshold) {
  constexpr int L = kLanes<T>;
  int64_t j = 0;
  Vec<T> both, whole;
  for (; j + 2 * L <= n; j += 2 * L) {  // two at a time: their divisions overlap
    kept.overlap(j, L, one, both, whole);
    const auto first = both / whole > threshold;
    kept.overlap(j + L, L, one, both, whole);
    if (any(first | (both / whole > threshold))) return true;
  }
  for (; j < n; j += L) {
    const int64_t lanes = min64(L, n - j);
    kept.overlap(j, lanes, one, both, whole);
    const Vec<T> iou = both / whole;
    if (lanes == L) {
      if (any(iou > threshold)) return true;
    } else {
      for (int64_t k = 0; k < lanes; ++k) {
        if (iou[k] > threshold[0]) return true;
      }
    }
  }
  return false;
}

// One class: order [begin, end). The places [begin, end) of `kept` are its own.
template <class T>
void suppress(Ctx& ctx, const T* boxes, const int64_t* order, int64_t begin, int64_t end,
              T threshold, const Sides<T>& all, uint8_t* stays) {
  const Sides<T> kept = {all.x1 + begin, all.y1 + begin, all.x2 + begin, all.y2 + begin,
                         all.area + begin};
  const Vec<T> limit = set1(threshold);
  int64_t n = 0;
  for (int64_t block = begin; block < end; block += kBlock) {
    const int64_t last = min64(block + kBlock, end), before = n;
    if (before > 0) {
      const int64_t piece = before < 256 ? kBlock : kPiece;
      parallel_for(ctx, last - block, piece, [&](int64_t from, int64_t to, int) {
        for (int64_t i = block + from; i < block + to; ++i) {
          stays[order[i]] = !falls(kept, before, OneBox<T>(boxes + 4 * order[i]), limit);
        }
      });
    }
    for (int64_t i = block; i < last; ++i) {
      const T* box = boxes + 4 * order[i];
      if (before > 0 && !stays[order[i]]) continue;
      const Sides<T> fresh = {kept.x1 + before, kept.y1 + before, kept.x2 + before,
                              kept.y2 + before, kept.area + before};
      const bool falling = n > before && falls(fresh, n - before, OneBox<T>(box), limit);
      stays[order[i]] = !falling;
      if (!falling) kept.put(n++, box);
    }
  }
}

}  // namespace

template <class T>
Plan nms_plan(const NmsShape& s) {
  Plan p = {};
  p.algorithm = s.classes == 1 ? "blocks against what stayed" : "classes side by side";
  p.shared_bytes = Sides<T>::bytes(s.N);
  p.flops = 13.0 * double(s.N) * double(s.N) / 2 / double(s.classes > 0 ? s.classes : 1);
  p.bytes = double(s.N) * (4 * sizeof(T) + 9);
  return p;
}

template <class T>
void nms(Ctx& ctx, const NmsShape& s, const T* boxes, const int64_t* order, const int64_t* start,
         uint8_t* stays) {
  const Sides<T> kept = Sides<T>::in(ctx.shared, s.N);
  const T threshold = T(s.threshold);
  if (s.classes == 1) return suppress(ctx, boxes, order, 0, s.N, threshold, kept, stays);
  const int64_t grain = max64(1, 256 * s.classes / max64(s.N, 1));
  parallel_for(ctx, s.classes, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t c = begin; c < end; ++c) {
      suppress(ctx, boxes, order, start[c], start[c + 1], threshold, kept, stays);
    }
  });
}

template <class T>
Plan soft_nms_plan(const SoftNmsShape& s) {
  Plan p = {};
  p.algorithm = "best first";
  p.shared_bytes = Sides<T>::bytes(s.N) + round_up(s.N, 64) * int64_t(sizeof(T) + 8);
  p.flops = 15.0 * double(s.N) * double(s.N) / 2;
  p.bytes = double(s.N) * (6 * sizeof(T) + 8);
  return p;
}

template <class T>
void soft_nms(Ctx& ctx, const SoftNmsShape& s, const T* boxes, const T* scores, int64_t* keep,
              T* new_scores, int64_t* count) {
  constexpr int L = kLanes<T>;
  const Sides<T> left = Sides<T>::in(ctx.shared, s.N);
  auto* number = reinterpret_cast<int64_t*>(ctx.shared + Sides<T>::bytes(s.N));
  T* score = reinterpret_cast<T*>(number + round_up(s.N, 64));
  int64_t n = 0, taken = 0;
  for (int64_t i = 0; i < s.N; ++i) {
    if (scores[i] != scores[i]) continue;
    left.put(n, boxes + 4 * i);
    number[n] = i, score[n++] = scores[i];
  }
  while (n > 0) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; ++i) best = score[i] > score[best] ? i : best;
    if (!(score[best] > T(s.least))) break;
    const T box[4] = {left.x1[best], left.y1[best], left.x2[best], left.y2[best]};
    keep[taken] = number[best], new_scores[taken++] = score[best];
    // The order of the rest is kept: it decides between equal scores.
    --n;
    T* const rows[] = {left.x1, left.y1, left.x2, left.y2, left.area, score};
    for (T* row : rows) {
      __builtin_memmove(row + best, row + best + 1, uint64_t(n - best) * sizeof(T));
    }
    __builtin_memmove(number + best, number + best + 1, uint64_t(n - best) * 8);
    const OneBox<T> one(box);
    parallel_for(ctx, n, kSoftTask, [&](int64_t begin, int64_t end, int) {
      for (int64_t j = begin; j < end; j += L) {
        const int64_t lanes = min64(L, end - j);
        Vec<T> both, whole;
        left.overlap(j, lanes, one, both, whole);
        Vec<T> iou = both / whole;
        iou = select(iou == iou, iou, zero<T>());
        Vec<T> factor;
        if (s.decay == Decay::kLinear) {
          factor = select(iou > set1(T(s.threshold)), set1(T(1)) - iou, set1(T(1)));
        } else {
          factor = exp(-(iou * iou) / set1(T(s.sigma)));
        }
        const Vec<T> old = left.some(score + j, lanes);
        lanes == L ? store(score + j, old * factor) : store_n(score + j, old * factor, lanes);
      }
    });
  }
  count[0] = taken;
}

HL_DEFINE_KERNEL(nms);
HL_DEFINE_KERNEL(soft_nms);

}  // namespace hl::cpu::HL_ISA
