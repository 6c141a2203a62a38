"""The gradient of a table of which few rows were read: those rows, and their numbers.

It is what `weight.grad` of an embedding with `sparse=True` is; PyTorch has a sparse tensor there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import _C
from handloom._device_array import beside, on_host
from handloom.tensor import Array, Tensor, wrap


class RowGradient:
    """Rows of a gradient (V, …); all others are zero.

    The numbers of the rows rise and none is there twice, which PyTorch calls coalesced. What works
    on all gradients in place (clipping) works on the rows alone: the others are zero before and
    after. `SGD` and `Adagrad` step these rows and leave the others alone.
    """

    __slots__ = ("_array", "_version", "rows", "shape")

    is_sparse = True

    def __init__(self, rows: Array, values: Array, count: int) -> None:
        self.rows = rows  # (K,) int64, rising
        self._array = values  # (K, …), the name under which a Tensor holds its data
        self._version = [0]
        self.shape: tuple[int, ...] = (count, *values.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def indices(self) -> Tensor:
        """The numbers of the rows, int64 (1, K) as in PyTorch."""
        return wrap(self.rows[None])

    def values(self) -> Tensor:
        """The rows (K, …)."""
        return wrap(self._array)

    def coalesce(self) -> RowGradient:
        """Itself: it has each row once."""
        return self

    def to_dense(self) -> Tensor:
        """The whole gradient (V, …)."""
        return wrap(self.spread())

    def numpy(self) -> Array:
        """The whole gradient (V, …), a copy."""
        return self.spread()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.spread().astype(dtype or self.dtype, copy=False)

    def spread(self) -> Array:
        """The whole gradient (V, …) as a new array."""
        return _C.scatter_add_rows(self._array, self.rows, self.shape[0])

    def added(self, other: RowGradient) -> RowGradient:
        """The sum of both."""
        rows = _C.concat([self.rows, other.rows], 0)
        return summed(rows, _C.concat([self._array, other._array], 0), self.shape[0])

    def zero_(self) -> RowGradient:
        """No rows."""
        self.rows, self._array = self.rows[:0], self._array[:0]
        self._version[0] += 1
        return self

    def detach(self) -> RowGradient:
        """Itself: it has no history."""
        return self

    def astype(self, dtype: Any) -> RowGradient:
        """The same rows as another float type."""
        return RowGradient(self.rows, self._array.astype(dtype), self.shape[0])

    def __deepcopy__(self, memo: dict[int, Any]) -> RowGradient:
        return RowGradient(self.rows.copy(), self._array.copy(), self.shape[0])

    def __repr__(self) -> str:
        return f"RowGradient({len(self.rows)} of {self.shape[0]} rows, {self.dtype})"


def summed(indices: Array, dy: Array, count: int) -> RowGradient:
    """Adds up what came to equal indices, in the order of their positions.

    Args:
        indices: int64, any shape, of rows 0 to count.
        dy: The same shape and that of a row.
        count: Rows V of the table.
    """
    rows, place = np.unique(on_host(indices), return_inverse=True)
    flat = dy.reshape(-1, *dy.shape[indices.ndim :])
    values = _C.scatter_add_rows(flat, beside(place.reshape(-1), dy), len(rows))
    return RowGradient(beside(rows, dy), values, count)


def without(gradient: RowGradient, row: int) -> RowGradient:
    """The same but for one row, which gets no gradient."""
    rows, values = gradient.rows, gradient._array
    keep = np.flatnonzero(on_host(rows) != row)
    if len(keep) == len(rows):
        return gradient
    kept = beside(keep, rows)
    return RowGradient(_C.take_rows(rows, kept), _C.take_rows(values, kept), gradient.shape[0])
