// Unpooling: values go back to the places that max pooling took them from.
//
//   y[n, q, c] = x[n, p, c] where indices[n, p, c] = q, 0 where there is none;
//                the last p where there are several
//   dx[n, p, c] = dy[n, indices[n, p, c], c]
//
// As in PyTorch, every p reads the gradient of its place, also where another p has overwritten it.
// x and indices are (N, P, C), y is (N, Q, C), contiguous; 0 <= indices < Q.
#pragma once

#include "context.h"

namespace hl {

struct UnpoolShape {
  int64_t N, P, Q, C;
};

template <class T>
using unpool_forward_t = void(Ctx&, const UnpoolShape&, const T* x, const int64_t* indices, T* y);
template <class T>
using unpool_backward_t = void(Ctx&, const UnpoolShape&, const T* dy, const int64_t* indices,
                               T* dx);

}  // namespace hl
