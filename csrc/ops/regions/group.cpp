#include "cpu/parallel.h"
#include "kernel.h"
#include "ops/regions/regions.h"

namespace hl::cpu::HL_ISA {
namespace {

// One pair of neighbours, a < b.
struct Neighbours {
  int32_t a, b;
  float similar;
};

struct Memory {
  float* histogram;  // (2 R - 1, F B)
  Neighbours* pairs;
  int32_t* box;  // (2 R - 1, 4)
  int32_t* mark;
};

int64_t regions_of(const GroupShape& s) { return 2 * s.R - 1; }
// Regions in the plane have fewer than 3 R neighbours; diagonals can double that.
int64_t pairs_of(const GroupShape& s) { return min64(8 * s.R, s.R * (s.R - 1) / 2) + 4 * s.R + 8; }

int64_t histogram_bytes(const GroupShape& s) { return round_up(regions_of(s) * s.F * s.B * 4, 64); }
int64_t bytes_of(const GroupShape& s) {
  return histogram_bytes(s) + round_up(pairs_of(s) * int64_t(sizeof(Neighbours)), 64) +
         regions_of(s) * 24;
}

Memory memory_of(const GroupShape& s, unsigned char* p) {
  Memory m;
  m.histogram = reinterpret_cast<float*>(p);
  p += histogram_bytes(s);
  m.pairs = reinterpret_cast<Neighbours*>(p);
  p += round_up(pairs_of(s) * int64_t(sizeof(Neighbours)), 64);
  m.box = reinterpret_cast<int32_t*>(p);
  m.mark = m.box + 4 * regions_of(s);
  return m;
}

// The sum of the smaller ones.
float common(const float* a, const float* b, int64_t n) {
  Vec<float> sum = zero<float>();
  int64_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) sum = sum + min(load(a + i), load(b + i));
  if (i < n) sum = sum + min(load_n(a + i, n - i), load_n(b + i, n - i));
  return hsum(sum);
}

float similarity(const GroupShape& s, const Memory& m, const int64_t* size, int64_t a, int64_t b) {
  const float *p = m.histogram + a * s.F * s.B, *q = m.histogram + b * s.F * s.B;
  const int64_t colour = s.F1 * s.B, texture = (s.F - s.F1) * s.B;
  float value = 0;
  if (colour > 0) value += common(p, q, colour) / float(s.F1);
  if (texture > 0) value += common(p + colour, q + colour, texture) / float(s.F - s.F1);
  const int32_t *u = m.box + 4 * a, *v = m.box + 4 * b;
  const int64_t w = max64(u[2], v[2]) - min64(u[0], v[0]),
                h = max64(u[3], v[3]) - min64(u[1], v[1]);
  const float image = float(s.H * s.W), both = float(size[a] + size[b]);
  return value + 1 - both / image + 1 - (float(w * h) - both) / image;
}

}  // namespace

Plan group_regions_plan(const GroupShape& s) {
  Plan p = {};
  p.algorithm = "most similar first";
  p.shared_bytes = bytes_of(s);
  p.flops = 12.0 * double(s.R) * double(s.F) * double(s.B);
  p.bytes = double(s.H) * double(s.W) * (8 + double(s.F));
  return p;
}

void group_regions(Ctx& ctx, const GroupShape& s, const int64_t* label, const uint8_t* bins,
                   double* boxes, int64_t* size, int64_t* count) {
  const Memory m = memory_of(s, ctx.shared);
  const int64_t width = s.F * s.B;
  for (int64_t i = 0; i < s.R * width; ++i) m.histogram[i] = 0;
  for (int64_t r = 0; r < s.R; ++r) {
    size[r] = 0;
    int32_t* box = m.box + 4 * r;
    box[0] = int32_t(s.W), box[1] = int32_t(s.H), box[2] = box[3] = 0;
  }
  for (int64_t y = 0; y < s.H; ++y) {
    for (int64_t x = 0; x < s.W; ++x) {
      const int64_t p = y * s.W + x, r = label[p];
      ++size[r];
      int32_t* box = m.box + 4 * r;
      box[0] = x < box[0] ? int32_t(x) : box[0], box[1] = y < box[1] ? int32_t(y) : box[1];
      box[2] = x >= box[2] ? int32_t(x + 1) : box[2],
      box[3] = y >= box[3] ? int32_t(y + 1) : box[3];
      for (int64_t f = 0; f < s.F; ++f) m.histogram[r * width + f * s.B + bins[p * s.F + f]] += 1;
    }
  }
  for (int64_t r = 0; r < s.R; ++r) {
    const float inverse = 1.0f / float(size[r]);
    for (int64_t i = 0; i < width; ++i) m.histogram[r * width + i] *= inverse;
  }
  // A pair is listed once: found among the pairs of the pixels around.
  int64_t pairs = 0;
  const int64_t most = pairs_of(s);
  const auto add = [&](int64_t a, int64_t b) {
    if (a == b || pairs == most) return;
    const int32_t low = int32_t(min64(a, b)), high = int32_t(max64(a, b));
    for (int64_t i = pairs; i-- > 0;) {
      if (m.pairs[i].a == low && m.pairs[i].b == high) return;
    }
    m.pairs[pairs++] = {low, high, similarity(s, m, size, low, high)};
  };
  for (int64_t y = 0; y < s.H; ++y) {
    for (int64_t x = 0; x < s.W; ++x) {
      const int64_t p = y * s.W + x;
      if (x + 1 < s.W && label[p] != label[p + 1]) add(label[p], label[p + 1]);
      if (y + 1 < s.H && label[p] != label[p + s.W]) add(label[p], label[p + s.W]);
    }
  }
  int64_t n = s.R;
  for (int64_t r = 0; r < regions_of(s); ++r) m.mark[r] = -1;
  while (pairs > 0) {
    int64_t best = 0;
    for (int64_t i = 1; i < pairs; ++i) {
      if (m.pairs[i].similar > m.pairs[best].similar) best = i;
    }
    const int64_t a = m.pairs[best].a, b = m.pairs[best].b, c = n++;
    size[c] = size[a] + size[b];
    const int32_t *u = m.box + 4 * a, *v = m.box + 4 * b;
    int32_t* box = m.box + 4 * c;
    for (int k = 0; k < 2; ++k) {
      box[k] = u[k] < v[k] ? u[k] : v[k];
      box[k + 2] = u[k + 2] > v[k + 2] ? u[k + 2] : v[k + 2];
    }
    const float wa = float(size[a]) / float(size[c]), wb = float(size[b]) / float(size[c]);
    const float *p = m.histogram + a * width, *q = m.histogram + b * width;
    for (int64_t i = 0; i < width; ++i) m.histogram[c * width + i] = wa * p[i] + wb * q[i];
    // Their pairs become pairs with c, each once.
    int64_t left = 0;
    for (int64_t i = 0; i < pairs; ++i) {
      Neighbours pair = m.pairs[i];
      const bool first = pair.a == a || pair.a == b, second = pair.b == a || pair.b == b;
      if (first && second) continue;
      if (first || second) {
        const int32_t other = first ? pair.b : pair.a;
        if (m.mark[other] == c) continue;
        m.mark[other] = int32_t(c);
        pair = {other, int32_t(c), similarity(s, m, size, other, c)};
      }
      m.pairs[left++] = pair;
    }
    pairs = left;
  }
  for (int64_t r = 0; r < n; ++r) {
    for (int k = 0; k < 4; ++k) boxes[4 * r + k] = m.box[4 * r + k];
  }
  count[0] = n;
}

HL_DEFINE_RAW_KERNEL(group_regions);

}  // namespace hl::cpu::HL_ISA
