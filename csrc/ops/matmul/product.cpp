#include "ops/matmul/product.h"

namespace hl::cpu::HL_ISA {
namespace {

ProductView transposed(const ProductView& v) {
  return {v.N, v.M, v.K, v.b_cs, v.b_rs, v.a_cs, v.a_rs, v.c_cs, v.c_rs, !v.swapped};
}

// Rows a multiple of 4 KB apart fall on the same cache sets and push each other out.
template <class T>
bool rows_collide(int64_t rows, int64_t stride) {
  return rows > 8 && (stride * int64_t(sizeof(T))) % 4096 == 0;
}

// A may stay where it is when it is small or used for few tiles only.
template <class T>
bool read_a_in_place(const ProductView& v) {
  const int64_t bytes = v.M * v.K * int64_t(sizeof(T));
  if (v.a_cs == 1 && !rows_collide<T>(v.M, v.a_rs)) {
    return v.N <= 8 * kTileColumns<T> || bytes <= (256 << 10);
  }
  return (v.a_rs == 1 || v.a_cs == 1) && bytes <= (64 << 10);
}

// So may B, if its rows are whole vectors: the tile has no masks inside its loop.
template <class T>
bool read_b_in_place(const ProductView& v) {
  const int64_t bytes = v.K * v.N * int64_t(sizeof(T));
  return v.b_cs == 1 && v.N % kLanes<T> == 0 && (v.M <= kTileRows || bytes <= (64 << 10));
}

}  // namespace

template <class T>
Product choose_product(const ProductView& original) {
  Product p = {};
  ProductView v = original;
  const ProductView narrow = v.N < v.M ? transposed(v) : v;  // few rows, many columns
  const bool few = is_narrow<T>(narrow.M, narrow.N, narrow.K);
  if (narrow.M <= (few ? 2 : kDotRows) && narrow.b_rs == 1 && v.K >= kLanes<T>) {
    p.algorithm = Algorithm::kDot;
  } else if (narrow.M <= (few ? 2 : kAxpyRows) && narrow.b_cs == 1 && v.K >= 8 &&
             narrow.N >= 8 * kTileColumns<T> && narrow.N * narrow.K >= (1 << 15)) {
    p.algorithm = Algorithm::kAxpy;
  } else {
    p.algorithm = Algorithm::kTiles;
  }
  if (p.algorithm != Algorithm::kTiles) {
    p.view = narrow;
    p.gemv = gemv_cut(narrow.M, narrow.N, narrow.K, p.algorithm == Algorithm::kDot);
    p.shared_bytes = gemv_shared_bytes<T>(p.gemv);
    return p;
  }
  if (few && (narrow.b_cs == 1 || narrow.b_rs == 1)) {
    p.view = narrow;
    p.a_direct = read_a_in_place<T>(narrow);
    p.gemm = narrow_cut<T>(narrow.M, narrow.N, narrow.K, p.a_direct, narrow.b_rs == 1);
    p.shared_bytes = gemm_shared_bytes(p.gemm);
    p.worker_bytes = gemm_worker_bytes(p.gemm);
    return p;
  }
  // A right-hand matrix that is contiguous along k must be turned while it is packed. Where the left
  // one is smaller, the transposed problem turns that one instead.
  const bool b_along_k = v.b_rs == 1 && v.b_cs != 1;
  if ((b_along_k && v.M < v.N && v.M <= 512) || (v.c_rs == 1 && v.c_cs != 1)) v = transposed(v);
  p.view = v;
  const bool once = is_long<T>(v.M, v.N, v.K);  // the cache holds what the next tiles read again
  p.a_direct = read_a_in_place<T>(v) || (once && v.a_rs == 1);
  p.b_direct = read_b_in_place<T>(v) || (once && v.b_cs == 1 && v.N % kLanes<T> == 0);
  p.gemm = gemm_cut<T>(v.M, v.N, v.K, p.a_direct, p.b_direct);
  p.shared_bytes = gemm_shared_bytes(p.gemm);
  p.worker_bytes = gemm_worker_bytes(p.gemm);
  return p;
}

template <class T>
void run_product(Ctx& ctx, const Product& p, const T* a, const T* b, T* c, double alpha,
                 double beta, const Epilogue* epilogue) {
  const ProductView& v = p.view;
  if (v.swapped) {
    const T* left = b;
    b = a, a = left;
  }
  const Output<T> out = {c, v.c_rs, v.c_cs, T(alpha), T(beta)};
  if (p.algorithm == Algorithm::kTiles) {
    const Strided<T> left = {a, v.a_rs, v.a_cs, p.a_direct};
    const Strided<T> right = {b, v.b_cs, v.b_rs, p.b_direct};
    gemm(ctx, p.gemm, left, right, out, epilogue);
  } else {
    gemv(ctx, p.gemv, p.algorithm == Algorithm::kDot, a, v.a_rs, v.a_cs, b, v.b_cs, v.b_rs, out,
         epilogue);
  }
}

// Rows of less than a vector are summed kMerged at a time, as one long row; the rest of them one by one.
constexpr int64_t kMerged = 32;
template <class T>
constexpr bool merges(int64_t M, int64_t N) {
  return N < kLanes<T> && M >= 8 * kMerged;
}

template <class T>
int64_t column_sums_bytes(int64_t M, int64_t N) {
  if (merges<T>(M, N)) return column_sums_bytes<T>(M / kMerged, N * kMerged);
  return gemv_shared_bytes<T>(gemv_cut(1, N, M, false));
}

template <class T>
void column_sums(Ctx& ctx, int64_t M, int64_t N, const T* x, T* y) {
  if (merges<T>(M, N)) {
    T long_row[kMerged * kLanes<T>];
    column_sums(ctx, M / kMerged, N * kMerged, x, long_row);
    for (int64_t j = 0; j < N; ++j) y[j] = long_row[j];
    for (int64_t i = N; i < N * kMerged; ++i) y[i % N] += long_row[i];
    for (int64_t i = M / kMerged * kMerged * N; i < M * N; ++i) y[i % N] += x[i];
    return;
  }
  const T one = 1;  // a vector of ones, read with stride 0
  gemv<T>(ctx, gemv_cut(1, N, M, false), false, &one, 0, 0, x, 1, N, {y, 0, 1, T(1), T(0)});
}

#define HL_INSTANTIATE(T)                                                                    \
  template Product choose_product<T>(const ProductView&);                                    \
  template void run_product<T>(Ctx&, const Product&, const T*, const T*, T*, double, double, \
                               const Epilogue*);                                             \
  template int64_t column_sums_bytes<T>(int64_t, int64_t);                                   \
  template void column_sums<T>(Ctx&, int64_t, int64_t, const T*, T*);
HL_INSTANTIATE(float)
HL_INSTANTIATE(double)
#undef HL_INSTANTIATE

}  // namespace hl::cpu::HL_ISA
