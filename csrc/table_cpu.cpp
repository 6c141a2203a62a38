// The op table of one instruction set. Compiled once per ISA.
#include "kernels.h"

#include "cpu/simd/vec.h"

#define HL_STRING_(x) #x
#define HL_STRING(x) HL_STRING_(x)

namespace hl::cpu::HL_ISA {
namespace {

template <unsigned types, class T, class Get>
constexpr auto slot(Get get) {
  if constexpr ((types & TypeBit<T>::value) != 0) {
    return get.template operator()<T>();
  } else {
    return NotBuilt{};
  }
}

template <class T>
constexpr OpTable<T> table() {
  return {
#define HL_KERNEL(name, types) slot<(types), T>([]<class U>() { return &name##_kernel<U>::entry; }),
#include "kernels.def"
#undef HL_KERNEL
  };
}

constinit const OpTable<float> f32 = table<float>();
constinit const OpTable<double> f64 = table<double>();
constinit const OpTable<void> raw = table<void>();

}  // namespace

extern const Backend backend;
constinit const Backend backend = {HL_STRING(HL_ISA), &f32, &f64, &raw, kVectorBytes};

}  // namespace hl::cpu::HL_ISA
