#include "ops/layout/index.h"

#include "cpu/parallel.h"
#include "cpu/raw.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kChunk = 64 << 10;  // bytes

int64_t grain_of(int64_t row_bytes) {
  return row_bytes >= kChunk || row_bytes == 0 ? 1 : kChunk / row_bytes;
}

}  // namespace

// ---- rows --------------------------------------------------------------------------------------
Plan take_rows_plan(const RowsShape& s) {
  Plan p = {};
  p.algorithm = "rows";
  p.bytes = 2.0 * double(s.N) * double(s.D) * s.item + 8.0 * double(s.N);
  return p;
}

void take_rows(Ctx& ctx, const RowsShape& s, const void* table, const int64_t* index, void* y) {
  const int64_t bytes = s.D * s.item;
  if (bytes == 0) return;
  const char* from = static_cast<const char*>(table);
  char* to = static_cast<char*>(y);
  parallel_for(ctx, s.N, grain_of(bytes), [&](int64_t begin, int64_t end, int) {
    if (s.D == 1) {
      with_item(s.item, [&](auto item) {
        using U = decltype(item);
        for (int64_t n = begin; n < end; ++n) {
          reinterpret_cast<U*>(to)[n] = reinterpret_cast<const U*>(from)[index[n]];
        }
      });
      return;
    }
    for (int64_t n = begin; n < end; ++n)
      copy_bytes(to + n * bytes, from + index[n] * bytes, bytes);
  });
}

template <class T>
Plan scatter_add_rows_plan(const RowsShape& s) {
  Plan p = {};
  p.algorithm = "rows by counting sort";
  p.shared_bytes = (s.V + 1 + s.N) * int64_t(sizeof(int64_t));
  p.flops = double(s.N) * double(s.D);
  p.bytes = double(sizeof(T)) * double(s.D) * (double(s.N) + double(s.V)) + 8.0 * double(s.N);
  return p;
}

namespace {

// One vector of a row's sum: blocks of `block` terms, then the blocks.
template <class T, class Load>
HL_INLINE Vec<T> block_sum(int64_t terms, int64_t block, const Load& term) {
  Vec<T> total = zero<T>();
  for (int64_t i = 0; i < terms; i += block) {
    Vec<T> part = term(i);
    const int64_t end = terms - i < block ? terms : i + block;
    for (int64_t k = i + 1; k < end; ++k) part += term(k);
    total = i == 0 ? part : total + part;
  }
  return total;
}

}  // namespace

template <class T>
void scatter_add_rows(Ctx& ctx, const RowsShape& s, const T* dy, const int64_t* index, T* dtable) {
  constexpr int L = kLanes<T>;
  // The positions of each table row in a list, in order: offset[v] ... offset[v + 1] - 1.
  int64_t* offset = reinterpret_cast<int64_t*>(ctx.shared);
  int64_t* list = offset + s.V + 1;
  zero_bytes(offset, (s.V + 1) * 8);
  for (int64_t n = 0; n < s.N; ++n) ++offset[index[n] + 1];
  for (int64_t v = 0; v < s.V; ++v) offset[v + 1] += offset[v];
  for (int64_t n = 0; n < s.N; ++n) list[offset[index[n]]++] = n;
  for (int64_t v = s.V; v > 0; --v) offset[v] = offset[v - 1];
  offset[0] = 0;
  parallel_for(ctx, s.V, grain_of(s.D * int64_t(sizeof(T))), [&](int64_t begin, int64_t end, int) {
    for (int64_t v = begin; v < end; ++v) {
      const int64_t* rows = list + offset[v];
      const int64_t terms = offset[v + 1] - offset[v];
      T* to = dtable + v * s.D;
      if (terms == 0) {
        zero_bytes(to, s.D * int64_t(sizeof(T)));
        continue;
      }
      int64_t block = 8;
      while (block * block < terms) block *= 2;
      int64_t d = 0;
      for (; d + L <= s.D; d += L) {
        store(to + d, block_sum<T>(terms, block, [&](int64_t i) __attribute__((always_inline)) {
                return load(dy + rows[i] * s.D + d);
              }));
      }
      if (d < s.D) {
        store_n(to + d,
                block_sum<T>(terms, block,
                             [&](int64_t i) __attribute__((always_inline)) {
                               return load_n(dy + rows[i] * s.D + d, s.D - d);
                             }),
                s.D - d);
      }
    }
  });
}

HL_DEFINE_RAW_KERNEL(take_rows);
HL_DEFINE_KERNEL(scatter_add_rows);

