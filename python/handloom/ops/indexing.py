"""x[…], and what picks or scatters elements by index.

Slices, integers, None and … give views; masks and index arrays gather rows and, backward, add them
up again in a fixed order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import _C
from handloom._device_array import ARRAYS, beside, on_host
from handloom._tape import Function, View
from handloom.autograd import is_grad_enabled
from handloom.ops._common import TensorLike, array_of, axis_of, dense, is_float
from handloom.ops.layout import reshape, transpose
from handloom.tensor import Array, Tensor, as_ndarray, wrap


class Slice(View):
    """A view by basic indexing; dx is zero but for the part that was looked at."""

    __slots__ = ("index", "shape")

    def forward(ctx, x: Array, index: Any) -> Array:
        ctx.index, ctx.shape = index, x.shape
        return _view(x, index)

    def backward(ctx, dy: Array) -> Array:
        dx = np.zeros_like(dy, shape=ctx.shape, order="C")
        _C.assign(_view(dx, ctx.index), dy)
        return dx


class TakeRows(Function):
    """y[…] = table[indices[…]]; equal indices add up in dtable, in the order of their positions."""

    __slots__ = ("indices", "rows")
    fresh = True

    @property
    def name(self) -> str:
        return "take_rows"

    def forward(ctx, table: Array, indices: Array) -> Array:
        ctx.indices, ctx.rows = indices, table.shape[0]
        return _C.take_rows(dense(table), indices, ctx.name)

    def backward(ctx, dy: Array) -> Array:
        return _C.scatter_add_rows(dense(dy), ctx.indices, ctx.rows)


class Gather(Function):
    """y[i, j] = x[index[i, j], j] along an axis."""

    __slots__ = ("axis", "index", "shape")
    fresh = True

    def forward(ctx, x: Array, index: Array, axis: int) -> Array:
        ctx.axis, ctx.index, ctx.shape = axis, index, x.shape
        return _C.gather(x, index, axis)

    def backward(ctx, dy: Array) -> Array:
        return _C.scatter_add(dense(dy), ctx.index, ctx.axis, ctx.shape)


def _view(x: Array, index: Any) -> Array:
    """x[index]; where that is a single number, a view without axes of it."""
    y = x[index]
    return y if isinstance(y, ARRAYS) else x[_with_ellipsis(index)]


def _with_ellipsis(index: Any) -> tuple[Any, ...]:
    return (*_as_tuple(index), ...)


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _plain(item: Any) -> Any:
    """An index as NumPy knows it."""
    if isinstance(item, Tensor):
        item = item._array
    elif isinstance(item, list):
        item = np.asarray(item) if item else np.empty(0, np.int64)
    if isinstance(item, ARRAYS):
        if item.dtype.kind not in "biu":
            raise TypeError(f"index: an array of {item.dtype}, expected integers or booleans")
        if item.ndim == 0 and item.dtype.kind != "b":
            return int(item)
    return item


_BASIC = (int, slice, type(Ellipsis), type(None), np.integer)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], with NumPy's rules.

    Raises:
        IndexError: Out of range, or too many indices.
        TypeError: An index that is none.
    """
    if isinstance(index, (int, slice)) and not isinstance(index, bool):
        out: Tensor = Slice().run1(x, index)
        return out
    items = tuple([_plain(i) for i in _as_tuple(index)])
    if all(isinstance(i, _BASIC) and not isinstance(i, bool) for i in items):
        out = Slice().run1(x, items if len(items) != 1 else items[0])
        return out
    return _gathered(x, items)


def _gathered(x: Tensor, items: tuple[Any, ...]) -> Tensor:
    a = x._array
    first = items[0]
    if is_float(a) and len(items) == 1 and isinstance(first, ARRAYS) and first.dtype.kind != "b":
        out: Tensor = TakeRows().run1(x, _rows(_where(first, a), a.shape[0]))
        return out
    items = tuple([on_host(i) for i in items])
    if not is_float(a):
        return wrap(beside(np.array(on_host(a)[items]), a))
    # Anything else: the positions of the chosen elements in the flat array, by NumPy's own rules.
    positions = np.arange(a.size, dtype=np.int64).reshape(a.shape)[items]
    rows = beside(positions.reshape(-1), a)
    picked: Tensor = TakeRows().run1(reshape(x, (a.size, 1)), rows)
    return reshape(picked, positions.shape)


