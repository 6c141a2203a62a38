#include "ops/resize/resample.h"

#include "cpu/exp_run.h"
#include "cpu/raw.h"
#include "cpu/simd/gather.h"
#include "kernel.h"
#include "ops/resize/axis_map.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kSegment = 8192;  // elements of a result that are made at a time: first cache
constexpr int64_t kTask = 32768;    // least elements of a thread's task
constexpr int64_t kBlock = 16;      // terms of a sum in one chain

template <class T>
struct Row {
  const T* x;
  T weight;
};

template <class T>
struct Maps {
  AxisMap<T> d, h, w;
};

// Sum of weight * x[i ...] over rows, U vectors side by side.
template <class T, int U>
HL_INLINE void add_rows(const Row<T>* rows, int64_t n, int64_t i, int64_t lanes, Vec<T> (&sum)[U]) {
  constexpr int L = kLanes<T>;
  for (int64_t from = 0; from < n; from += kBlock) {
    Vec<T> part[U] = {};
    const int64_t stop = min64(n, from + kBlock);
    for (int64_t k = from; k < stop; ++k) {
      const Vec<T> w = set1(rows[k].weight);
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) {
        const T* p = rows[k].x + i + u * L;
        part[u] = fma(w, U > 1 ? load(p) : load_some(p, lanes), part[u]);
      }
    }
    for (int u = 0; u < U; ++u) sum[u] += part[u];
  }
}

// y = S weight x over rows: the axes in front of W.
template <class T>
void blend(const Row<T>* rows, int64_t n, int64_t width, T* y) {
  constexpr int L = kLanes<T>;
  if (n == 1 && rows[0].weight == T(1)) return copy_bytes(y, rows[0].x, width * int64_t(sizeof(T)));
  int64_t i = 0;
  for (; i + 4 * L <= width; i += 4 * L) {
    Vec<T> sum[4] = {};
    add_rows<T, 4>(rows, n, i, L, sum);
    for (int u = 0; u < 4; ++u) store(y + i + u * L, sum[u]);
  }
  for (; i < width; i += L) {
    Vec<T> sum[1] = {};
    const int64_t lanes = min64(L, width - i);
    add_rows<T, 1>(rows, n, i, lanes, sum);
    store_some(y + i, sum[0], lanes);
  }
}

// y = S w_k x[k C ...] for K neighbours along W.
template <class T, int K>
HL_INLINE void run_of(const T* x, const T* w, int64_t C, T* y) {
  if (C == 1) {
    T sum = w[0] * x[0];
    for (int k = 1; k < K; ++k) sum += w[k] * x[k];
    *y = sum;
    return;
  }
  Vec<T> wide[K];
  for (int k = 0; k < K; ++k) wide[k] = set1(w[k]);
  for_vectors<T>(C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
    Vec<T> sum = wide[0] * load_some(x + c, lanes);
    for (int k = 1; k < K; ++k) sum = fma(wide[k], load_some(x + k * C + c, lanes), sum);
    store_some(y + c, sum, lanes);
  });
}

template <class T>
void long_run(const T* x, const T* w, int64_t n, int64_t C, T* y) {
  for_vectors<T>(C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
    Vec<T> sum{};
    for (int64_t from = 0; from < n; from += kBlock) {
      Vec<T> part{};
      for (int64_t k = from; k < min64(n, from + kBlock); ++k) {
        part = fma(set1(w[k]), load_some(x + k * C + c, lanes), part);
      }
      sum += part;
    }
    store_some(y + c, sum, lanes);
  });
}

// Elements [begin, end) of a row of the result; x + i C is element i of the row that is read.
template <class T>
void along(const AxisMap<T>& m, int64_t begin, int64_t end, int64_t C, const T* x, T* y) {
  for (int64_t o = begin; o < end; ++o, y += C) {
    const T* from = x + m.first[o] * C;
    const T* w = m.weight + m.start[o];
    switch (const int64_t n = m.count(o)) {
      case 0:
        zero_bytes(y, C * int64_t(sizeof(T)));
        break;
      case 1:
        run_of<T, 1>(from, w, C, y);
        break;
      case 2:
        run_of<T, 2>(from, w, C, y);
        break;
      case 3:
        run_of<T, 3>(from, w, C, y);
        break;
      case 4:
        run_of<T, 4>(from, w, C, y);
        break;
      default:
        long_run(from, w, n, C, y);
    }
  }
}

