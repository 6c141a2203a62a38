#include "cuda/elements.h"
#include "cuda/kernel.h"

namespace hl::cuda {
namespace {

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

template <class T>
__device__ bool holds(CompareOp op, T a, T b) {
  switch (op) {
    case CompareOp::kEq:
      return a == b;
    case CompareOp::kGe:
      return a >= b;
    case CompareOp::kGt:
      return a > b;
    case CompareOp::kLe:
      return a <= b;
    case CompareOp::kLt:
      return a < b;
    default:
      return a != b;
  }
}

template <class T>
void compare_as(Ctx& ctx, const ElementShape& s, const void* a_in, const void* b_in, uint8_t* y) {
  const T *a = static_cast<const T*>(a_in), *b = static_cast<const T*>(b_in);
  const CompareOp op = CompareOp(s.op);
  map_elements<3>(
      ctx, s, y, [=] __device__(const Offsets<3>& o) { return Both<T>{a[o.at[0]], b[o.at[1]]}; },
      [=] __device__(const Both<T>& v) { return uint8_t(holds(op, v.a, v.b)); });
}

Plan compare_plan(const ElementShape& s) { return element_plan(s, 2, item_of(s.type)); }
void compare(Ctx& ctx, const ElementShape& s, const void* a, const void* b, uint8_t* y) {
  switch (ElementType(s.type)) {
    case ElementType::kFloat32:
      return compare_as<float>(ctx, s, a, b, y);
    case ElementType::kFloat64:
      return compare_as<double>(ctx, s, a, b, y);
    case ElementType::kInt32:
      return compare_as<int32_t>(ctx, s, a, b, y);
    case ElementType::kInt64:
      return compare_as<int64_t>(ctx, s, a, b, y);
    default:
      return compare_as<uint8_t>(ctx, s, a, b, y);
  }
}

// Bits are moved, never looked at.
template <class Word>
void where_as(Ctx& ctx, const ElementShape& s, const uint8_t* mask, const void* a_in,
              const void* b_in, void* y_out) {
  const Word *a = static_cast<const Word*>(a_in), *b = static_cast<const Word*>(b_in);
  Word* y = static_cast<Word*>(y_out);
  map_elements<4>(
      ctx, s, y,
      [=] __device__(const Offsets<4>& o) { return mask[o.at[0]] ? a[o.at[1]] : b[o.at[2]]; },
      [=] __device__(Word v) { return v; });
}

Plan where_plan(const ElementShape& s) { return element_plan(s, 4, item_of(s.type)); }
void where(Ctx& ctx, const ElementShape& s, const uint8_t* mask, const void* a, const void* b,
           void* y) {
  switch (item_of(s.type)) {
    case 4:
      return where_as<uint32_t>(ctx, s, mask, a, b, y);
    case 8:
      return where_as<uint64_t>(ctx, s, mask, a, b, y);
    default:
      return where_as<uint8_t>(ctx, s, mask, a, b, y);
  }
}

template <class T>
struct ChosenTerm {
  bool set;
  const uint8_t* mask;
  const T* dy;
  __device__ T operator()(const Offsets<3>& o) const {
    return (mask[o.at[0]] != 0) == set ? dy[o.at[1]] : T(0);
  }
};

template <class T>
Plan where_backward_plan(const ElementShape& s) {
  return gradient_plan<T, 3>(s);
}
template <class T>
void where_backward(Ctx& ctx, const ElementShape& s, const uint8_t* mask, const T* dy, T* grad) {
  gradient<3>(ctx, s, ChosenTerm<T>{s.p0 == 0, mask, dy}, grad);
}

HL_CUDA_RAW_KERNEL(compare);
HL_CUDA_RAW_KERNEL(where);
HL_CUDA_KERNEL(where_backward);

}  // namespace
}  // namespace hl::cuda
