// The chooser: which algorithm a shape gets, and what it needs.
//
//   a kernel of one tap that moves over every pixel is a matrix product
//   one channel a group: vectors along the channels (depthwise.cpp)
//   3 x 3 that moves by one over many channels: Winograd's (winograd.h)
//   everything else: the direct convolution (correlate.cpp, weight.cpp)
#include "ops/conv/conv.h"

#include "kernel.h"
#include "ops/conv/correlate.h"
#include "ops/conv/planar_weight.h"
#include "ops/conv/weight.h"
#include "ops/conv/winograd.h"
#include "ops/matmul/packed.h"
#include "ops/matmul/product.h"

namespace hl::cpu::HL_ISA {
namespace {

enum class Choice { kProduct, kDepthwise, kDirect };

Choice choose(const ConvShape& s) {
  if (s.groups == s.C && s.groups == s.K && s.C > 1) return Choice::kDepthwise;
  bool plain = s.groups == 1;
  for (int i = 0; i < 3; ++i) {
    plain &= s.kernel[i] == 1 && s.stride[i] == 1 && s.pad[i] == 0 && s.out[i] == s.in[i];
  }
  return plain ? Choice::kProduct : Choice::kDirect;
}

int64_t pixels(const ConvShape& s) { return s.N * s.out[0] * s.out[1] * s.out[2]; }

template <class T>
Product forward_product(const ConvShape& s) {  // y (M, K) = x (M, C) w^T
  return choose_product<T>({pixels(s), s.K, s.C, s.C, 1, 1, s.C, s.K, 1, false});
}
template <class T>
Product data_product(const ConvShape& s) {  // dx (M, C) = dy (M, K) w
  return choose_product<T>({pixels(s), s.C, s.K, s.K, 1, s.C, 1, s.C, 1, false});
}
template <class T>
Product weight_product(const ConvShape& s) {  // dw (K, C) = dy^T (K, M) x
  return choose_product<T>({s.K, s.C, pixels(s), 1, s.K, s.C, 1, s.C, 1, false});
}

template <class T>
Plan conv_plan(const ConvShape& s, const char* algorithm) {
  Plan p = {};
  p.algorithm = algorithm;
  const double taps = double(s.kernel[0] * s.kernel[1] * s.kernel[2]);
  const double out = double(pixels(s)), in = double(s.N * s.in[0] * s.in[1] * s.in[2]);
  const double weights = double(s.K) * taps * double(s.C / s.groups);
  p.flops = 2 * out * weights;
  p.bytes = sizeof(T) * (in * double(s.C) + weights + out * double(s.K));
  return p;
}

void use(Plan& p, const Product& product) {
  p.algorithm = "matmul";
  p.why = "one tap that moves over every pixel: pixels by channels times a matrix";
  p.tile[0] = product.gemm.mr, p.tile[1] = product.gemm.nr, p.tile[2] = product.gemm.kc;
  p.shared_bytes = product.shared_bytes;
  p.worker_bytes = product.worker_bytes;
}

void use_depthwise(Plan& p, int64_t bytes) {
  p.algorithm = "depthwise";
  p.why = "one channel a group: no product to tile, the memory is the limit";
  p.shared_bytes = max64(p.shared_bytes, bytes);
}

template <class T>
void use(Plan& p, const CorrelateCut& k) {
  if (k.dot) p.algorithm = "direct, lanes along the sum";
  if (k.planar) p.algorithm = "direct, lanes along the pixels";
  p.why = k.dot || k.planar
              ? "a tile as wide as a vector would be mostly empty with so few channels"
          : k.in_place ? "no tap leaves the image: tiles read it where it is"
                       : "tiles read the image from a window with its padding, in the second cache";
  p.tile[0] = k.mr, p.tile[1] = k.nr, p.tile[2] = k.run;
  p.shared_bytes = max64(p.shared_bytes, k.weight_bytes);
  p.worker_bytes = max64(p.worker_bytes, correlate_worker_bytes(k));
}

void use_winograd(Plan& p, const char* why, const int64_t (&tile)[3], int64_t shared,
                  int64_t worker) {
  p.algorithm = "winograd F(2, 3)";
  p.why = why;
  for (int i = 0; i < 3; ++i) p.tile[i] = tile[i];
  p.shared_bytes = shared, p.worker_bytes = worker;
}
constexpr const char* kFewer = "16 multiplications where the definition has 36, on many channels";

template <class T>
void use(Plan& p, const WinogradCut& k, int64_t depth) {
  use_winograd(p, kFewer, {kTileRows, k.nr, depth}, k.weight_bytes, k.worker_bytes);
}

template <class T>
void finish_product(Ctx& ctx, const Product& product, const T* a, const T* b,
                    const Finish<T>& finish, int64_t columns, T* y, T* z) {
  const FinishProduct<T> all = {finish, y, z, columns, product.view.swapped};
  const Epilogue epilogue = {&FinishProduct<T>::apply, &all};
  run_product(ctx, product, a, b, y, 1.0, 0.0, finish.needed() ? &epilogue : nullptr);
}

}  // namespace

template <class T>
Plan conv_forward_plan(const ConvShape& s) {
  Plan p = conv_plan<T>(s, "direct");
  const Choice choice = choose(s);
  const Correlation c = forward_correlation(s);
  if (choice == Choice::kProduct) {
    use(p, forward_product<T>(s));
    if (s.packed && packed_pays(pixels(s))) p.algorithm = "matmul, packed before";
  } else if (choice == Choice::kDepthwise) {
    use_depthwise(p, depthwise_bytes<T>(c));
  } else if (winograd_pays<T>(c)) {
    use<T>(p, winograd_cut<T>(c), c.channels);
  } else {
    use<T>(p, correlate_cut<T>(c));
    if (s.packed && correlate_cut<T>(c).panels_fit()) {
      p.algorithm = "direct, packed before", p.shared_bytes = 0;
    }
  }
  return p;
}

template <class T>
void conv_forward(Ctx& ctx, const ConvShape& s, const T* x, const T* w, const T* panels, const T* b,
                  T* y, T* z) {
  const Choice choice = choose(s);
  const Finish<T> finish = finish_with(b, z, s.activation, s.p0, s.p1);
  const Correlation c = forward_correlation(s);
  if (choice == Choice::kProduct && s.packed && packed_pays(pixels(s))) {
    packed_product(ctx, pixels(s), s.K, s.C, x, panels, finish, y, z);
  } else if (choice == Choice::kProduct) {
    finish_product(ctx, forward_product<T>(s), x, w, finish, s.K, y, z);
  } else if (choice == Choice::kDepthwise) {
    depthwise(ctx, c, x, w, finish, y, z);
  } else if (winograd_pays<T>(c)) {
    winograd(ctx, c, winograd_cut<T>(c), x, w, finish, y, z);
  } else {
    correlate(ctx, c, correlate_cut<T>(c), x, w, s.packed ? panels : nullptr, finish, y, z);
  }
}

template <class T>
Plan conv_backward_data_plan(const ConvShape& s) {
  Plan p = conv_plan<T>(s, "direct");
  const Choice choice = choose(s);
  if (choice == Choice::kProduct) {
    use(p, data_product<T>(s));
    return p;
  }
  for (int64_t phase = 0; phase < phases(s); ++phase) {
    const Correlation c = backward_correlation(s, phase);
    if (choice == Choice::kDepthwise) {
      use_depthwise(p, depthwise_bytes<T>(c));
    } else if (winograd_pays<T>(c)) {
      use<T>(p, winograd_cut<T>(c), c.channels);
    } else {
      use<T>(p, correlate_cut<T>(c));
    }
  }
  return p;
}

template <class T>
void conv_backward_data(Ctx& ctx, const ConvShape& s, const T* dy, const T* w, const T* b, T* dx,
                        T* z) {
  const Choice choice = choose(s);
  const Finish<T> finish = finish_with(b, z, s.activation, s.p0, s.p1);
  if (choice == Choice::kProduct) {
    return finish_product(ctx, data_product<T>(s), dy, w, finish, s.C, dx, z);
  }
  for (int64_t phase = 0; phase < phases(s); ++phase) {
    const Correlation c = backward_correlation(s, phase);
    if (choice == Choice::kDepthwise) {
      depthwise(ctx, c, dy, w, finish, dx, z);
    } else if (winograd_pays<T>(c)) {
      winograd(ctx, c, winograd_cut<T>(c), dy, w, finish, dx, z);
    } else {
      correlate(ctx, c, correlate_cut<T>(c), dy, w, static_cast<const T*>(nullptr), finish, dx, z);
    }
  }
}

template <class T>
Plan conv_backward_weight_plan(const ConvShape& s) {
  Plan p = conv_plan<T>(s, "direct");
  const Choice choice = choose(s);
  if (choice == Choice::kProduct) {
    use(p, weight_product<T>(s));
  } else if (choice == Choice::kDepthwise) {
    use_depthwise(p, depthwise_weight_bytes<T>(s));
  } else if (winograd_weight_pays<T>(s)) {
    const WinogradWeightCut k = winograd_weight_cut<T>(s);
    use_winograd(p, kFewer, {kTileRows, k.nr, k.block}, k.partial_bytes, k.worker_bytes);
  } else if (planar_weight_pays<T>(s)) {
    const PlanarWeightCut k = planar_weight_cut<T>(s);
    p.algorithm = "direct, lanes along the pixels";
    p.why = "a tile as wide as a vector would be mostly empty with so few channels";
    p.shared_bytes = k.partial_bytes, p.worker_bytes = k.worker_bytes;
  } else {
    const WeightCut k = weight_cut<T>(s);
    p.tile[0] = k.mr, p.tile[1] = k.nr, p.tile[2] = k.rows * k.pixels;
    p.why = k.turned ? "few input channels: taps are the tile's rows, output channels its columns"
                     : "dy and a window of the image are the two sides of a tile";
    p.shared_bytes = k.partial_bytes;
    p.worker_bytes = k.window_bytes + 2 * k.images * k.rows * int64_t(sizeof(int64_t));
  }
  p.shared_bytes = max64(p.shared_bytes, column_sums_bytes<T>(pixels(s), s.K));
  return p;
}

template <class T>
void conv_backward_weight(Ctx& ctx, const ConvShape& s, const T* dy, const T* x, T* dw, T* db) {
  if (db) column_sums(ctx, pixels(s), s.K, dy, db);
  if (!dw) return;
  switch (choose(s)) {
    case Choice::kProduct:
      return run_product<T>(ctx, weight_product<T>(s), dy, x, dw, 1.0, 0.0, nullptr);
    case Choice::kDepthwise:
      return depthwise_weight_gradient(ctx, s, dy, x, dw);
    default:
      if (winograd_weight_pays<T>(s)) {
        return winograd_weight(ctx, s, winograd_weight_cut<T>(s), dy, x, dw);
      }
      if (planar_weight_pays<T>(s)) {
        return planar_weight(ctx, s, planar_weight_cut<T>(s), dy, x, dw);
      }
      return weight_gradient(ctx, s, weight_cut<T>(s), dy, x, dw);
  }
}

HL_DEFINE_KERNEL(conv_forward);
HL_DEFINE_KERNEL(conv_backward_data);
HL_DEFINE_KERNEL(conv_backward_weight);

}  // namespace hl::cpu::HL_ISA