template <class T>
void copy_along(const AxisMap<T>& m, int64_t begin, int64_t end, int64_t C, const T* x, T* y) {
  if (C == 1) {
    for (int64_t o = begin; o < end; ++o) *y++ = x[m.first[o]];
    return;
  }
  for (int64_t o = begin; o < end; ++o, y += C) {
    const T* from = x + m.first[o] * C;
    for_vectors<T>(C, [&](int64_t c, int64_t lanes) __attribute__((always_inline)) {
      store_some(y + c, load_some(from + c, lanes), lanes);
    });
  }
}

// Of few channels, one element of a row after the other, whatever pixel it belongs to: where it is
// read, and with what weights of that pixel and the next ones. A vector of pixels at a time.
constexpr int64_t kFew = 4;
constexpr int kTaps = 4;

template <class T>
struct TapTable {
  Lane<T>* index;    // (to C), and a vector more; null where the table does not serve
  T* weight[kTaps];  // likewise
  int taps;
  bool copies;
};

HL_INLINE int64_t table_size(int64_t to, int64_t C) { return to * C + 16; }

template <class T>
int64_t table_bytes(int64_t to, int64_t C) {
  return C > kFew ? 0
                  : round_up(table_size(to, C) * int64_t(sizeof(Lane<T>) + kTaps * sizeof(T)), 64);
}

template <class T>
TapTable<T> tap_table(const AxisMap<T>& m, int64_t C, unsigned char* memory) {
  TapTable<T> t = {};
  t.copies = m.copies;
  for (int64_t o = 0; o < m.to; ++o) {
    const int64_t n = m.count(o);
    if (n < 1 || n > kTaps) return t;
    t.taps = int(max64(t.taps, n));
  }
  if (C > kFew || m.plain || m.from * C >= int64_t(1) << 31) return t;
  T* weights = reinterpret_cast<T*>(memory);
  const int64_t size = table_size(m.to, C);
  for (int k = 0; k < kTaps; ++k) t.weight[k] = weights + k * size;
  t.index = reinterpret_cast<Lane<T>*>(weights + kTaps * size);
  zero_bytes(memory, size * int64_t(sizeof(Lane<T>) + kTaps * sizeof(T)));
  for (int64_t o = 0; o < m.to; ++o) {
    for (int64_t e = o * C; e < (o + 1) * C; ++e) {
      t.index[e] = Lane<T>(m.first[o] * C + e - o * C);
      for (int k = 0; k < t.taps; ++k) {
        t.weight[k][e] = k < m.count(o) ? m.weight[m.start[o] + k] : T(0);
      }
    }
  }
  return t;
}

// Elements [begin, end) of a row; `from` elements are there to be read.
template <class T>
void along_table(const TapTable<T>& t, int64_t begin, int64_t end, int64_t from, int64_t C,
                 const T* x, T* y) {
  constexpr int L = kLanes<T>;
  const Lane<T> last = Lane<T>(from - 1);
  int64_t channel = begin % C;
  for (int64_t e = begin; e < end; e += L) {
    // All that this vector reads lies from `low` on; in a row that is not made much narrower, near.
    const Lane<T> low = t.index[e - channel];
    const int64_t high = t.index[min64(e + L, end) - 1] + t.taps * C - 1;
    const bool near = high - low < 2 * L;
    Vec<T> a{}, b{};
    if (near) {
      a = load_some(x + low, min64(L, from - low));
      if (from - low > L) b = load_some(x + low + L, min64(L, from - low - L));
    }
    Vec<Lane<T>> at = load(t.index + e);
    const auto read = [&](Vec<Lane<T>> i) __attribute__((always_inline)) {
      i = i < last ? i : Vec<Lane<T>>{} + last;
      return near ? pick(a, b, i - low) : gather(x, i);
    };
    Vec<T> sum = read(at);
    if (!t.copies) sum = load(t.weight[0] + e) * sum;
    for (int k = 1; k < t.taps; ++k) {
      at += Lane<T>(C);
      const Vec<T> w = load(t.weight[k] + e);
      // What has no weight is not read: it may be NaN.
      sum = fma(w, select(w != T(0), read(at), Vec<T>{}), sum);
    }
    store_some(y + e - begin, sum, min64(L, end - e));
    channel = (channel + L) % C;
  }
}

