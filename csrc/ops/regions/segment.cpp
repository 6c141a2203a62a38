#include "kernel.h"
#include "ops/regions/forest.h"
#include "ops/regions/regions.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kRows = 16;

// Edge 4 p + d leads from pixel p to its neighbour in direction d.
constexpr int kStepY[4] = {0, 1, 1, 1};
constexpr int kStepX[4] = {1, 0, 1, -1};

struct Edge {
  uint32_t weight;  // of a float that is not negative: the bits have its order
  uint32_t number;
};

struct Memory {
  Edge *edges, *sorted;
  int32_t *parent, *size;
  float* inner;
};

int64_t bytes_of(const SegmentShape& s) { return s.H * s.W * (2 * 4 * int64_t(sizeof(Edge)) + 12); }

Memory memory_of(const SegmentShape& s, void* memory) {
  const int64_t n = s.H * s.W;
  Memory m;
  m.edges = static_cast<Edge*>(memory);
  m.sorted = m.edges + 4 * n;
  m.parent = reinterpret_cast<int32_t*>(m.sorted + 4 * n);
  m.size = m.parent + n;
  m.inner = reinterpret_cast<float*>(m.size + n);
  return m;
}

// Least significant bits first, 11 at a time. Returns a or b.
Edge* sort_edges(Edge* a, Edge* b, int64_t n) {
  constexpr int kBits = 11, kBins = 1 << kBits;
  int64_t count[kBins];
  for (int shift = 0; shift < 32; shift += kBits) {
    for (int64_t& c : count) c = 0;
    for (int64_t i = 0; i < n; ++i) ++count[a[i].weight >> shift & (kBins - 1)];
    int64_t at = 0;
    for (int64_t& c : count) {
      const int64_t here = c;
      c = at, at += here;
    }
    for (int64_t i = 0; i < n; ++i) b[count[a[i].weight >> shift & (kBins - 1)]++] = a[i];
    Edge* t = a;
    a = b, b = t;
  }
  return a;
}

template <class T>
uint32_t distance(const T* a, const T* b, int64_t C) {
  double sum = 0;
  for (int64_t c = 0; c < C; ++c) {
    const double d = double(a[c]) - double(b[c]);
    sum += d * d;
  }
  // NaN is as far as it gets, and 0 + x has no sign.
  const float w = sum == sum ? float(__builtin_sqrt(sum)) : __builtin_inff();
  uint32_t bits;
  __builtin_memcpy(&bits, &w, sizeof bits);
  return bits;
}

float weight_of(const Edge& e) {
  float w;
  __builtin_memcpy(&w, &e.weight, sizeof w);
  return w;
}

}  // namespace

template <class T>
Plan graph_segment_plan(const SegmentShape& s) {
  Plan p = {};
  p.algorithm = "edges by weight";
  p.shared_bytes = bytes_of(s);
  p.flops = 12.0 * double(s.H) * double(s.W) * double(s.C);
  p.bytes = double(s.H) * double(s.W) * (double(s.C) * sizeof(T) + 8);
  return p;
}

template <class T>
void graph_segment(Ctx& ctx, const SegmentShape& s, const T* x, int64_t* label, int64_t* count) {
  const Memory m = memory_of(s, ctx.shared);
  const int64_t n = s.H * s.W;
  // Edges that lead out of the image lie behind all others.
  parallel_for(ctx, s.H, kRows, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < s.W; ++j) {
        const int64_t p = i * s.W + j;
        m.parent[p] = int32_t(p), m.size[p] = 1, m.inner[p] = 0;
        for (int d = 0; d < 4; ++d) {
          const int64_t y = i + kStepY[d], z = j + kStepX[d];
          const bool inside = y < s.H && z >= 0 && z < s.W;
          const uint32_t w = inside ? distance(x + p * s.C, x + (y * s.W + z) * s.C, s.C) : ~0u;
          m.edges[4 * p + d] = {w, uint32_t(4 * p + d)};
        }
      }
    }
  });
  const Edge* edges = sort_edges(m.edges, m.sorted, 4 * n);
  int64_t inside = 4 * n;
  while (inside > 0 && edges[inside - 1].weight == ~0u) --inside;
  const auto ends = [&](const Edge& e, int32_t& a, int32_t& b) {
    const int64_t p = e.number / 4, d = e.number % 4;
    a = root_of(m.parent, int32_t(p));
    b = root_of(m.parent, int32_t(p + kStepY[d] * s.W + kStepX[d]));
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
  for (int64_t i = 0; i < inside; ++i) {
    ends(edges[i], a, b);
    if (a == b) continue;
    const float w = weight_of(edges[i]);
    const float first = m.inner[a] + float(s.k) / float(m.size[a]);
    const float second = m.inner[b] + float(s.k) / float(m.size[b]);
    if (w <= first && w <= second) m.inner[join(a, b)] = w;
  }
  for (int64_t i = 0; i < inside; ++i) {
    ends(edges[i], a, b);
    if (a != b && (m.size[a] < s.least || m.size[b] < s.least)) join(a, b);
  }
  // Numbered by first pixels; `size` is free to hold the numbers.
  for (int64_t p = 0; p < n; ++p) m.size[p] = -1;
  int32_t found = 0;
  for (int64_t p = 0; p < n; ++p) {
    const int32_t root = root_of(m.parent, int32_t(p));
    if (m.size[root] < 0) m.size[root] = found++;
    label[p] = m.size[root];
  }
  count[0] = found;
}

HL_DEFINE_KERNEL(graph_segment);

}  // namespace hl::cpu::HL_ISA
