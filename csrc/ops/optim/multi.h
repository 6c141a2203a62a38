// What is done to all gradients or parameters at once, in one call over a list of tensors.
//
//   multi_norm    (sum |x|^ord)^(1/ord) over every element of every tensor, ord 1 or 2; largest |x|
//   for
//                 infinity. Sums are kept in double, chunk by chunk, and added in a fixed tree.
//   multi_scale   x *= a          multi_clamp   x = min(max(x, a), b)
//   multi_lerp    x += a (y - x)  (moving averages of weights)
#pragma once

#include "context.h"

namespace hl {

enum class NormOrder { kOne, kTwo, kInfinity };

struct MultiShape {
  int64_t tensors, total;
  NormOrder order;
  double a, b;
};

template <class T>
struct MultiTensor {
  T* x;                 // in-out; in for the norm
  const T* y;           // in, multi_lerp only
  int64_t begin, size;  // place in the flat index space
};

template <class T>
using multi_norm_t = void(Ctx&, const MultiShape&, const MultiTensor<T>* tensors, double* norm);
template <class T>
using multi_scale_t = void(Ctx&, const MultiShape&, const MultiTensor<T>* tensors);
template <class T>
using multi_clamp_t = void(Ctx&, const MultiShape&, const MultiTensor<T>* tensors);
template <class T>
using multi_lerp_t = void(Ctx&, const MultiShape&, const MultiTensor<T>* tensors);

}  // namespace hl
