#include "cuda/divide.h"
#include "cuda/kernel.h"
#include "cuda/loop.h"
#include "cuda/sort.h"
#include "ops/regions/forest.cuh"
#include "ops/regions/regions.h"

namespace hl::cuda {
namespace {

// Edge 4 p + d leads from pixel p to its neighbour in direction d: right, down, down right, down left.
__device__ int64_t step_y(int64_t d) { return d > 0; }
__device__ int64_t step_x(int64_t d) { return d == 1 ? 0 : d == 3 ? -1 : 1; }

// Weights are floats that are not negative, sorted by their bits; edges that lead out of the image lie
// behind all others.
constexpr uint32_t kOutside = 0xffffffffu;

// A weight and the edge's number.
using Edge = Item<uint32_t>;

struct Memory {
  Edge* edges;
  int64_t* count;
  int32_t *parent, *size;
  float* inner;
  int64_t bytes;
};
Memory memory_of(const SegmentShape& s, unsigned char* p) {
  const int64_t n = s.H * s.W, edges = sort_bytes<uint32_t>(1, 4 * n);
  Memory m = {};
  m.edges = reinterpret_cast<Edge*>(p);
  m.count = reinterpret_cast<int64_t*>(p + edges);
  m.parent = reinterpret_cast<int32_t*>(m.count + 1);
  m.size = m.parent + n;
  m.inner = reinterpret_cast<float*>(m.size + n);
  m.bytes = edges + 8 + n * 12;
  return m;
}

template <class T>
Plan graph_segment_plan(const SegmentShape& s) {
  const double n = double(s.H) * double(s.W), c = double(s.C);
  return {"edges by weight, joined by one thread",
          "whether an edge joins depends on all lighter ones",
          {1, 1, 1},
          memory_of(s, nullptr).bytes,
          0,
          12 * n * c,
          n * (c * sizeof(T) + 8)};
}

template <class T>
__device__ float distance(const T* a, const T* b, int64_t C) {
  double sum = 0;
  for (int64_t c = 0; c < C; ++c) {
    const double d = double(a[c]) - double(b[c]);
    sum += d * d;
  }
  return sum == sum ? float(sqrt(sum)) : INFINITY;  // NaN is as far as it gets
}

// All that one thread does: joins, then numbers by first pixels.
__device__ void join_edges(const SegmentShape& s, const Memory& m, const Edge* edge, int64_t edges,
                           int64_t* label) {
  const auto ends = [&](const Edge& e, int32_t& a, int32_t& b) {
    const int64_t p = e.index / 4, d = e.index % 4;
    a = root_and_halve(m.parent, int32_t(p));
    b = root_and_halve(m.parent, int32_t(p + step_y(d) * s.W + step_x(d)));
  };
  const auto join = [&](int32_t a, int32_t b) {
    if (m.size[a] < m.size[b]) {
      const int32_t t = a;
      a = b, b = t;
    }
    m.parent[b] = a, m.size[a] += m.size[b];
    return a;
  };
  int32_t a, b;
  for (int64_t i = 0; i < edges; ++i) {
    ends(edge[i], a, b);
    if (a == b) continue;
    float w;
    memcpy(&w, &edge[i].key, sizeof w);
    const float first = m.inner[a] + float(s.k) / float(m.size[a]);
    const float second = m.inner[b] + float(s.k) / float(m.size[b]);
    if (w <= first && w <= second) m.inner[join(a, b)] = w;
  }
  for (int64_t i = 0; i < edges; ++i) {
    ends(edge[i], a, b);
    if (a != b && (m.size[a] < s.least || m.size[b] < s.least)) join(a, b);
  }
  // `size` is free to hold the numbers.
  const int64_t n = s.H * s.W;
  for (int64_t p = 0; p < n; ++p) m.size[p] = -1;
  int32_t found = 0;
  for (int64_t p = 0; p < n; ++p) {
    const int32_t root = root_and_halve(m.parent, int32_t(p));
    if (m.size[root] < 0) m.size[root] = found++;
    label[p] = m.size[root];
  }
  m.count[0] = found;
}

template <class T>
void graph_segment(Ctx& ctx, const SegmentShape& s, const T* x, int64_t* label, int64_t* count) {
  const Memory m = memory_of(s, ctx.shared);
  const int64_t n = s.H * s.W;
  const Divider by_width = divide_by(s.W);
  each(ctx, n,
       [=] __device__(int64_t p) { m.parent[p] = int32_t(p), m.size[p] = 1, m.inner[p] = 0; });
  const Edge* edge =
      sort_lines<uint32_t>(ctx, 1, 4 * n, m.edges, [=] __device__(int64_t, int64_t e) -> uint32_t {
        const int64_t p = e / 4, d = e % 4;
        int64_t i = p;
        const int64_t z = last_index(i, by_width) + step_x(d), y = i + step_y(d);
        if (y >= s.H || z < 0 || z >= s.W) return kOutside;
        const float w = distance(x + p * s.C, x + (y * s.W + z) * s.C, s.C);
        uint32_t bits;
        memcpy(&bits, &w, sizeof bits);
        return bits;
      });
  each(ctx, 1, [=] __device__(int64_t) {
    join_edges(s, m, edge, rank_of(edge, 4 * n, Edge{kOutside, 0}), label);
  });
  const cudaStream_t stream = static_cast<cudaStream_t>(ctx.stream);
  HL_CHECK(cudaMemcpyAsync(count, m.count, 8, cudaMemcpyDefault, stream));
  HL_CHECK(cudaStreamSynchronize(stream));
}

HL_CUDA_KERNEL(graph_segment);

}  // namespace
}  // namespace hl::cuda
