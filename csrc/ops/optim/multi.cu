#include "ops/optim/multi.h"

#include "cuda/kernel.h"
#include "ops/optim/flat.cuh"

namespace hl::cuda {
namespace {

template <class T>
Plan plan_of(const MultiShape& s, double streams) {
  return {"flat",
          nullptr,
          {kFlatChunk, 1, 1},
          s.tensors * int64_t(sizeof(MultiTensor<T>)),
          0,
          0,
          double(s.total) * sizeof(T) * streams};
}

// ---- norm --------------------------------------------------------------------------------------
// How numbers join, and what one of them is worth.
struct Norm {
  NormOrder order;
  __device__ double operator()(double a, double b) const {
    return order == NormOrder::kInfinity ? Larger()(b, a) : a + b;
  }
  __device__ double term(double x) const { return order == NormOrder::kTwo ? x * x : fabs(x); }
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    norm_chunks(const MultiTensor<T>* tensors, int64_t count, int64_t total, Norm norm,
                double* parts) {
  HL_SHARED(double, room);
  for (int64_t c = blockIdx.x; c * kFlatChunk < total; c += gridDim.x) {
    double sum = 0;
    flat_chunk(tensors, count, total, c, [&](const MultiTensor<T>& t, int64_t i) {
      sum = norm(sum, norm.term(double(t.x[i])));
    });
    sum = block_reduce(sum, room, norm);
    if (threadIdx.x == 0) parts[c] = sum;
  }
}

int64_t table_bytes(const Plan& p) { return ceil_div(p.shared_bytes, int64_t(256)) * 256; }

template <class T>
Plan multi_norm_plan(const MultiShape& s) {
  Plan p = plan_of<T>(s, 1);
  p.shared_bytes = table_bytes(p) + (ceil_div(s.total, kFlatChunk) + 1) * int64_t(sizeof(double));
  return p;
}

template <class T>
void multi_norm(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors, double* norm) {
  const auto* table = upload(ctx, tensors, s.tensors);
  const int64_t chunks = ceil_div(s.total, kFlatChunk);
  double* total = reinterpret_cast<double*>(ctx.shared + table_bytes(plan_of<T>(s, 1)));
  double* parts = total + 1;
  const Norm join = {s.order};
  if (chunks > 0) {
    HL_LAUNCH((norm_chunks<T>), grid_of(chunks), kThreads, kRoomBytes, ctx.stream, table, s.tensors,
              s.total, join, parts);
  }
  each_row(ctx, 1, [=] __device__(int64_t, void* room) {
    double sum = 0;
    for (int64_t c = threadIdx.x; c < chunks; c += kThreads) sum = join(sum, parts[c]);
    sum = block_reduce(sum, static_cast<double*>(room), join);
    if (threadIdx.x == 0) *total = join.order == NormOrder::kTwo ? sqrt(sum) : sum;
  });
  const cudaStream_t stream = static_cast<cudaStream_t>(ctx.stream);
  HL_CHECK(cudaMemcpyAsync(norm, total, sizeof *norm, cudaMemcpyDefault, stream));
  HL_CHECK(cudaStreamSynchronize(stream));
}

// ---- in place ----------------------------------------------------------------------------------
template <class T>
Plan multi_scale_plan(const MultiShape& s) {
  return plan_of<T>(s, 2);
}
template <class T>
void multi_scale(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors) {
  const T a = T(s.a);
  each_flat(ctx, upload(ctx, tensors, s.tensors), s.tensors, s.total,
            [=] __device__(const MultiTensor<T>& t, int64_t i) { t.x[i] *= a; });
}

template <class T>
Plan multi_clamp_plan(const MultiShape& s) {
  return plan_of<T>(s, 2);
}
template <class T>
void multi_clamp(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors) {
  const T low = T(s.a), high = T(s.b);
  each_flat(ctx, upload(ctx, tensors, s.tensors), s.tensors, s.total,
            [=] __device__(const MultiTensor<T>& t, int64_t i) {
              const T x = t.x[i];
              t.x[i] = x < low ? low : x > high ? high : x;
            });
}

template <class T>
Plan multi_lerp_plan(const MultiShape& s) {
  return plan_of<T>(s, 3);
}
template <class T>
void multi_lerp(Ctx& ctx, const MultiShape& s, const MultiTensor<T>* tensors) {
  const T a = T(s.a);
  each_flat(ctx, upload(ctx, tensors, s.tensors), s.tensors, s.total,
            [=] __device__(const MultiTensor<T>& t, int64_t i) {
              t.x[i] = fma(a, t.y[i] - t.x[i], t.x[i]);
            });
}

HL_CUDA_KERNEL(multi_norm);
HL_CUDA_KERNEL(multi_scale);
HL_CUDA_KERNEL(multi_clamp);
HL_CUDA_KERNEL(multi_lerp);

}  // namespace
}  // namespace hl::cuda