// The rows that row (n, d, h) of the result is a sum of.
template <class T>
int64_t rows_of(const Maps<T>& m, const T* x, int64_t n, int64_t d, int64_t h, int64_t row,
                Row<T>* rows) {
  int64_t count = 0;
  for (int64_t i = 0; i < m.d.count(d); ++i) {
    for (int64_t j = 0; j < m.h.count(h); ++j) {
      const int64_t at = (n * m.d.from + m.d.first[d] + i) * m.h.from + m.h.first[h] + j;
      rows[count++] = {x + at * row, m.d.weight[m.d.start[d] + i] * m.h.weight[m.h.start[h] + j]};
    }
  }
  return count;
}

// The elements that [begin, end) of the result are made of.
struct Range {
  int64_t low, high;
};
template <class T>
Range read_by(const AxisMap<T>& m, int64_t begin, int64_t end) {
  Range r = {m.from, 0};
  for (int64_t i = begin; i < end; ++i) {
    if (m.count(i) == 0) continue;
    r = {min64(r.low, m.first[i]), max64(r.high, m.first[i] + m.count(i))};
  }
  return r;
}

template <class T>
int64_t buffer_bytes(int64_t from_w, int64_t C) {
  return round_up(from_w * C * int64_t(sizeof(T)), 64);
}

template <class T>
void apply(Ctx& ctx, const Maps<T>& m, int64_t N, int64_t C, const T* x, unsigned char* memory,
           T* y) {
  const TapTable<T> table = tap_table(m.w, C, memory);
  const int64_t W = m.w.to, in_row = m.w.from * C, out_row = W * C;
  const int64_t segment = out_row <= 2 * kSegment ? W : max64(1, kSegment / C);
  const int64_t segments = ceil_div(W, segment);
  const int64_t grain = max64(1, kTask / (segment * C));
  const int64_t tasks = N * m.d.to * m.h.to * segments;
  parallel_for(ctx, tasks, grain, [&](int64_t begin, int64_t end, int worker) {
    T* buffer = worker_scratch<T>(ctx, worker);
    Row<T>* rows = reinterpret_cast<Row<T>*>(worker_scratch<unsigned char>(ctx, worker) +
                                             buffer_bytes<T>(m.w.from, C));
    const T* before = nullptr;  // the row that the task before this one copied
    for (int64_t t = begin; t < end; ++t) {
      const int64_t r = t / segments, o = t % segments * segment, stop = min64(W, o + segment);
      const int64_t h = r % m.h.to, d = r / m.h.to % m.d.to, n = r / (m.h.to * m.d.to);
      T* out = y + r * out_row + o * C;
      const int64_t count = rows_of(m, x, n, d, h, in_row, rows);
      if (count == 0) {
        zero_bytes(out, (stop - o) * C * int64_t(sizeof(T)));
        continue;
      }
      const bool whole = count == 1 && rows[0].weight == T(1);
      if (m.w.plain) {
        for (int64_t k = 0; k < count; ++k) rows[k].x += o * C;
        blend(rows, count, (stop - o) * C, out);
        continue;
      }
      if (whole && m.w.copies) {
        if (segments == 1 && before == rows[0].x) {
          copy_bytes(out, out - out_row, out_row * int64_t(sizeof(T)));
        } else if (table.index) {
          along_table(table, o * C, stop * C, in_row, C, rows[0].x, out);
        } else {
          copy_along(m.w, o, stop, C, rows[0].x, out);
        }
        before = rows[0].x;
        continue;
      }
      const T* from = rows[0].x;
      if (!whole) {  // only the part of the rows that this segment reads
        const Range read = segments == 1 ? Range{0, m.w.from} : read_by(m.w, o, stop);
        for (int64_t k = 0; k < count; ++k) rows[k].x += read.low * C;
        if (read.low < read.high) {
          blend(rows, count, (read.high - read.low) * C, buffer + read.low * C);
        }
        from = buffer;
      }
      if (table.index) {
        along_table(table, o * C, stop * C, in_row, C, from, out);
      } else {
        along(m.w, o, stop, C, from, out);
      }
    }
  });
}

