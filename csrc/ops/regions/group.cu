// What can be done at once is: counting, the list of neighbours, their similarity. Merging is one block's,
// which shares out each search and each merge.
#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "cuda/sort.h"
#include "ops/regions/regions.h"

namespace hl::cuda {
namespace {

using Count = unsigned long long;
constexpr int kUnset = 0x7fffffff;

// Neighbours, a < b.
struct Pair {
  int32_t a, b;
  float similar;
};

int64_t regions_of(const GroupShape& s) { return 2 * s.R - 1; }
// Regions in the plane have fewer than 3 R neighbours; diagonals can double that.
int64_t most_pairs(const GroupShape& s) {
  const int64_t all = s.R * (s.R - 1) / 2;
  return (8 * s.R < all ? 8 * s.R : all) + 4 * s.R + 8;
}

// A pair or a place in the list, and the edge between two pixels that shows it.
using Edge = Item<uint64_t>;

struct Memory {
  void *sorted, *sorted_again;
  int64_t* totals;  // pairs found, regions in the end
  Pair* pairs;
  float* histogram;  // (2 R - 1, F B), counts at first
  int32_t* box;      // (2 R - 1, 4)
  int32_t* first;    // of the pairs with a region, the place of the first
  int64_t bytes;
};
Memory memory_of(const GroupShape& s, unsigned char* start) {
  const int64_t edges = 2 * s.H * s.W, regions = regions_of(s);
  unsigned char* p = start;
  const auto take = [&](int64_t bytes) {
    unsigned char* mine = p;
    p += aligned(bytes);
    return mine;
  };
  Memory m = {};
  m.sorted = take(sort_bytes<uint64_t>(1, edges));
  m.sorted_again = take(sort_bytes<uint64_t>(1, edges));
  m.totals = reinterpret_cast<int64_t*>(take(2 * 8));
  m.pairs = reinterpret_cast<Pair*>(take(most_pairs(s) * int64_t(sizeof(Pair))));
  m.histogram = reinterpret_cast<float*>(take(regions * s.F * s.B * 4));
  m.box = reinterpret_cast<int32_t*>(take(regions * 4 * 4));
  m.first = reinterpret_cast<int32_t*>(take(regions * 4));
  m.bytes = p - start;
  return m;
}

Plan group_regions_plan(const GroupShape& s) {
  return {"neighbours at once, merged by one block",
          "each merge follows from all before",
          {1, kThreads, 1},
          memory_of(s, nullptr).bytes,
          0,
          12.0 * double(s.R) * double(s.F) * double(s.B),
          double(s.H) * double(s.W) * (8 + double(s.F))};
}

// By a warp: every lane gets the result.
__device__ float common(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = lane(); i < n; i += kWarp) sum += a[i] < b[i] ? a[i] : b[i];
  return warp_reduce(sum, Plus());
}
__device__ float similarity(const GroupShape& s, const Memory& m, const int64_t* size, int64_t a,
                            int64_t b) {
  const float *p = m.histogram + a * s.F * s.B, *q = m.histogram + b * s.F * s.B;
  const int64_t colour = s.F1 * s.B, texture = (s.F - s.F1) * s.B;
  float value = 0;
  if (colour > 0) value += common(p, q, colour) / float(s.F1);
  if (texture > 0) value += common(p + colour, q + colour, texture) / float(s.F - s.F1);
  const int32_t *u = m.box + 4 * a, *v = m.box + 4 * b;
  const int64_t w = (u[2] > v[2] ? u[2] : v[2]) - (u[0] < v[0] ? u[0] : v[0]);
  const int64_t h = (u[3] > v[3] ? u[3] : v[3]) - (u[1] < v[1] ? u[1] : v[1]);
  const float image = float(s.H * s.W), both = float(size[a] + size[b]);
  return value + 1 - both / image + 1 - (float(w * h) - both) / image;
}

// ---- the regions as they are -----------------------------------------------------------------------
void measure(const Ctx& ctx, const GroupShape& s, const Memory& m, const int64_t* label,
             const uint8_t* bins, int64_t* size) {
  const int64_t width = s.F * s.B;
  int* counts = reinterpret_cast<int*>(m.histogram);
  each(ctx, regions_of(s) * width, [=] __device__(int64_t i) { counts[i] = 0; });
  each(ctx, regions_of(s), [=] __device__(int64_t r) {
    int32_t* box = m.box + 4 * r;
    box[0] = int32_t(s.W), box[1] = int32_t(s.H), box[2] = box[3] = 0;
    size[r] = 0;
    m.first[r] = kUnset;
  });
  const Divider by_width = divide_by(s.W);
  each(ctx, s.H * s.W, [=] __device__(int64_t p) {
    int64_t row = p;
    const int x = int(last_index(row, by_width)), y = int(row);
    const int64_t r = label[p];
    atomicAdd(reinterpret_cast<Count*>(size + r), Count(1));
    int32_t* box = m.box + 4 * r;
    atomicMin(box, x), atomicMin(box + 1, y), atomicMax(box + 2, x + 1), atomicMax(box + 3, y + 1);
    for (int64_t f = 0; f < s.F; ++f)
      atomicAdd(counts + r * width + f * s.B + bins[p * s.F + f], 1);
  });
  const Divider by_bins = divide_by(width);
  each(ctx, s.R * width, [=] __device__(int64_t i) {
    const float count = float(counts[i]);
    m.histogram[i] = count * (1.0f / float(size[quotient(i, by_bins)]));
  });
}

// Each pair once, in the order in which the image shows them.
void list_pairs(const Ctx& ctx, const GroupShape& s, const Memory& m, const int64_t* label,
                const int64_t* size) {
  const int64_t edges = 2 * s.H * s.W, none = s.R * s.R;
  const Divider by_width = divide_by(s.W);
  const Edge* pair =
      sort_lines<uint64_t>(ctx, 1, edges, m.sorted, [=] __device__(int64_t, int64_t e) -> uint64_t {
        const int64_t p = e / 2, down = e % 2;
        int64_t y = p;
        const int64_t x = last_index(y, by_width);
        const bool inside = down ? y + 1 < s.H : x + 1 < s.W;
        const int64_t a = label[p], b = inside ? label[p + (down ? s.W : 1)] : a;
        return uint64_t(a == b ? none : a < b ? a * s.R + b : b * s.R + a);
      });
  // Of equal pairs the first edge stays, and these are brought back into their order.
  const Edge* found = sort_lines<uint64_t>(
      ctx, 1, edges, m.sorted_again, [=] __device__(int64_t, int64_t i) -> uint64_t {
        const bool known = i > 0 && pair[i].key == pair[i - 1].key;
        return known || pair[i].key == uint64_t(none) ? uint64_t(edges) : pair[i].index;
      });
  const int64_t most = most_pairs(s);
  each(ctx, 1, [=] __device__(int64_t) {
    const int64_t n = rank_of(found, edges, Edge{uint64_t(edges), 0});
    m.totals[0] = n < most ? n : most;
  });
  each(ctx, most, [=] __device__(int64_t i) {
    if (i >= m.totals[0]) return;
    const int64_t edge = int64_t(found[i].key), p = edge / 2;
    const int64_t a = label[p], b = label[p + (edge % 2 ? s.W : 1)];
    m.pairs[i].a = int32_t(a < b ? a : b), m.pairs[i].b = int32_t(a < b ? b : a);
  });
  each_row(ctx, ceil_div(most, int64_t(kThreads / kWarp)), [=] __device__(int64_t block, void*) {
    const int64_t i = block * (kThreads / kWarp) + threadIdx.x / kWarp;
    if (i >= m.totals[0]) return;  // a whole warp
    const float value = similarity(s, m, size, m.pairs[i].a, m.pairs[i].b);
    if (lane() == 0) m.pairs[i].similar = value;
  });
}

// ---- merging ---------------------------------------------------------------------------------------
struct Earlier {
  __device__ int64_t operator()(int64_t a, int64_t b) const { return a < b ? a : b; }
};

// The most similar pair, of equals the first.
__device__ int64_t best_of(const Pair* pairs, int64_t n, void* room) {
  float best = -INFINITY;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    best = pairs[i].similar > best ? pairs[i].similar : best;
  }
  best = block_reduce(best, static_cast<float*>(room), Larger());
  int64_t at = n;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    if (pairs[i].similar == best && i < at) at = i;
  }
  return block_reduce(at, static_cast<int64_t*>(room), Earlier());
}

