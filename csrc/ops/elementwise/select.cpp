// Comparisons, choice by a mask, and the test for finite numbers. Bytes beside wider elements:
// plain loops, which the compiler turns into vectors.
#include "kernel.h"
#include "ops/elementwise/sum_walk.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T, class Test>
HL_INLINE void compare_row(void* const* p, int64_t n, const Test& test) {
  const T* __restrict a = static_cast<const T*>(p[0]);
  const T* __restrict b = static_cast<const T*>(p[1]);
  uint8_t* __restrict y = static_cast<uint8_t*>(p[2]);
  for (int64_t i = 0; i < n; ++i) y[i] = test(a[i], b[i]);
}

template <class T, CompareOp op>
void compare_tile(const void*, void* const* p, int64_t n) {
  compare_row<T>(p, n, [](T a, T b) -> uint8_t {
    if constexpr (op == CompareOp::kEq) return a == b;
    if constexpr (op == CompareOp::kGe) return a >= b;
    if constexpr (op == CompareOp::kGt) return a > b;
    if constexpr (op == CompareOp::kLe) return a <= b;
    if constexpr (op == CompareOp::kLt) return a < b;
    return a != b;
  });
}

template <class T>
TileBody compare_tile_of(CompareOp op) {
  switch (op) {
    case CompareOp::kEq:
      return &compare_tile<T, CompareOp::kEq>;
    case CompareOp::kGe:
      return &compare_tile<T, CompareOp::kGe>;
    case CompareOp::kGt:
      return &compare_tile<T, CompareOp::kGt>;
    case CompareOp::kLe:
      return &compare_tile<T, CompareOp::kLe>;
    case CompareOp::kLt:
      return &compare_tile<T, CompareOp::kLt>;
    default:
      return &compare_tile<T, CompareOp::kNe>;
  }
}

TileBody compare_tile_of(ElementType type, CompareOp op) {
  switch (type) {
    case ElementType::kFloat32:
      return compare_tile_of<float>(op);
    case ElementType::kFloat64:
      return compare_tile_of<double>(op);
    case ElementType::kInt32:
      return compare_tile_of<int32_t>(op);
    case ElementType::kInt64:
      return compare_tile_of<int64_t>(op);
    default:
      return compare_tile_of<uint8_t>(op);
  }
}

int item_of(int type) {
  switch (ElementType(type)) {
    case ElementType::kFloat32:
    case ElementType::kInt32:
      return 4;
    case ElementType::kFloat64:
    case ElementType::kInt64:
      return 8;
    default:
      return 1;
  }
}

// Bits are moved, never looked at.
template <class Word>
void where_tile(const void*, void* const* p, int64_t n) {
  typedef Word Any __attribute__((may_alias));
  const uint8_t* mask = static_cast<const uint8_t*>(p[0]);
  const Any* a = static_cast<const Any*>(p[1]);
  const Any* b = static_cast<const Any*>(p[2]);
  Any* y = static_cast<Any*>(p[3]);
  for (int64_t i = 0; i < n; ++i) y[i] = mask[i] ? a[i] : b[i];
}

template <class T, bool set>
void chosen_tile(const void*, void* const* p, int64_t n) {
  const uint8_t* mask = static_cast<const uint8_t*>(p[0]);
  const T* dy = static_cast<const T*>(p[1]);
  T* grad = static_cast<T*>(p[2]);
  for (int64_t i = 0; i < n; ++i) grad[i] = (mask[i] != 0) == set ? dy[i] : T(0);
}

template <class T>
void finite_tile(const void* flag, void* const* p, int64_t n) {
  using V = Vec<T>;
  const T* x = static_cast<const T*>(p[0]);
  constexpr int L = kLanes<T>;
  Int<V> bad = {};
  for (int64_t i = 0; i < n; i += L) {
    const V v = n - i >= L ? load(x + i) : load_n(x + i, n - i);
    bad |= (v - v) != V{};
  }
  if (any(bad)) __atomic_store_n(*static_cast<int* const*>(flag), 0, __ATOMIC_RELAXED);
}

}  // namespace

Plan compare_plan(const ElementShape& s) { return walk_plan(s, 2, item_of(s.type)); }
void compare(Ctx& ctx, const ElementShape& s, const void* a, const void* b, uint8_t* y) {
  const int item = item_of(s.type);
  const TileBody body = compare_tile_of(ElementType(s.type), CompareOp(s.op));
  walk(ctx, s,
       {3, true, {const_cast<void*>(a), const_cast<void*>(b), y}, {item, item, 1}, body, nullptr});
}

Plan where_plan(const ElementShape& s) { return walk_plan(s, 4, item_of(s.type)); }
void where(Ctx& ctx, const ElementShape& s, const uint8_t* mask, const void* a, const void* b,
           void* y) {
  const int item = item_of(s.type);
  const TileBody body = item == 4   ? &where_tile<uint32_t>
                        : item == 8 ? &where_tile<uint64_t>
                                    : &where_tile<uint8_t>;
  void* base[] = {const_cast<uint8_t*>(mask), const_cast<void*>(a), const_cast<void*>(b), y};
  walk(ctx, s,
       {4, true, {base[0], base[1], base[2], base[3]}, {1, item, item, item}, body, nullptr});
}

template <class T>
Plan where_backward_plan(const ElementShape& s) {
  Plan p = walk_plan(s, 3, sizeof(T));
  if (sums(s, 3)) p.shared_bytes = sum_walk_bytes(s, 3, sizeof(T));
  return p;
}
template <class T>
void where_backward(Ctx& ctx, const ElementShape& s, const uint8_t* mask, const T* dy, T* grad) {
  const Walk w = {3,
                  true,
                  {const_cast<uint8_t*>(mask), const_cast<T*>(dy), grad},
                  {1, int(sizeof(T)), int(sizeof(T))},
                  s.p0 == 0 ? &chosen_tile<T, true> : &chosen_tile<T, false>,
                  nullptr};
  if (sums(s, 3)) return sum_walk<T>(ctx, s, w);
  walk(ctx, s, w);
}

template <class T>
Plan all_finite_plan(const ElementShape& s) {
  return walk_plan(s, 1, sizeof(T));
}
template <class T>
void all_finite(Ctx& ctx, const ElementShape& s, const T* x, int* y) {
  *y = 1;
  walk(ctx, s, {1, false, {const_cast<T*>(x)}, {int(sizeof(T))}, &finite_tile<T>, &y});
}

HL_DEFINE_RAW_KERNEL(compare);
HL_DEFINE_RAW_KERNEL(where);
HL_DEFINE_KERNEL(where_backward);
HL_DEFINE_KERNEL(all_finite);

}  // namespace hl::cpu::HL_ISA
