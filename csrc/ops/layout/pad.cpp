#include "ops/layout/pad.h"

#include "cpu/parallel.h"
#include "cpu/raw.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kChunk = 64 << 10;  // bytes

// Rows of `row` cells along the last padded axis; a cell is all that lies behind that axis. In
// front of it, unpadded neighbours are one axis.
struct View {
  int ndim;  // axes in front of the row
  int64_t size[kPadDims], before[kPadDims], padded[kPadDims];
  int64_t row, row_before, row_padded;
  int64_t cell;  // elements
  int64_t rows_x, rows_y;
};

View choose(const PadShape& s) {
  View v = {};
  int last = s.ndim - 1;
  v.cell = 1;
  while (last > 0 && s.before[last] == 0 && s.after[last] == 0) v.cell *= s.size[last--];
  v.row = v.row_padded = 1;
  if (last >= 0) {
    v.row = s.size[last], v.row_before = s.before[last];
    v.row_padded = s.before[last] + s.size[last] + s.after[last];
  }
  bool open = false;  // the newest axis of the view is unpadded
  for (int i = 0; i < last; ++i) {
    const bool plain = s.before[i] == 0 && s.after[i] == 0;
    if (plain && open) {
      v.size[v.ndim - 1] *= s.size[i], v.padded[v.ndim - 1] *= s.size[i];
      continue;
    }
    v.size[v.ndim] = s.size[i], v.before[v.ndim] = s.before[i];
    v.padded[v.ndim++] = s.before[i] + s.size[i] + s.after[i];
    open = plain;
  }
  v.rows_x = v.rows_y = 1;
  for (int i = 0; i < v.ndim; ++i) v.rows_x *= v.size[i], v.rows_y *= v.padded[i];
  return v;
}

int64_t modulo(int64_t i, int64_t n) {
  const int64_t r = i % n;
  return r < 0 ? r + n : r;
}

// Index in [0, n), or -1: the constant.
int64_t source(PadMode mode, int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::kConstant:
      return -1;
    case PadMode::kReplicate:
      return i < 0 ? 0 : n - 1;
    case PadMode::kCircular:
      return modulo(i, n);
    case PadMode::kSymmetric: {
      const int64_t r = modulo(i, 2 * n);
      return r < n ? r : 2 * n - 1 - r;
    }
    case PadMode::kReflect: {
      if (n == 1) return 0;
      const int64_t r = modulo(i, 2 * n - 2);
      return r < n ? r : 2 * n - 2 - r;
    }
  }
  return -1;
}

int64_t grain_of(const View& v, int64_t item) {
  const int64_t bytes = v.row_padded * v.cell * item;
  return bytes >= kChunk || bytes == 0 ? 1 : kChunk / bytes;
}

template <class U>
void fill_row(const PadShape& s, const View& v, const U* x, U value, U* y) {
  const int64_t C = v.cell;
  copy_bytes(y + v.row_before * C, x, v.row * C * int64_t(sizeof(U)));
  const auto side = [&](int64_t from, int64_t to) {
    if (s.mode == PadMode::kConstant) return fill_items(y + from * C, value, (to - from) * C);
    for (int64_t j = from; j < to; ++j) {
      const U* cell = x + source(s.mode, j - v.row_before, v.row) * C;
      if (C == 1) {
        y[j] = *cell;
      } else {
        copy_bytes(y + j * C, cell, C * int64_t(sizeof(U)));
      }
    }
  };
  side(0, v.row_before);
  side(v.row_before + v.row, v.row_padded);
}

template <class U>
void pad_rows(Ctx& ctx, const PadShape& s, const View& v, const U* x, U value, U* y) {
  const int64_t x_row = v.row * v.cell, y_row = v.row_padded * v.cell;
  parallel_for(ctx, v.rows_y, grain_of(v, s.item), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t rest = r, from = 0, step = 1;
      bool outside = false;
      for (int i = v.ndim - 1; i >= 0; --i) {
        const int64_t at = source(s.mode, rest % v.padded[i] - v.before[i], v.size[i]);
        rest /= v.padded[i];
        outside |= at < 0;
        from += at * step;
        step *= v.size[i];
      }
      if (outside) {
        fill_items(y + r * y_row, value, y_row);
      } else {
        fill_row(s, v, x + from * x_row, value, y + r * y_row);
      }
    }
  });
}

}  // namespace

Plan pad_forward_plan(const PadShape& s) {
  const View v = choose(s);
  Plan p = {};
  p.algorithm = "rows";
  p.bytes = double(s.item) * double(v.cell) *
            (double(v.rows_x) * double(v.row) + double(v.rows_y) * double(v.row_padded));
  return p;
}

