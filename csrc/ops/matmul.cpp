#include "ops/matmul.h"

#include "cpu/gemm.h"
#include "cpu/gemv.h"
#include "kernels.h"

namespace hl::cpu::HL_ISA {
namespace {

// One product of the batch, possibly seen transposed: C^T = B^T A^T.
struct View {
  int64_t M, N, K;
  int64_t a_rs, a_cs, b_rs, b_cs, c_rs, c_cs;
  bool swapped;  // a and b have changed places
};

View transposed(const View& v) {
  return {v.N, v.M, v.K, v.b_cs, v.b_rs, v.a_cs, v.a_rs, v.c_cs, v.c_rs, !v.swapped};
}

enum class Algorithm { kDot, kAxpy, kTiles };

struct Choice {
  Algorithm algorithm;
  View view;
  bool a_direct, b_direct;
  GemmCut gemm;
  GemvCut gemv;
};

// A matrix that the tile may read in place: small, or used for few tiles only.
template <class T>
bool read_a_in_place(const View& v) {
  const int64_t bytes = v.M * v.K * int64_t(sizeof(T));
  const bool few_tiles = v.N <= 4 * kTileColumns<T>;
  // Rows a multiple of 4 KB apart fall on the same cache sets and push each other out.
  const bool alias = v.M > 8 && (v.a_rs * int64_t(sizeof(T))) % 4096 == 0;
  if (v.a_cs == 1) return !alias && (few_tiles || bytes <= (256 << 10));
  return v.a_rs == 1 && bytes <= (64 << 10);
}

template <class T>
bool read_b_in_place(const View& v) {
  const bool whole_vectors = v.b_cs == 1 && v.N % kLanes<T> == 0;
  const int64_t bytes = v.K * v.N * int64_t(sizeof(T));
  return whole_vectors && (v.M <= kTileRows || bytes <= (64 << 10));
}

template <class T>
Choice choose(const MatmulShape& s) {
  View v = {s.M, s.N, s.K, s.a_rs, s.a_cs, s.b_rs, s.b_cs, s.c_rs, s.c_cs, false};
  Choice c = {};
  const View narrow = v.N < v.M ? transposed(v) : v;  // few rows, many columns
  if (narrow.M <= kDotRows && narrow.b_rs == 1 && v.K >= kLanes<T>) {
    c.algorithm = Algorithm::kDot;
    c.view = narrow;
    c.gemv = gemv_cut(narrow.M, narrow.N, narrow.K, true);
    return c;
  }
  if (narrow.M <= kAxpyRows && narrow.b_cs == 1 && narrow.N * narrow.K >= (1 << 15)) {
    c.algorithm = Algorithm::kAxpy;
    c.view = narrow;
    c.gemv = gemv_cut(narrow.M, narrow.N, narrow.K, false);
    return c;
  }
  c.algorithm = Algorithm::kTiles;
  // The right-hand matrix must be contiguous along n or be transposed while it is packed. With few
  // rows on the left that costs more than the product, and the transposed problem needs none of it.
  const bool heavy_pack = v.b_rs == 1 && v.b_cs != 1 && v.M <= 64 && v.M < v.N;
  if (heavy_pack || (v.c_rs == 1 && v.c_cs != 1)) v = transposed(v);
  c.view = v;
  c.a_direct = read_a_in_place<T>(v);
  c.b_direct = read_b_in_place<T>(v);
  c.gemm = gemm_cut<T>(v.M, v.N, v.K, c.a_direct, c.b_direct);
  return c;
}

template <class T>
void product(Ctx& ctx, const Choice& c, const T* a, const T* b, const Output<T>& out) {
  const View& v = c.view;
  if (v.swapped) {
    const T* t = a;
    a = b, b = t;
  }
  if (c.algorithm == Algorithm::kTiles) {
    const Strided<T> left = {a, v.a_rs, v.a_cs, c.a_direct};
    const Strided<T> right = {b, v.b_cs, v.b_rs, c.b_direct};
    gemm(ctx, c.gemm, left, right, out);
  } else {
    gemv(ctx, c.gemv, c.algorithm == Algorithm::kDot, a, v.a_rs, v.a_cs, b, v.b_cs, v.b_rs, out);
  }
}

}  // namespace

template <class T>
Plan matmul_plan(const MatmulShape& s) {
  const Choice c = choose<T>(s);
  Plan p = {};
  int64_t batch = 1;
  for (int i = 0; i < s.batch_dims; ++i) batch *= s.batch[i];
  if (c.algorithm == Algorithm::kTiles) {
    p.algorithm = c.gemm.splits > 1 ? "tiles, split over k" : "tiles";
    p.tile[0] = c.gemm.mr, p.tile[1] = c.gemm.nr, p.tile[2] = c.gemm.kc;
    p.shared_bytes = gemm_shared_bytes(c.gemm);
    p.worker_bytes = gemm_worker_bytes(c.gemm);
  } else {
    p.algorithm = c.algorithm == Algorithm::kDot ? "dot" : "axpy";
    p.tile[0] = c.gemv.S, p.tile[1] = c.gemv.nc, p.tile[2] = c.gemv.kc;
    p.shared_bytes = gemv_shared_bytes<T>(c.gemv);
  }
  if (batch > 1) {  // small products run one a worker, each with the scratch of a whole call
    p.worker_bytes = round_up(p.shared_bytes, 64) + p.worker_bytes + 64;
  }
  p.flops = 2.0 * double(batch) * double(s.M) * double(s.N) * double(s.K);
  p.bytes = double(batch) * sizeof(T) *
            (double(s.M) * s.K + double(s.K) * s.N + double(s.M) * s.N * (s.beta != 0 ? 2 : 1));
  return p;
}

template <class T>
void matmul(Ctx& ctx, const MatmulShape& s, const T* a, const T* b, T* c) {
  const Choice choice = choose<T>(s);
  int64_t batch = 1;
  for (int i = 0; i < s.batch_dims; ++i) batch *= s.batch[i];
  auto one = [&](Ctx& with, int64_t index) {
    int64_t ao = 0, bo = 0, co = 0;
    for (int i = s.batch_dims - 1; i >= 0; --i) {
      const int64_t at = index % s.batch[i];
      index /= s.batch[i];
      ao += at * s.a_batch[i], bo += at * s.b_batch[i], co += at * s.c_batch[i];
    }
    const View& v = choice.view;
    Output<T> out = {c + co, v.c_rs, v.c_cs, T(s.alpha), T(s.beta)};
    product(with, choice, a + ao, b + bo, out);
  };
  if (batch == 1) return one(ctx, 0);
  // Products too small to share among threads are dealt out whole; large ones run one after another.
  const int64_t work = s.M * s.N * s.K;
  const bool whole = work < (int64_t(1) << 21) || batch >= 64;
  if (!whole) {
    for (int64_t i = 0; i < batch; ++i) one(ctx, i);
    return;
  }
  const int64_t grain = max64(1, (int64_t(1) << 16) / max64(1, work));
  parallel_for(ctx, batch, grain, [&](int64_t begin, int64_t end, int worker) {
    Ctx mine = {};
    mine.workers = 1;
    mine.shared = worker_scratch<unsigned char>(ctx, worker);
    mine.per_worker = mine.shared + round_up(gemm_shared_bytes(choice.gemm), 64);
    for (int64_t i = begin; i < end; ++i) one(mine, i);
  });
}

HL_DEFINE_KERNEL(matmul);

}  // namespace hl::cpu::HL_ISA