const char* name_of(const ResampleShape& s) {
  switch (s.mode) {
    case ResampleMode::kNearest:
    case ResampleMode::kNearestExact:
      return "copies";
    case ResampleMode::kFir:
      return "separable, fir";
    default:
      return "separable";
  }
}

template <class T>
Plan plan_of(const ResampleShape& s, bool transposed) {
  Plan p = {};
  p.algorithm = name_of(s);
  const int64_t* from = transposed ? s.out : s.in;
  const int64_t* to = transposed ? s.in : s.out;
  double from_size = double(s.N) * double(s.C), to_size = from_size, width = 1;
  int64_t rows = 1;
  for (int a = 0; a < 3; ++a) {
    const int64_t run = longest_run(s, a), weights = s.out[a] * run;
    p.shared_bytes += map_bytes<T>(s.out[a], weights);
    if (transposed) p.shared_bytes += map_bytes<T>(s.in[a], weights);
    if (a < 2) rows *= max64(1, transposed ? from[a] : run);
    from_size *= double(from[a]), to_size *= double(to[a]);
    width += s.in[a] == s.out[a] ? 0 : double(run);
  }
  p.shared_bytes += table_bytes<T>(to[2], s.C);
  p.worker_bytes = buffer_bytes<T>(from[2], s.C) + rows * int64_t(sizeof(Row<T>));
  if (s.mode != ResampleMode::kNearest && s.mode != ResampleMode::kNearestExact) {
    p.flops = 2 * width * (transposed ? from_size : to_size);
  }
  p.bytes = (from_size + to_size) * sizeof(T);
  return p;
}

bool any_zero(const int64_t (&sizes)[3]) { return sizes[0] == 0 || sizes[1] == 0 || sizes[2] == 0; }

}  // namespace

template <class T>
Plan resample_forward_plan(const ResampleShape& s) {
  return plan_of<T>(s, false);
}
template <class T>
void resample_forward(Ctx& ctx, const ResampleShape& s, const T* x, T* y) {
  if (s.N * s.C == 0 || any_zero(s.out)) return;
  unsigned char* memory = ctx.shared;
  const AxisMap<T> d = forward_map<T>(s, 0, memory), h = forward_map<T>(s, 1, memory);
  const AxisMap<T> w = forward_map<T>(s, 2, memory);
  apply<T>(ctx, {d, h, w}, s.N, s.C, x, memory, y);
}

template <class T>
Plan resample_backward_plan(const ResampleShape& s) {
  return plan_of<T>(s, true);
}
template <class T>
void resample_backward(Ctx& ctx, const ResampleShape& s, const T* dy, T* dx) {
  if (s.N * s.C == 0 || any_zero(s.in)) return;
  unsigned char* memory = ctx.shared;
  const AxisMap<T> d = transposed_map<T>(s, 0, memory), h = transposed_map<T>(s, 1, memory);
  const AxisMap<T> w = transposed_map<T>(s, 2, memory);
  apply<T>(ctx, {d, h, w}, s.N, s.C, dy, memory, dx);
}

HL_DEFINE_KERNEL(resample_forward);
HL_DEFINE_KERNEL(resample_backward);

}  // namespace hl::cpu::HL_ISA