void pad_forward(Ctx& ctx, const PadShape& s, const void* x, const void* value, void* y) {
  const View v = choose(s);
  if (v.rows_y * v.row_padded * v.cell == 0) return;
  with_item(s.item, [&](auto item) {
    using U = decltype(item);
    pad_rows(ctx, s, v, static_cast<const U*>(x), *static_cast<const U*>(value),
             static_cast<U*>(y));
  });
}

// ---- backward ----------------------------------------------------------------------------------
namespace {

// For each axis in front of the rows, the places of dy that come from element i:
// list[offset[i]] ... list[offset[i + 1] - 1], ascending.
struct Origins {
  int64_t* offset[kPadDims];
  int64_t* list[kPadDims];
};

int64_t origins_bytes(const View& v) {
  int64_t n = 0;
  for (int i = 0; i < v.ndim; ++i) n += v.size[i] + 1 + v.padded[i];
  return n * int64_t(sizeof(int64_t));
}

Origins find_origins(const PadShape& s, const View& v, unsigned char* memory) {
  Origins o;
  int64_t* next = reinterpret_cast<int64_t*>(memory);
  for (int a = 0; a < v.ndim; ++a) {
    int64_t* offset = o.offset[a] = next;
    int64_t* list = o.list[a] = next + v.size[a] + 1;
    next = list + v.padded[a];
    zero_bytes(offset, (v.size[a] + 1) * 8);
    for (int64_t j = 0; j < v.padded[a]; ++j) {
      const int64_t i = source(s.mode, j - v.before[a], v.size[a]);
      if (i >= 0) ++offset[i + 1];
    }
    for (int64_t i = 0; i < v.size[a]; ++i) offset[i + 1] += offset[i];
    for (int64_t j = 0; j < v.padded[a]; ++j) {
      const int64_t i = source(s.mode, j - v.before[a], v.size[a]);
      if (i >= 0) list[offset[i]++] = j;
    }
    for (int64_t i = v.size[a]; i > 0; --i) offset[i] = offset[i - 1];
    offset[0] = 0;
  }
  return o;
}

template <class T>
HL_INLINE void add_items(T* y, const T* x, int64_t n) {
  constexpr int L = kLanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) store(y + i, load(y + i) + load(x + i));
  if (i < n) store_n(y + i, load_n(y + i, n - i) + load_n(x + i, n - i), n - i);
}

template <class T>
void add_row(const PadShape& s, const View& v, const T* dy, T* dx, bool first) {
  const int64_t C = v.cell;
  if (first) {
    copy_bytes(dx, dy + v.row_before * C, v.row * C * int64_t(sizeof(T)));
  } else {
    add_items(dx, dy + v.row_before * C, v.row * C);
  }
  if (s.mode == PadMode::kConstant) return;
  for (int64_t j = 0; j < v.row_padded; ++j) {
    if (j == v.row_before) j += v.row;
    if (j >= v.row_padded) break;
    T* to = dx + source(s.mode, j - v.row_before, v.row) * C;
    if (C == 1) {
      *to += dy[j];
    } else {
      add_items(to, dy + j * C, C);
    }
  }
}

}  // namespace

template <class T>
Plan pad_backward_plan(const PadShape& s) {
  const View v = choose(s);
  Plan p = pad_forward_plan(s);
  p.algorithm = "rows, gathered";
  p.shared_bytes = origins_bytes(v);
  return p;
}

template <class T>
void pad_backward(Ctx& ctx, const PadShape& s, const T* dy, T* dx) {
  const View v = choose(s);
  const int64_t x_row = v.row * v.cell, y_row = v.row_padded * v.cell;
  if (v.rows_x * x_row == 0) return;
  const Origins o = find_origins(s, v, ctx.shared);
  parallel_for(ctx, v.rows_x, grain_of(v, sizeof(T)), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t at[kPadDims], pick[kPadDims] = {};
      int64_t rest = r;
      for (int a = v.ndim - 1; a >= 0; --a) {
        at[a] = rest % v.size[a];
        rest /= v.size[a];
      }
      for (bool first = true;; first = false) {
        int64_t from = 0;
        for (int a = 0; a < v.ndim; ++a) {
          from = from * v.padded[a] + o.list[a][o.offset[a][at[a]] + pick[a]];
        }
        add_row(s, v, dy + from * y_row, dx + r * x_row, first);
        int a = v.ndim - 1;  // the next combination of origins
        for (; a >= 0; --a) {
          if (++pick[a] < o.offset[a][at[a] + 1] - o.offset[a][at[a]]) break;
          pick[a] = 0;
        }
        if (a < 0) break;
      }
    }
  });
}

HL_DEFINE_RAW_KERNEL(pad_forward);
HL_DEFINE_KERNEL(pad_backward);

}  // namespace hl::cpu::HL_ISA