// Region c becomes what a and b were.
__device__ void merge(const GroupShape& s, const Memory& m, int64_t* size, int64_t a, int64_t b,
                      int64_t c) {
  const int64_t width = s.F * s.B;
  const float whole = float(size[a] + size[b]);
  const float wa = float(size[a]) / whole, wb = float(size[b]) / whole;
  const float *p = m.histogram + a * width, *q = m.histogram + b * width;
  for (int64_t i = threadIdx.x; i < width; i += kThreads) {
    m.histogram[c * width + i] = wa * p[i] + wb * q[i];
  }
  if (threadIdx.x == 0) {
    const int32_t *u = m.box + 4 * a, *v = m.box + 4 * b;
    int32_t* box = m.box + 4 * c;
    for (int k = 0; k < 2; ++k) {
      box[k] = u[k] < v[k] ? u[k] : v[k];
      box[k + 2] = u[k + 2] > v[k + 2] ? u[k + 2] : v[k + 2];
    }
    size[c] = size[a] + size[b];
  }
}

// Pairs with a or b become pairs with c, each once; returns how many pairs are left.
__device__ int64_t renew(const GroupShape& s, const Memory& m, const int64_t* size, int64_t n,
                         int64_t a, int64_t b, int64_t c, void* room) {
  const auto other_of = [=](const Pair& p) {  // -1: neither or both
    const bool first = p.a == a || p.a == b, second = p.b == a || p.b == b;
    return first == second ? -1 : first ? p.b : p.a;
  };
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const int other = other_of(m.pairs[i]);
    if (other >= 0) atomicMin(m.first + other, int(i));
  }
  __syncthreads();
  int64_t left = 0;
  for (int64_t start = 0; start < n; start += kThreads) {
    const int64_t i = start + threadIdx.x;
    Pair p = i < n ? m.pairs[i] : Pair{int32_t(a), int32_t(b), 0};
    const int other = other_of(p);
    const bool gone = other < 0 ? p.a == a || p.a == b : m.first[other] != int(i);
    if (other >= 0) p.a = other, p.b = int32_t(c);
    int64_t all = 0;
    const int64_t front = block_scan(int64_t(!gone), static_cast<int64_t*>(room), all);
    if (!gone) m.pairs[left + front] = p;
    left += all;
  }
  __syncthreads();
  for (int64_t i = threadIdx.x / kWarp; i < left; i += kThreads / kWarp) {
    if (m.pairs[i].b != c) continue;  // a whole warp
    const float value = similarity(s, m, size, m.pairs[i].a, c);
    if (lane() == 0) m.pairs[i].similar = value, m.first[m.pairs[i].a] = kUnset;
  }
  __syncthreads();
  return left;
}

