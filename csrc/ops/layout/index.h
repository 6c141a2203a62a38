// Reading and adding by index.
//
// Rows (embedding lookup and its gradient):
//   take_rows          y[n, :] = table[index[n], :]                table (V, D), index (N), y (N,
//   D) scatter_add_rows   dtable[v, :] = sum of dy[n, :] over all n with index[n] = v
// Along one axis (torch.gather, Keras' take_along_axis), here axis 0 of three:
//   gather_axis        y[i, j, k] = x[index[i, j, k], j, k]        y like index; x may be larger
//   elsewhere scatter_add_axis   dx[index[i, j, k], j, k] += dy[i, j, k]     dx begins as zero
//
// Indices are int64 and checked by the caller. index, y, dy, dtable and dx are contiguous. Sums
// have a fixed order: rows of a table add up in blocks of about the square root of their number, an
// axis from its beginning to its end.
#pragma once

#include "context.h"

namespace hl {

constexpr int kIndexDims = 8;

struct RowsShape {
  int64_t V, N, D;
  int item;  // bytes of an element; take_rows only
};

struct AxisShape {
  int ndim, axis;
  int item;                    // bytes of an element; gather_axis only
  int64_t size[kIndexDims];    // of the index
  int64_t stride[kIndexDims];  // of x or dx, in elements
  int64_t total;               // elements of dx
};

template <class T>
using take_rows_t = void(Ctx&, const RowsShape&, const void* table, const int64_t* index, void* y);
template <class T>
using scatter_add_rows_t = void(Ctx&, const RowsShape&, const T* dy, const int64_t* index,
                                T* dtable);
template <class T>
using gather_axis_t = void(Ctx&, const AxisShape&, const void* x, const int64_t* index, void* y);
template <class T>
using scatter_add_axis_t = void(Ctx&, const AxisShape&, const T* dy, const int64_t* index, T* dx);

}  // namespace hl
