// A fully connected layer around any way to multiply.
#pragma once

#include "cuda/loop.h"
#include "cuda/operands.h"
#include "cuda/unary.h"
#include "ops/matmul/linear.h"

namespace hl::cuda {

// z and y of a sum.
template <class T>
struct LinearStore {
  const T* b;
  T *y, *z;
  int64_t O;
  int activation;
  double p0, p1;

  __device__ LinearStore of(int64_t) const { return *this; }
  __device__ T total(int64_t j, T sum) const { return b ? sum + b[j] : sum; }
  __device__ T made(T total) const { return activate(activation, total, p0, p1); }
  __device__ void operator()(int64_t i, int64_t j, T sum) const {
    const T v = total(j, sum);
    if (z) z[i * O + j] = v;
    y[i * O + j] = made(v);
  }
  __device__ void two(int64_t i, int64_t j, T first, T second) const {
    const T v = total(j, first), w = total(j + 1, second);
    if (z) put_two(z + i * O + j, v, w);
    put_two(y + i * O + j, made(v), made(w));
  }
};

template <class T>
struct RowsStore {
  T* to;
  int64_t columns;

  __device__ RowsStore of(int64_t) const { return *this; }
  __device__ void operator()(int64_t i, int64_t j, T sum) const { to[i * columns + j] = sum; }
  __device__ void two(int64_t i, int64_t j, T first, T second) const {
    put_two(to + i * columns + j, first, second);
  }
};

// product(M, N, K, a, b, store)
template <class T, class Product>
void linear_forward_by(const LinearShape& s, const T* x, const T* w, const T* b, T* y, T* z,
                       Product product) {
  product(s.M, s.O, s.I, Strided<const T>{x, s.I, 1}, Strided<const T>{w, 1, s.I},
          LinearStore<T>{b, y, z, s.O, s.activation, s.p0, s.p1});
}

// dz, where it is not dy itself, lies in scratch.
template <class T, class Product>
void linear_backward_by(Ctx& ctx, const LinearShape& s, const T* dy, const T* x, const T* w,
                        const T* saved, T* dx, T* dw, T* db, Product product) {
  const T* dz = dy;
  if (s.activation != kNoActivation) {
    T* made = reinterpret_cast<T*>(ctx.shared);
    each(ctx, s.M * s.O, [=] __device__(int64_t i) {
      made[i] = activate_gradient(s.activation, dy[i], saved[i], s.p0, s.p1);
    });
    dz = made;
  }
  if (dx) {
    product(s.M, s.I, s.O, Strided<const T>{dz, s.O, 1}, Strided<const T>{w, s.I, 1},
            RowsStore<T>{dx, s.I});
  }
  if (dw) {
    product(s.O, s.I, s.M, Strided<const T>{dz, 1, s.O}, Strided<const T>{x, s.I, 1},
            RowsStore<T>{dw, s.I});
  }
  if (db) {
    each_row(ctx, s.O, [=] __device__(int64_t o, void* room) {
      double sum = 0;
      for (int64_t m = threadIdx.x; m < s.M; m += kThreads) sum += dz[m * s.O + o];
      sum = block_reduce(sum, static_cast<double*>(room), Plus());
      if (threadIdx.x == 0) db[o] = T(sum);
    });
  }
}

}  // namespace hl::cuda
