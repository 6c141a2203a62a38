// Softmax attention over sequences of heads.
//
//   s[i, j] = scale * sum_d q[i, d] k[j, d] + bias[i, j] - slope |j - at(i)|   for the keys i sees
//   p[i, :] = softmax(s[i, :])          y[i, :] = sum_j p[i, j] z[i, j] v[j, :]
//   lse[i]  = log sum_j exp(s[i, j])    z: what dropout multiplies with, 0 or 1 / (1 - p)
//
//   dP[i, j] = z[i, j] sum_d dy[i, d] v[j, d]    dS = p (dP - delta)    delta[i] = dy[i] . y[i]
//   dv[j] = sum_i p z dy[i]    dq[i] = scale sum_j dS k[j]    dk[j] = scale sum_i dS q[i]
//   dbias = dS
//
// delta is sum_j p dP, since y is linear in p z. Forward keeps nothing but lse: backward forms p
// anew from it. Memory is linear in the lengths of the sequences. After Milakov and Gimelshein,
// "Online normalizer calculation for softmax" (2018), and Dao, "FlashAttention-2" (2023).
//
// Query i stands at position at(i) among the keys: i + shift, or i + starts[n]. It sees key j if
// -left <= j - at(i) <= right, j < lengths[n], and mask[n, h, i, j] (a byte that is not 0). A query
// that sees nothing has y = 0, lse = -inf and no gradient. ALiBi's slopes: Press, Smith and Lewis,
// "Train short, test long" (2022).
//
// Layouts: q (N, Tq, H, D), k (N, Tk, Hk, D), v (N, Tk, Hk, Dv), dq, dk and dv alike, with any
// strides but the last, so that a packed projection is used where it lies. Hk divides H: head h
// reads k and v of h / (H / Hk). y and dy (N, Tq, H, Dv), lse (N, H, Tq), weights p z (N, H, Tq,
// Tk) are contiguous; mask and bias are broadcast to (N, H, Tq, Tk) by strides of 0. Element (n, h,
// i, j) of z is drawn by word ((n H + h) Tq + i) Tk + j of the call (ops/random.h): as dropout of
// an array of the weights' shape.
#pragma once

#include "context.h"

namespace hl {

constexpr int64_t kUnlimited = int64_t(1) << 60;

struct AttentionShape {
  int64_t N, Tq, Tk, H, Hk, D, Dv;
  int64_t q[3], k[3], v[3];            // strides of n, t, h
  int64_t dq[3], dk[3], dv[3];         // of the results of backward
  int64_t mask[4], bias[4], slope[2];  // of n, h, query, key; of n, h
  int64_t bias_sizes[4];               // 1 where bias is broadcast: the shape of its gradient
  bool terms;                          // there is a mask, a bias or slopes
  double scale;
  int64_t left, right, shift;
  uint64_t seed, call, threshold;  // dropout; threshold 0: none
  double keep;                     // 1 / (1 - p)
};

// lengths, starts (N), mask, bias and slopes may be null: everything, shift, none.
template <class T>
using attention_forward_t = void(Ctx&, const AttentionShape&, const T* q, const T* k, const T* v,
                                 const int64_t* lengths, const int64_t* starts,
                                 const unsigned char* mask, const T* bias, const T* slopes, T* y,
                                 T* lse);
// Either of dq, and dk with dv, may be null.
template <class T>
using attention_backward_t = void(Ctx&, const AttentionShape&, const T* dy, const T* q, const T* k,
                                  const T* v, const T* y, const T* lse, const int64_t* lengths,
                                  const int64_t* starts, const unsigned char* mask, const T* bias,
                                  const T* slopes, T* dq, T* dk, T* dv);
// dbias has the shape bias_sizes.
template <class T>
using attention_bias_backward_t = void(Ctx&, const AttentionShape&, const T* dy, const T* q,
                                       const T* k, const T* v, const T* y, const T* lse,
                                       const int64_t* lengths, const int64_t* starts,
                                       const unsigned char* mask, const T* bias, const T* slopes,
                                       T* dbias);
template <class T>
using attention_weights_t = void(Ctx&, const AttentionShape&, const T* q, const T* k, const T* lse,
                                 const int64_t* lengths, const int64_t* starts,
                                 const unsigned char* mask, const T* bias, const T* slopes, T* w);

}  // namespace hl