// ---- along an axis -----------------------------------------------------------------------------
namespace {

// The index as (outer, K, middle, J): J is the last axis, K the one that is indexed. Where the last
// axis is indexed, J is 1 and K the row itself.
struct Axis {
  int64_t lines;  // of all axes but the indexed and the last
  int64_t K, J;
  int64_t index_k;         // from one k to the next in the index
  int64_t x_axis, x_last;  // strides of x
};

Axis axis_of(const AxisShape& s) {
  Axis a = {};
  a.lines = 1;
  const int last = s.ndim - 1;
  for (int i = 0; i < s.ndim; ++i) {
    if (i != s.axis && i != last) a.lines *= s.size[i];
  }
  a.K = s.size[s.axis];
  a.J = s.axis == last ? 1 : s.size[last];
  a.index_k = 1;
  for (int i = s.axis + 1; i < s.ndim; ++i) a.index_k *= s.size[i];
  a.x_axis = s.stride[s.axis];
  a.x_last = s.axis == last ? 0 : s.stride[last];
  return a;
}

// Where line `n` starts: in the index and in x.
HL_INLINE void line_start(const AxisShape& s, int64_t n, int64_t& index, int64_t& x) {
  index = x = 0;
  int64_t step = 1;
  for (int i = s.ndim - 1; i >= 0; --i) {
    if (i != s.axis && i != s.ndim - 1) {
      const int64_t at = n % s.size[i];
      n /= s.size[i];
      index += at * step;
      x += at * s.stride[i];
    }
    step *= s.size[i];
  }
}

constexpr int64_t kColumns = 512;  // of the last axis, for one chunk

// f(start in the index, start in x, columns) for every line, in parts of kColumns columns. No two
// parts touch the same elements of x, so that they may run in any order.
template <class F>
void each_part(Ctx& ctx, const AxisShape& s, const Axis& a, const F& f) {
  const int64_t parts = ceil_div(a.J, kColumns);
  const int64_t work = a.K * (a.J < kColumns ? a.J : kColumns);
  const int64_t grain = work >= 8192 || work == 0 ? 1 : 8192 / work;
  parallel_for(ctx, a.lines * parts, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t index, x;
      line_start(s, i / parts, index, x);
      const int64_t j = i % parts * kColumns;
      f(index + j, x + j * a.x_last, a.J - j < kColumns ? a.J - j : kColumns);
    }
  });
}

Plan axis_plan(const AxisShape& s, int64_t item) {
  int64_t n = 1;
  for (int i = 0; i < s.ndim; ++i) n *= s.size[i];
  Plan p = {};
  p.algorithm = "lines";
  p.bytes = double(n) * (8 + 2.0 * double(item));
  return p;
}

}  // namespace

Plan gather_axis_plan(const AxisShape& s) { return axis_plan(s, s.item); }

void gather_axis(Ctx& ctx, const AxisShape& s, const void* x, const int64_t* index, void* y) {
  const Axis a = axis_of(s);
  with_item(s.item, [&](auto item) {
    using U = decltype(item);
    each_part(ctx, s, a, [&](int64_t at, int64_t x_at, int64_t columns) {
      const U* from = static_cast<const U*>(x) + x_at;
      for (int64_t k = 0; k < a.K; ++k) {
        const int64_t* pick = index + at + k * a.index_k;
        U* to = static_cast<U*>(y) + at + k * a.index_k;
        for (int64_t j = 0; j < columns; ++j) to[j] = from[j * a.x_last + pick[j] * a.x_axis];
      }
    });
  });
}

template <class T>
Plan scatter_add_axis_plan(const AxisShape& s) {
  Plan p = axis_plan(s, sizeof(T));
  p.bytes += double(s.total) * sizeof(T);
  return p;
}

template <class T>
void scatter_add_axis(Ctx& ctx, const AxisShape& s, const T* dy, const int64_t* index, T* dx) {
  parallel_for(ctx, s.total, kChunk, [&](int64_t begin, int64_t end, int) {
    zero_bytes(dx + begin, (end - begin) * int64_t(sizeof(T)));
  });
  const Axis a = axis_of(s);
  each_part(ctx, s, a, [&](int64_t at, int64_t x_at, int64_t columns) {
    T* to = dx + x_at;
    for (int64_t k = 0; k < a.K; ++k) {
      const int64_t* pick = index + at + k * a.index_k;
      const T* from = dy + at + k * a.index_k;
      for (int64_t j = 0; j < columns; ++j) to[j * a.x_last + pick[j] * a.x_axis] += from[j];
    }
  });
}

HL_DEFINE_RAW_KERNEL(gather_axis);
HL_DEFINE_KERNEL(scatter_add_axis);

}  // namespace hl::cpu::HL_ISA
