#include "cpu/exp_run.h"
#include "kernel.h"
#include "ops/norm/norm.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kStdElements = 32768;  // of a group's images, worth a task

HL_INLINE int64_t pixels_of(const MinibatchStdShape& s) {
  return least(s.P, most(1, kStdElements / (s.G * s.C)));
}

// Mean and standard deviation over the images of a group, at some channels of one pixel.
template <class T>
HL_INLINE void over_group(const T* x, int64_t image, const MinibatchStdShape& s, int64_t lanes,
                          Vec<T>& mean, Vec<T>& sd) {
  Vec<T> m = {}, q = {};
  for (int64_t g = 0; g < s.G; ++g) m += load_some(x + g * image, lanes);
  m /= set1(T(s.G));
  for (int64_t g = 0; g < s.G; ++g) {
    const Vec<T> d = load_some(x + g * image, lanes) - m;
    q = fma(d, d, q);
  }
  mean = m, sd = sqrt(q / set1(T(s.G)) + set1(T(s.eps)));
}

template <class T>
Plan minibatch_plan(const MinibatchStdShape& s, int arrays) {
  const double n = double(s.G * s.M * s.P) * double(s.C);
  Plan p = {};
  p.algorithm = "pixels of a group";
  p.tile[0] = pixels_of(s);
  p.shared_bytes = s.M * s.F * (1 + ceil_div(s.P, pixels_of(s))) * 8;
  p.flops = 5 * n;
  p.bytes = arrays * n * sizeof(T);
  return p;
}

// f(m, first pixel, pixels, slot): tasks are pieces of a group's pixels.
template <class F>
HL_INLINE void for_pixels(Ctx& ctx, const MinibatchStdShape& s, const F& f) {
  const int64_t each = pixels_of(s), pieces = ceil_div(s.P, each);
  parallel_for(ctx, s.M * pieces, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t p = t % pieces * each;
      f(t / pieces, p, least(each, s.P - p), t);
    }
  });
}

// Partial sums (M, pieces, F) added up in order, times `scale`, into total (M, F).
HL_INLINE void add_pieces(const MinibatchStdShape& s, const double* part, double scale,
                          double* total) {
  const int64_t pieces = ceil_div(s.P, pixels_of(s));
  for (int64_t m = 0; m < s.M; ++m) {
    for (int64_t f = 0; f < s.F; ++f) {
      double sum = 0;
      for (int64_t k = 0; k < pieces; ++k) sum += part[(m * pieces + k) * s.F + f];
      total[m * s.F + f] = sum * scale;
    }
  }
}

}  // namespace

template <class T>
Plan minibatch_std_forward_plan(const MinibatchStdShape& s) {
  return minibatch_plan<T>(s, 2);
}
template <class T>
void minibatch_std_forward(Ctx& ctx, const MinibatchStdShape& s, const T* x, T* y) {
  const int64_t image = s.M * s.P * s.C, out = s.M * s.P * (s.C + s.F), width = s.C / s.F;
  double* total = reinterpret_cast<double*>(ctx.shared);
  double* part = total + s.M * s.F;
  for_pixels(ctx, s, [&](int64_t m, int64_t first, int64_t pixels, int64_t slot) {
    for (int64_t f = 0; f < s.F; ++f) {
      double sum = 0;
      for (int64_t p = first; p < first + pixels; ++p) {
        const T* at = x + (m * s.P + p) * s.C + f * width;
        sum += sum_over<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
          Vec<T> mean, sd;
          over_group<T>(at + i, image, s, lanes, mean, sd);
          return lanes == kLanes<T> ? sd : first_of<T>(sd, lanes, Vec<T>{});
        });
      }
      part[slot * s.F + f] = sum;
    }
  });
  add_pieces(s, part, 1 / (double(s.P) * double(width)), total);
  for_pixels(ctx, s, [&](int64_t m, int64_t first, int64_t pixels, int64_t) {
    for (int64_t g = 0; g < s.G; ++g) {
      for (int64_t p = first; p < first + pixels; ++p) {
        const T* from = x + g * image + (m * s.P + p) * s.C;
        T* to = y + g * out + (m * s.P + p) * (s.C + s.F);
        for_vectors<T>(s.C, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
          store_some(to + i, load_some(from + i, lanes), lanes);
        });
        for (int64_t f = 0; f < s.F; ++f) to[s.C + f] = T(total[m * s.F + f]);
      }
    }
  });
}

template <class T>
Plan minibatch_std_backward_plan(const MinibatchStdShape& s) {
  return minibatch_plan<T>(s, 3);
}
template <class T>
void minibatch_std_backward(Ctx& ctx, const MinibatchStdShape& s, const T* dy, const T* x, T* dx) {
  const int64_t image = s.M * s.P * s.C, out = s.M * s.P * (s.C + s.F), width = s.C / s.F;
  double* total = reinterpret_cast<double*>(ctx.shared);
  double* part = total + s.M * s.F;
  for_pixels(ctx, s, [&](int64_t m, int64_t first, int64_t pixels, int64_t slot) {
    for (int64_t f = 0; f < s.F; ++f) {
      double sum = 0;
      for (int64_t g = 0; g < s.G; ++g) {
        for (int64_t p = first; p < first + pixels; ++p) {
          sum += double(dy[g * out + (m * s.P + p) * (s.C + s.F) + s.C + f]);
        }
      }
      part[slot * s.F + f] = sum;
    }
  });
  add_pieces(s, part, 1 / (double(s.G) * double(s.P) * double(width)), total);
  for_pixels(ctx, s, [&](int64_t m, int64_t first, int64_t pixels, int64_t) {
    for (int64_t p = first; p < first + pixels; ++p) {
      for (int64_t f = 0; f < s.F; ++f) {
        const int64_t at = (m * s.P + p) * s.C + f * width;
        const T* slope = dy + (m * s.P + p) * (s.C + s.F) + f * width;
        const Vec<T> ds = set1(T(total[m * s.F + f]));
        for_vectors<T>(width, [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
          Vec<T> mean, sd;
          over_group<T>(x + at + i, image, s, lanes, mean, sd);
          const Vec<T> k = ds / sd;
          for (int64_t g = 0; g < s.G; ++g) {
            const Vec<T> v = load_some(x + g * image + at + i, lanes) - mean;
            store_some(dx + g * image + at + i, fma(v, k, load_some(slope + g * out + i, lanes)),
                       lanes);
          }
        });
      }
    }
  });
}

HL_DEFINE_KERNEL(minibatch_std_forward);
HL_DEFINE_KERNEL(minibatch_std_backward);

}  // namespace hl::cpu::HL_ISA
