// The op table: one entry per line of kernels.def, one table per element type, ISA and device.
#pragma once

#include "context.h"
#include "kernel.h"
#include "ops/attention/attention.h"
#include "ops/boxes/boxes.h"
#include "ops/boxes/nms.h"
#include "ops/conv/conv.h"
#include "ops/edit_distance.h"
#include "ops/elementwise/elementwise.h"
#include "ops/layout/copy.h"
#include "ops/layout/index.h"
#include "ops/layout/make.h"
#include "ops/layout/pad.h"
#include "ops/loss/ctc.h"
#include "ops/loss/loss.h"
#include "ops/matmul/linear.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/pack.h"
#include "ops/norm/norm.h"
#include "ops/optim/multi.h"
#include "ops/optim/optim.h"
#include "ops/peak.h"
#include "ops/pool/pool.h"
#include "ops/pool/unpool.h"
#include "ops/random.h"
#include "ops/rbm.h"
#include "ops/reduce/order.h"
#include "ops/reduce/reduce.h"
#include "ops/regions/regions.h"
#include "ops/resize/grid.h"
#include "ops/resize/resample.h"
#include "ops/rnn/rnn.h"
#include "ops/roi/roi.h"
#include "ops/softmax.h"

namespace hl {

// The element types that a kernel is built for. RAW kernels move bytes and never look at them.
enum Types : unsigned { F32 = 1, F64 = 2, RAW = 4 };

template <class T>
struct TypeBit;
template <>
struct TypeBit<float> {
  enum : unsigned { value = F32 };
};
template <>
struct TypeBit<double> {
  enum : unsigned { value = F64 };
};
template <>
struct TypeBit<void> {
  enum : unsigned { value = RAW };
};

struct NotBuilt {};
template <bool Built, template <class> class F, class T>
struct SlotOf {
  using type = NotBuilt;
};
template <template <class> class F, class T>
struct SlotOf<true, F, T> {
  using type = const Entry<F<T>>*;
};
template <unsigned types, template <class> class F, class T>
using Slot = typename SlotOf<(types & TypeBit<T>::value) != 0, F, T>::type;

template <class T>
struct OpTable {
#define HL_KERNEL(name, types) Slot<(types), name##_t, T> name;
#include "kernels.def"
#undef HL_KERNEL
};

// All that one ISA (or device) can do.
struct Backend {
  const char* name;
  const OpTable<float>* f32;
  const OpTable<double>* f64;
  const OpTable<void>* raw;
  int vector_bytes;
};

// ---- which backend runs: dispatch.cpp ------------------------------------------------------------
const Backend& active_backend();
int available_backends(const Backend** list, int capacity);  // best first
bool use_backend(const char* name);                          // false if it is not available
const char* dispatch_error();  // why HANDLOOM_ISA could not be followed, or null

}  // namespace hl

#ifdef HL_ISA
// Inside an ISA build every kernel has an entry, which its own source defines.
namespace hl::cpu::HL_ISA {
#define HL_KERNEL(name, types) HL_DECLARE_KERNEL_ENTRY(name);
#include "kernels.def"
#undef HL_KERNEL
}  // namespace hl::cpu::HL_ISA
#endif
