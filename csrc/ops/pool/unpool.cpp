#include "ops/pool/unpool.h"

#include "cpu/parallel.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kTask = 1 << 14;  // elements
constexpr int64_t kBand = 64;       // channels of a task where there are few images

template <class T>
Plan plan_of(const UnpoolShape& s) {
  Plan p = {};
  p.algorithm = "by index";
  const double pooled = double(s.N) * double(s.P) * double(s.C);
  p.bytes = pooled * (8 + sizeof(T)) + double(s.N) * double(s.Q) * double(s.C) * sizeof(T);
  return p;
}

}  // namespace

template <class T>
Plan unpool_forward_plan(const UnpoolShape& s) {
  return plan_of<T>(s);
}

template <class T>
void unpool_forward(Ctx& ctx, const UnpoolShape& s, const T* x, const int64_t* indices, T* y) {
  // A task owns some channels of one image: whoever writes last there is known.
  const int64_t band = s.N >= 8 ? s.C : min64(s.C, kBand), bands = ceil_div(s.C, band);
  const int64_t grain = max64(1, kTask / (max64(s.P, s.Q) * band));
  parallel_for(ctx, s.N * bands, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / bands, c0 = unit % bands * band, c1 = min64(s.C, c0 + band);
      T* plane = y + n * s.Q * s.C;
      for (int64_t q = 0; q < s.Q; ++q) {
        __builtin_memset(plane + q * s.C + c0, 0, uint64_t(c1 - c0) * sizeof(T));
      }
      for (int64_t p = 0; p < s.P; ++p) {
        const int64_t at = (n * s.P + p) * s.C;
        for (int64_t c = c0; c < c1; ++c) plane[indices[at + c] * s.C + c] = x[at + c];
      }
    }
  });
}

template <class T>
Plan unpool_backward_plan(const UnpoolShape& s) {
  return plan_of<T>(s);
}

template <class T>
void unpool_backward(Ctx& ctx, const UnpoolShape& s, const T* dy, const int64_t* indices, T* dx) {
  const int64_t grain = max64(1, kTask / max64(s.C, 1));
  parallel_for(ctx, s.N * s.P, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const T* plane = dy + r / s.P * s.Q * s.C;
      for (int64_t c = 0; c < s.C; ++c) {
        dx[r * s.C + c] = plane[indices[r * s.C + c] * s.C + c];
      }
    }
  });
}

HL_DEFINE_KERNEL(unpool_forward);
HL_DEFINE_KERNEL(unpool_backward);

}  // namespace hl::cpu::HL_ISA
