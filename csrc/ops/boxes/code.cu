#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "ops/boxes/boxes.h"

namespace hl::cuda {
namespace {

template <class T>
Plan code_plan(const BoxCodeShape& s, int arrays) {
  const double n = double(s.N), k = double(s.K);
  return {"a thread per code",
          nullptr,
          {1, 1, 1},
          0,
          0,
          16 * n * k,
          4 * n * (1 + arrays * k) * sizeof(T)};
}
template <class T>
Plan box_encode_plan(const BoxCodeShape& s) {
  return code_plan<T>(s, 2);
}
template <class T>
Plan box_decode_plan(const BoxCodeShape& s) {
  return code_plan<T>(s, 2);
}
template <class T>
Plan box_decode_backward_plan(const BoxCodeShape& s) {
  return code_plan<T>(s, 3);
}

// Middle and size, along x and y.
template <class T>
struct Middle {
  T at[2], size[2];
};
template <class T>
__device__ Middle<T> middle_of(const T* b) {
  const T w = b[2] - b[0], h = b[3] - b[1];
  return {{b[0] + T(0.5) * w, b[1] + T(0.5) * h}, {w, h}};
}

// NaN comes through.
template <class T>
__device__ T clipped(T v, T most) {
  return v > most ? most : v;
}

template <class T>
void box_encode(Ctx& ctx, const BoxCodeShape& s, const T* boxes, const T* anchors, T* codes) {
  const Divider by_k = divide_by(s.K);
  each(ctx, s.N * s.K, [=] __device__(int64_t i) {
    const Middle<T> a = middle_of(anchors + 4 * quotient(i, by_k)), b = middle_of(boxes + 4 * i);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      codes[4 * i + k] = T(s.weight[k]) * (b.at[k] - a.at[k]) / a.size[k];
      codes[4 * i + k + 2] = T(s.weight[k + 2]) * log(b.size[k] / a.size[k]);
    }
  });
}

template <class T>
void box_decode(Ctx& ctx, const BoxCodeShape& s, const T* codes, const T* anchors, T* boxes) {
  const Divider by_k = divide_by(s.K);
  each(ctx, s.N * s.K, [=] __device__(int64_t i) {
    const Middle<T> a = middle_of(anchors + 4 * quotient(i, by_k));
    const T* t = codes + 4 * i;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const T at = t[k] / T(s.weight[k]) * a.size[k] + a.at[k];
      const T grown = exp(clipped(t[k + 2] / T(s.weight[k + 2]), T(s.clip)));
      const T half = T(0.5) * (grown * a.size[k]);
      boxes[4 * i + k] = at - half, boxes[4 * i + k + 2] = at + half;
    }
  });
}

template <class T>
void box_decode_backward(Ctx& ctx, const BoxCodeShape& s, const T* dy, const T* codes,
                         const T* anchors, T* dcodes) {
  const Divider by_k = divide_by(s.K);
  each(ctx, s.N * s.K, [=] __device__(int64_t i) {
    const Middle<T> a = middle_of(anchors + 4 * quotient(i, by_k));
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const T low = dy[4 * i + k], high = dy[4 * i + k + 2], weight = T(s.weight[k + 2]);
      const T t = codes[4 * i + k + 2] / weight, clip = T(s.clip);
      const T slope = T(0.5) * (high - low) * exp(clipped(t, clip)) * a.size[k] / weight;
      dcodes[4 * i + k] = (low + high) * a.size[k] / T(s.weight[k]);
      dcodes[4 * i + k + 2] = t > clip ? T(0) : slope;
    }
  });
}

HL_CUDA_KERNEL(box_encode);
HL_CUDA_KERNEL(box_decode);
HL_CUDA_KERNEL(box_decode_backward);

}  // namespace
}  // namespace hl::cuda