void group_regions(Ctx& ctx, const GroupShape& s, const int64_t* label, const uint8_t* bins,
                   double* boxes, int64_t* size, int64_t* count) {
  const Memory m = memory_of(s, ctx.shared);
  measure(ctx, s, m, label, bins, size);
  list_pairs(ctx, s, m, label, size);
  each_row(ctx, 1, [=] __device__(int64_t, void* room) {
    int64_t pairs = m.totals[0], n = s.R;
    while (pairs > 0) {
      const int64_t best = best_of(m.pairs, pairs, room);
      const int64_t a = m.pairs[best].a, b = m.pairs[best].b;
      __syncthreads();
      merge(s, m, size, a, b, n);
      __syncthreads();
      pairs = renew(s, m, size, pairs, a, b, n++, room);
    }
    for (int64_t i = threadIdx.x; i < 4 * n; i += kThreads) boxes[i] = m.box[i];
    if (threadIdx.x == 0) m.totals[1] = n;
  });
  const cudaStream_t stream = static_cast<cudaStream_t>(ctx.stream);
  HL_CHECK(cudaMemcpyAsync(count, m.totals + 1, 8, cudaMemcpyDefault, stream));
  HL_CHECK(cudaStreamSynchronize(stream));
}

HL_CUDA_RAW_KERNEL(group_regions);

}  // namespace
}  // namespace hl::cuda