def _where(indices: Array, x: Array) -> Array:
    """Indices of the host beside x."""
    return beside(indices, x) if isinstance(indices, np.ndarray) else indices


def _rows(given: Array, n: int) -> Array:
    """int64 row numbers from 0; negative ones count from the end."""
    indices = on_host(given).astype(np.int64, copy=False)
    if indices.size and (indices.min() < -n or indices.max() >= n):
        bad = indices[(indices < -n) | (indices >= n)][0]
        raise IndexError(f"index: {bad} is out of range for an axis of size {n}")
    if (indices < 0).any():
        return beside(np.where(indices < 0, indices + n, indices), given)
    return beside(indices, given) if given.dtype != np.int64 else given


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, in place; only where no gradient is recorded.

    Raises:
        RuntimeError: x requires a gradient, and this thread records.
    """
    if is_grad_enabled() and (
        x.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
    ):
        raise RuntimeError(
            "setitem: x[i] = v would lose the gradient; use hl.where or masked_fill, or write "
            "under hl.no_grad()"
        )
    items = tuple([_plain(i) for i in _as_tuple(index)])
    if isinstance(value, Tensor):
        value = value._array
    elif isinstance(value, ARRAYS) and value.ndim:
        value = as_ndarray(value, "setitem")
    target = x._array
    if isinstance(value, ARRAYS) and is_float(value) and value.dtype != target.dtype:
        raise TypeError(
            f"setitem: the tensor is {target.dtype} but the value {value.dtype}; convert it with "
            f".astype({str(target.dtype)!r})"
        )
    # … makes the place an array even where it is one element, so that (1,) fits it too.
    whole = any(item is Ellipsis for item in items)
    _write(target, items if whole else (*items, ...), value)
    x._version[0] += 1


def _write(target: Array, items: tuple[Any, ...], value: Any) -> None:
    if isinstance(target, np.ndarray):
        target[items] = value
        return
    if all(isinstance(i, _BASIC) and not isinstance(i, bool) for i in items):
        place = target[items]
        if isinstance(value, ARRAYS):
            _C.assign(place, value.astype(target.dtype, copy=False))
        else:
            _C.assign(place, beside(np.asarray(value, target.dtype), target))
        return
    values = on_host(target)
    values[tuple([on_host(i) for i in items])] = on_host(value)
    _C.assign(target, beside(values, target))


def take_rows(table: TensorLike, indices: TensorLike) -> Tensor:
    """Rows of a table: table (V, …), indices of any shape → indices.shape + (…). Embedding."""
    out: Tensor = TakeRows().run1(table, array_of(indices))
    return out


def gather(x: TensorLike, dim: int, index: TensorLike) -> Tensor:
    """y[i][j][k] = x[index[i][j][k]][j][k] for dim 0, and so on; PyTorch's `gather`.

    Raises:
        ValueError: index has other axes than x, is larger than x elsewhere than at dim, or points
            outside.
    """
    a, i = array_of(x), array_of(index)
    axis = axis_of(dim, a.ndim, "gather")
    if a.ndim == 0:
        return reshape(gather(reshape(x, (1,)), 0, i.reshape(-1)), i.shape)
    out: Tensor = Gather().run1(x, i, axis)
    return out


def index_select(x: TensorLike, dim: int, index: TensorLike) -> Tensor:
    """Slices of x along dim, in the order of a vector of indices."""
    a = array_of(x)
    axis = axis_of(dim, a.ndim, "index_select")
    if a.ndim == 0:
        return reshape(index_select(reshape(x, (1,)), 0, index), ())
    rows = _rows(array_of(index), a.shape[axis])
    if axis == 0:
        return take_rows(x, rows)
    return transpose(take_rows(transpose(x, 0, axis), rows), 0, axis)


def one_hot(tensor: TensorLike, num_classes: int = -1) -> Tensor:
    """int64 1 at the index, 0 elsewhere: indices (…) → (…, num_classes); −1: the largest + 1."""
    i = array_of(tensor)
    if i.dtype.kind not in "iu":
        raise TypeError(f"one_hot: indices have dtype {i.dtype}, expected integers")
    if num_classes == -1:
        if i.size == 0:
            raise ValueError("one_hot: no indices to tell num_classes from, pass it")
        num_classes = int(on_host(i).max()) + 1
    return wrap(_C.one_hot(i.astype(np.int64, copy=False), num_classes))
