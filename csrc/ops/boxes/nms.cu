// Suppression: one block for each class, as each box needs to know what became of the better ones.
#include "ops/boxes/nms.h"

#include "cuda/kernel.h"
#include "cuda/loop.h"

namespace hl::cuda {
namespace {

constexpr const char* kInOrder =
    "what stays depends on what stayed before: one block goes in order";

template <class T>
struct Box {
  T x1, y1, x2, y2, area;
};
template <class T>
__device__ Box<T> box_at(const T* b) {
  return {b[0], b[1], b[2], b[3], (b[2] - b[0]) * (b[3] - b[1])};
}
template <class T>
__device__ T overlap(const Box<T>& a, const Box<T>& b) {
  const T w = (a.x2 < b.x2 ? a.x2 : b.x2) - (a.x1 > b.x1 ? a.x1 : b.x1);
  const T h = (a.y2 < b.y2 ? a.y2 : b.y2) - (a.y1 > b.y1 ? a.y1 : b.y1);
  // Where a side is no number the areas' sum is none, either.
  const T both = (w > 0 ? w : T(0)) * (h > 0 ? h : T(0));
  return both / ((a.area + b.area) - both);
}

// ---- nms -------------------------------------------------------------------------------------------
// order and start come from the host, stays goes there.
struct NmsMemory {
  int64_t *order, *start;
  uint8_t* stays;
  unsigned char* kept;
  int64_t bytes;
};
template <class T>
NmsMemory memory_of(const NmsShape& s, unsigned char* p) {
  NmsMemory m = {};
  m.order = reinterpret_cast<int64_t*>(p);
  m.start = m.order + s.N;
  const int64_t tables = aligned((s.N + s.classes + 1) * 8);
  m.stays = p + tables;
  m.kept = m.stays + aligned(s.N);
  m.bytes = tables + aligned(s.N) + s.N * int64_t(sizeof(Box<T>));
  return m;
}

template <class T>
Plan nms_plan(const NmsShape& s) {
  const double n = double(s.N);
  return {"a block per class",
          kInOrder,
          {1, kThreads, 1},
          memory_of<T>(s, nullptr).bytes,
          0,
          13 * n * n / 2 / double(s.classes > 0 ? s.classes : 1),
          n * (4 * sizeof(T) + 9)};
}

template <class T>
struct NmsRoom {
  Box<T> box[kThreads];
  int alive[kThreads];
};

// Candidates come kThreads at a time: each is held against all boxes that stayed before, then one after
// the other against those of its own round.
template <class T>
__global__ void __launch_bounds__(kThreads)
    nms_kernel(int64_t classes, T threshold, const T* boxes, NmsMemory m) {
  HL_SHARED(NmsRoom<T>, room);
  const int tid = int(threadIdx.x);
  for (int64_t c = blockIdx.x; c < classes; c += gridDim.x) {
    const int64_t begin = m.start[c], end = m.start[c + 1];
    Box<T>* kept = reinterpret_cast<Box<T>*>(m.kept) + begin;
    int64_t count = 0;
    for (int64_t first = begin; first < end; first += kThreads) {
      const int64_t left = end - first;
      const int n = left < kThreads ? int(left) : kThreads;
      Box<T> own = {};
      bool alive = tid < n;
      if (alive) own = box_at(boxes + 4 * m.order[first + tid]);
      for (int64_t k = 0; alive && k < count; ++k) alive = !(overlap(kept[k], own) > threshold);
      room->box[tid] = own;
      room->alive[tid] = alive;
      __syncthreads();
      for (int i = 0; i < n; ++i) {
        if (room->alive[i]) {  // the same for all threads: nobody before i changes it any more
          if (tid > i && alive && overlap(room->box[i], own) > threshold) {
            alive = false;
            room->alive[tid] = 0;
          }
          if (tid == 0) kept[count] = room->box[i];
          ++count;
        }
        __syncthreads();
      }
      if (tid < n) m.stays[m.order[first + tid]] = alive;
      __syncthreads();
    }
  }
}

template <class T>
void nms(Ctx& ctx, const NmsShape& s, const T* boxes, const int64_t* order, const int64_t* start,
         uint8_t* stays) {
  const NmsMemory m = memory_of<T>(s, ctx.shared);
  const cudaStream_t stream = static_cast<cudaStream_t>(ctx.stream);
  HL_CHECK(cudaMemcpyAsync(m.order, order, size_t(s.N) * 8, cudaMemcpyDefault, stream));
  HL_CHECK(cudaMemcpyAsync(m.start, start, size_t(s.classes + 1) * 8, cudaMemcpyDefault, stream));
  HL_LAUNCH((nms_kernel<T>), grid_of(s.classes), kThreads, sizeof(NmsRoom<T>), ctx.stream,
            s.classes, T(s.threshold), boxes, m);
  HL_CHECK(cudaMemcpyAsync(stays, m.stays, size_t(s.N), cudaMemcpyDefault, stream));
  HL_CHECK(cudaStreamSynchronize(stream));
}

// ---- soft_nms --------------------------------------------------------------------------------------
// The results go to the host. A score that was taken becomes NaN, which is never the best.
template <class T>
struct SoftMemory {
  int64_t *keep, *count;
  T *score, *found;
  int64_t bytes;
};
template <class T>
SoftMemory<T> memory_of(const SoftNmsShape& s, unsigned char* p) {
  SoftMemory<T> m = {};
  m.keep = reinterpret_cast<int64_t*>(p);
  m.count = m.keep + s.N;
  m.score = reinterpret_cast<T*>(m.count + 1);
  m.found = m.score + s.N;
  m.bytes = (s.N + 1) * 8 + 2 * s.N * int64_t(sizeof(T));
  return m;
}

template <class T>
Plan soft_nms_plan(const SoftNmsShape& s) {
  const double n = double(s.N);
  return {"one block, best first",        kInOrder, {1, kThreads, 1},
          memory_of<T>(s, nullptr).bytes, 0,        15 * n * n / 2,
          n * (6 * sizeof(T) + 8)};
}

struct Earlier {
  __device__ int64_t operator()(int64_t a, int64_t b) const { return a < b ? a : b; }
};

template <class T>
__device__ T decay_of(const SoftNmsShape& s, T iou) {
  if (!(iou == iou)) iou = 0;
  if (s.decay == Decay::kLinear) return iou > T(s.threshold) ? 1 - iou : T(1);
  return exp(-(iou * iou) / T(s.sigma));
}

template <class T>
void soft_nms(Ctx& ctx, const SoftNmsShape& s, const T* boxes, const T* scores, int64_t* keep,
              T* new_scores, int64_t* count) {
  const SoftMemory<T> m = memory_of<T>(s, ctx.shared);
  each_row(ctx, 1, [=] __device__(int64_t, void* room) {
    // A thread reads and writes the scores of its own boxes only.
    for (int64_t i = threadIdx.x; i < s.N; i += kThreads) m.score[i] = scores[i];
    int64_t taken = 0;
    while (true) {
      T best = -INFINITY;
      for (int64_t i = threadIdx.x; i < s.N; i += kThreads)
        best = m.score[i] > best ? m.score[i] : best;
      best = block_reduce(best, static_cast<T*>(room), Larger());
      if (!(best > T(s.least))) break;
      int64_t box = s.N;  // of equals the first
      for (int64_t i = threadIdx.x; i < s.N; i += kThreads) {
        if (m.score[i] == best) box = Earlier()(box, i);
      }
      box = block_reduce(box, static_cast<int64_t*>(room), Earlier());
      if (threadIdx.x == 0) m.keep[taken] = box, m.found[taken] = best;
      ++taken;
      const Box<T> one = box_at(boxes + 4 * box);
      for (int64_t i = threadIdx.x; i < s.N; i += kThreads) {
        m.score[i] *= i == box ? T(NAN) : decay_of(s, overlap(box_at(boxes + 4 * i), one));
      }
    }
    if (threadIdx.x == 0) m.count[0] = taken;
  });
  const cudaStream_t stream = static_cast<cudaStream_t>(ctx.stream);
  HL_CHECK(cudaMemcpyAsync(keep, m.keep, size_t(s.N) * 8, cudaMemcpyDefault, stream));
  HL_CHECK(
      cudaMemcpyAsync(new_scores, m.found, size_t(s.N) * sizeof(T), cudaMemcpyDefault, stream));
  HL_CHECK(cudaMemcpyAsync(count, m.count, 8, cudaMemcpyDefault, stream));
  HL_CHECK(cudaStreamSynchronize(stream));
}

HL_CUDA_KERNEL(nms);
HL_CUDA_KERNEL(soft_nms);

}  // namespace
}  // namespace hl::cuda
