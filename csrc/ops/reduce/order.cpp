#include "ops/reduce/order.h"

#include "cpu/fold.h"
#include "cpu/positions.h"
#include "kernel.h"

namespace hl::cpu::HL_ISA {
namespace {

constexpr int64_t kOrderGrain = 16384;  // elements worth a task of their own
constexpr int64_t kScanColumns = 512;
constexpr int64_t kSmall = 48;  // up to here insertion beats counting

Positions lines_of(const OrderShape& s) {
  return {s.dims, s.size, s.x_stride, s.y_stride, {}, 0, 0};
}

// Lines side by side: the last of the other axes is contiguous, the scanned one is not.
bool by_columns(const OrderShape& s) {
  const int k = s.dims - 1;
  return s.size[k] > 4 && s.x_stride[k] == 1 && s.y_stride[k] == 1 && s.n > 1;
}

// ---- sorting
// -------------------------------------------------------------------------------------

template <class T>
struct Sorting;
template <>
struct Sorting<float> {
  using Key = uint32_t;
  using Index = uint32_t;
  using Bits = int32_t;
};
template <>
struct Sorting<double> {
  using Key = uint64_t;
  using Index = uint64_t;
  using Bits = int64_t;
};

template <class T>
struct Item {
  typename Sorting<T>::Key key;
  typename Sorting<T>::Index index;
};

// An integer in the order of the floats.
template <class T>
HL_INLINE typename Sorting<T>::Key key_of(T x, bool descending) {
  using Key = typename Sorting<T>::Key;
  constexpr Key kSign = Key(1) << (8 * sizeof(Key) - 1);
  Key bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if (bits == kSign) bits = 0;
  Key key = bits & kSign ? ~bits : bits | kSign;
  if (x != x) key = ~Key(0);
  return descending ? ~key : key;
}

template <class T>
HL_INLINE bool before(const Item<T>& a, const Item<T>& b) {
  return a.key < b.key || (a.key == b.key && a.index < b.index);
}

template <class T>
void insertion_sort(Item<T>* a, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const Item<T> item = a[i];
    int64_t j = i;
    for (; j > 0 && before(item, a[j - 1]); --j) a[j] = a[j - 1];
    a[j] = item;
  }
}

// Least significant byte first; each pass keeps the order of equal bytes. Returns a or b.
template <class T>
Item<T>* radix_sort(Item<T>* a, Item<T>* b, int64_t n) {
  constexpr int kBytes = sizeof(a->key);
  int64_t count[kBytes][256] = {};
  for (int64_t i = 0; i < n; ++i) {
    for (int d = 0; d < kBytes; ++d) ++count[d][a[i].key >> (8 * d) & 255];
  }
  for (int d = 0; d < kBytes; ++d) {
    if (count[d][a[0].key >> (8 * d) & 255] == n) continue;
    int64_t at = 0;
    for (int64_t& c : count[d]) {
      const int64_t here = c;
      c = at, at += here;
    }
    for (int64_t i = 0; i < n; ++i) b[count[d][a[i].key >> (8 * d) & 255]++] = a[i];
    Item<T>* t = a;
    a = b, b = t;
  }
  return a;
}

template <class T>
Item<T>* sort_items(Item<T>* a, Item<T>* b, int64_t n) {
  if (n > kSmall) return radix_sort(a, b, n);
  insertion_sort(a, n);
  return a;
}

// A heap with the last in order on top.
template <class T>
void sift_down(Item<T>* heap, int64_t n, int64_t i) {
  const Item<T> item = heap[i];
  for (int64_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && before(heap[child], heap[child + 1])) ++child;
    if (!before(item, heap[child])) break;
    heap[i] = heap[child];
  }
  heap[i] = item;
}

// The first k in order, unsorted, in heap[0, k).
template <class T>
void select_first(const T* x, int64_t step, int64_t n, bool descending, Item<T>* heap, int64_t k) {
  using Index = typename Sorting<T>::Index;
  for (int64_t i = 0; i < k; ++i) heap[i] = {key_of(x[i * step], descending), Index(i)};
  for (int64_t i = k / 2; i-- > 0;) sift_down(heap, k, i);
  for (int64_t i = k; i < n; ++i) {
    const auto key = key_of(x[i * step], descending);
    if (key >= heap[0].key) continue;  // an equal one comes later in order
    heap[0] = {key, Index(i)};
    sift_down(heap, k, int64_t(0));
  }
}

bool selects(const OrderShape& s) { return s.taken < s.n / 8; }

// ---- running sums
// --------------------------------------------------------------------------------

// K lines at once: the chains of additions overlap.
template <int K, class T>
HL_INLINE void scan_lines(const OrderShape& s, const T* const* x, T* const* y) {
  double sum[K] = {};
  for (int64_t i = 0; i < s.n; ++i) {
    for (int k = 0; k < K; ++k) {
      sum[k] += double(x[k][i * s.x_step]);
      y[k][i * s.y_step] = T(sum[k]);
    }
  }
}

