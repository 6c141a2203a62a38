// One matrix product with a chosen algorithm: what matmul, linear and the recurrent and attention
// kernels are made of.
#pragma once

#include "cpu/gemm.h"
#include "ops/matmul/gemv.h"

namespace hl::cpu::HL_ISA {

// C = alpha * A B + beta * C with strides in elements. When `swapped`, the transposed problem is
// solved, C^T = B^T A^T, and a and b have changed places.
struct ProductView {
  int64_t M, N, K;
  int64_t a_rs, a_cs, b_rs, b_cs, c_rs, c_cs;
  bool swapped;
};

enum class Algorithm { kDot, kAxpy, kTiles };

struct Product {
  Algorithm algorithm;
  ProductView view;
  bool a_direct, b_direct;  // read in place by the tiles
  GemmCut gemm;
  GemvCut gemv;
  int64_t shared_bytes, worker_bytes;
};

template <class T>
Product choose_product(const ProductView& view);

// The epilogue sees rows and columns of the solved problem: the transposed one when `swapped`.
template <class T>
void run_product(Ctx& ctx, const Product& p, const T* a, const T* b, T* c, double alpha,
                 double beta, const Epilogue* epilogue);

// y[n] = sum over m of x[m, n], x (M, N): the gradient of a bias.
template <class T>
int64_t column_sums_bytes(int64_t M, int64_t N);
template <class T>
void column_sums(Ctx& ctx, int64_t M, int64_t N, const T* x, T* y);

inline const char* algorithm_name(const Product& p) {
  if (p.algorithm == Algorithm::kDot) return "dot";
  if (p.algorithm == Algorithm::kAxpy) return "axpy";
  return p.gemm.splits > 1 ? "tiles, split over k" : p.gemm.narrow ? "tiles, few rows" : "tiles";
}
inline const char* algorithm_reason(const Product& p) {
  if (p.algorithm == Algorithm::kDot) {
    return "few rows and a right side contiguous along k: read once, at memory speed";
  }
  if (p.algorithm == Algorithm::kAxpy) {
    return "few rows and a right side contiguous along the columns: read once, at memory speed";
  }
  if (p.gemm.splits > 1) return "too few tiles for the threads: the sum is cut as well";
  if (p.gemm.narrow) return "few rows: each task packs only the columns that it uses";
  return "register tiles on packed panels, at the multipliers' speed";
}

}  // namespace hl::cpu::HL_ISA
