// Fully connected layer with a fused activation.
//
//   z[m, o] = sum_i x[m, i] w[o, i] + b[o]      y = act(z)
//
//   x (M, I)   w (O, I)   b (O) or null   y (M, O)   z (M, O) or null, written for activations whose
//   gradient needs it (GELU, SiLU, Mish); saved is that z, or y for the others.
//
// Backward, with dz = dy * act'(saved):
//
//   dx = dz w        dw = dz^T x        db[o] = sum_m dz[m, o]
#pragma once

#include "context.h"
#include "ops/elementwise/elementwise.h"

namespace hl {

struct LinearShape {
  int64_t M, I, O;
  int activation;  // a UnaryOp, or kNoActivation
  double p0, p1;   // the activation's parameters
  bool need_dx, need_dw;
  bool packed;  // there are panels (pack.h)
};

template <class T>
using linear_forward_t = void(Ctx&, const LinearShape&, const T* x, const T* w, const T* panels,
                              const T* b, T* y, T* z);
template <class T>
using linear_backward_t = void(Ctx&, const LinearShape&, const T* dy, const T* x, const T* w,
                               const T* saved, T* dx, T* dw, T* db);

}  // namespace hl