template <class T>
void scan_columns(Ctx& ctx, const OrderShape& s, const T* x, T* y) {
  const int k = s.dims - 1;
  const int64_t strips = ceil_div(s.size[k], kScanColumns);
  const int64_t grain = most(1, kOrderGrain / (s.n * least(s.size[k], kScanColumns)));
  parallel_for(ctx, s.lines / s.size[k] * strips, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      Positions w = lines_of(s);
      w.dims = k;
      w.seek(t / strips);
      const int64_t first = t % strips * kScanColumns;
      const int64_t width = least(kScanColumns, s.size[k] - first);
      double sum[kScanColumns];
      for (int64_t c = 0; c < width; ++c) sum[c] = 0;
      for (int64_t i = 0; i < s.n; ++i) {
        const T* from = x + w.a + first + i * s.x_step;
        T* to = y + w.b + first + i * s.y_step;
        for (int64_t c = 0; c < width; ++c) {
          sum[c] += double(from[c]);
          to[c] = T(sum[c]);
        }
      }
    }
  });
}

template <class T>
Plan order_plan(const OrderShape& s) {
  Plan p = {};
  p.bytes = double(s.lines) * double(s.n + s.taken) * sizeof(T);
  return p;
}

}  // namespace

template <class T>
Plan cumsum_plan(const OrderShape& s) {
  Plan p = order_plan<T>(s);
  p.algorithm = by_columns(s) ? "columns" : "lines";
  p.flops = double(s.lines) * double(s.n);
  return p;
}
template <class T>
void cumsum(Ctx& ctx, const OrderShape& s, const T* x, T* y) {
  if (by_columns(s)) return scan_columns(ctx, s, x, y);
  parallel_for(ctx, s.lines, most(4, kOrderGrain / s.n), [&](int64_t begin, int64_t end, int) {
    Positions w = lines_of(s);
    w.seek(begin);
    for (int64_t i = begin; i < end;) {
      const T* from[4];
      T* to[4];
      const int64_t n = least(4, end - i);
      for (int64_t k = 0; k < n; ++k, ++i, w.next()) from[k] = x + w.a, to[k] = y + w.b;
      if (n == 4) {
        scan_lines<4>(s, from, to);
      } else {
        for (int64_t k = 0; k < n; ++k) scan_lines<1>(s, from + k, to + k);
      }
    }
  });
}

template <class T>
Plan sort_plan(const OrderShape& s) {
  Plan p = order_plan<T>(s);
  p.algorithm = selects(s) ? "heap" : "radix";
  p.worker_bytes = 2 * (selects(s) ? s.taken : s.n) * int64_t(sizeof(Item<T>));
  return p;
}
template <class T>
void sort(Ctx& ctx, const OrderShape& s, const T* x, T* values, int64_t* indices) {
  using Index = typename Sorting<T>::Index;
  parallel_for(ctx, s.lines, most(1, kOrderGrain / 4 / s.n),
               [&](int64_t begin, int64_t end, int worker) {
                 auto* items = worker_scratch<Item<T>>(ctx, worker);
                 Positions w = lines_of(s);
                 w.seek(begin);
                 for (int64_t l = begin; l < end; ++l, w.next()) {
                   const T* from = x + w.a;
                   const Item<T>* sorted;
                   if (selects(s)) {
                     select_first(from, s.x_step, s.n, s.descending, items, s.taken);
                     sorted = sort_items(items, items + s.taken, s.taken);
                   } else {
                     for (int64_t i = 0; i < s.n; ++i)
                       items[i] = {key_of(from[i * s.x_step], s.descending), Index(i)};
                     sorted = sort_items(items, items + s.n, s.n);
                   }
                   for (int64_t i = 0; i < s.taken; ++i) {
                     const int64_t index = int64_t(sorted[i].index);
                     values[w.b + i * s.y_step] = from[index * s.x_step];
                     indices[w.b + i * s.y_step] = index;
                   }
                 }
               });
}

template <class T>
Plan scatter_lines_plan(const OrderShape& s) {
  return order_plan<T>(s);
}
template <class T>
void scatter_lines(Ctx& ctx, const OrderShape& s, const T* dy, const int64_t* indices, T* dx) {
  parallel_for(ctx, s.lines, most(1, kOrderGrain / s.taken), [&](int64_t begin, int64_t end, int) {
    Positions w = lines_of(s);
    w.seek(begin);
    for (int64_t l = begin; l < end; ++l, w.next()) {
      for (int64_t i = 0; i < s.taken; ++i) dx[w.b + i * s.y_step] = 0;
      for (int64_t i = 0; i < s.n; ++i) {
        const int64_t at = w.a + i * s.x_step;
        dx[w.b + indices[at] * s.y_step] += dy[at];
      }
    }
  });
}

HL_DEFINE_KERNEL(cumsum);
HL_DEFINE_KERNEL(sort);
HL_DEFINE_KERNEL(scatter_lines);

}  // namespace hl::cpu::HL_ISA
