#include "ops/matmul/matmul.h"

#include "kernel.h"
#include "ops/matmul/product.h"

namespace hl::cpu::HL_ISA {
namespace {

template <class T>
Product choose(const MatmulShape& s) {
  return choose_product<T>({s.M, s.N, s.K, s.a_rs, s.a_cs, s.b_rs, s.b_cs, s.c_rs, s.c_cs, false});
}

int64_t batch_size(const MatmulShape& s) {
  int64_t batch = 1;
  for (int i = 0; i < s.batch_dims; ++i) batch *= s.batch[i];
  return batch;
}

// Products too small to share among threads are dealt out whole, each with the scratch of a call of
// its own; large ones run one after another.
bool dealt_out(const MatmulShape& s, int64_t batch) {
  return batch > 1 && (s.M * s.N * s.K < (int64_t(1) << 21) || batch >= 64);
}

}  // namespace

template <class T>
Plan matmul_plan(const MatmulShape& s) {
  const Product product = choose<T>(s);
  const int64_t batch = batch_size(s);
  Plan p = {};
  p.algorithm = algorithm_name(product), p.why = algorithm_reason(product);
  if (product.algorithm == Algorithm::kTiles) {
    p.tile[0] = product.gemm.mr, p.tile[1] = product.gemm.nr, p.tile[2] = product.gemm.kc;
  } else {
    p.tile[0] = product.gemv.S, p.tile[1] = product.gemv.nc, p.tile[2] = product.gemv.kc;
  }
  if (dealt_out(s, batch)) {
    p.worker_bytes = round_up(product.shared_bytes, 64) + product.worker_bytes;
  } else {
    p.shared_bytes = product.shared_bytes;
    p.worker_bytes = product.worker_bytes;
  }
  const double M = double(s.M), N = double(s.N), K = double(s.K);
  p.flops = 2.0 * double(batch) * M * N * K;
  p.bytes = double(batch) * sizeof(T) * (M * K + K * N + M * N * (s.beta != 0 ? 2 : 1));
  return p;
}

template <class T>
void matmul(Ctx& ctx, const MatmulShape& s, const T* a, const T* b, T* c) {
  const Product product = choose<T>(s);
  const int64_t batch = batch_size(s);
  auto one = [&](Ctx& with, int64_t index) {
    int64_t ao = 0, bo = 0, co = 0;
    for (int i = s.batch_dims - 1; i >= 0; --i) {
      const int64_t at = index % s.batch[i];
      index /= s.batch[i];
      ao += at * s.a_batch[i], bo += at * s.b_batch[i], co += at * s.c_batch[i];
    }
    run_product(with, product, a + ao, b + bo, c + co, s.alpha, s.beta, nullptr);
  };
  if (!dealt_out(s, batch)) {
    for (int64_t i = 0; i < batch; ++i) one(ctx, i);
    return;
  }
  const int64_t grain = max64(1, (int64_t(1) << 16) / max64(1, s.M * s.N * s.K));
  parallel_for(ctx, batch, grain, [&](int64_t begin, int64_t end, int worker) {
    Ctx mine = {};
    mine.workers = 1;
    mine.shared = worker_scratch<unsigned char>(ctx, worker);
    mine.per_worker = mine.shared + round_up(product.shared_bytes, 64);
    for (int64_t i = begin; i < end; ++i) one(mine, i);
  });
}

HL_DEFINE_KERNEL(matmul);

}  // namespace hl::cpu::HL_ISA
