"""Moving data: copies, padding, reading and adding by index.

Bits are moved, never looked at, so every function but the gradients takes any dtype of 1, 2, 4, 8
or 16 bytes. Layout is batch first, features last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from ._options import choice, require_arrays

Array = npt.NDArray[Any]
Pairs = int | Sequence[tuple[int, int]]


def _pairs(pairs: Pairs, ndim: int) -> Sequence[tuple[int, int]]:
    return ((pairs, pairs),) * ndim if isinstance(pairs, int) else pairs


def copy(x: Array, *, out: Array | None = None) -> Array:
    """Copy from any strides into a contiguous array, or into ``out`` of any strides.

    ``copy(x.T)`` is a transposition, ``copy(x[::-1])`` a flip, ``copy(x[:, 1:3])`` a slice.

    Raises:
        TypeError: Objects, records or another dtype in ``out``.
        ValueError: An ``out`` that is read-only, misshapen or overlaps ``x``.
    """
    return _C.copy(x, out)


def assign(dst: Array, src: Array) -> None:
    """Write ``src``, broadcast, into ``dst``, of any strides: ``dst[...] = src`` without a cast.

    The two may overlap.

    Raises:
        TypeError: Two different dtypes.
        ValueError: A ``src`` that does not broadcast to ``dst``, or a read-only ``dst``.
    """
    _C.assign(dst, src)


def fill(x: Array, value: complex) -> None:
    """Set every element of ``x``, of any strides, to ``value``."""
    _C.fill(x, value)


def concat(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Join arrays along an existing axis (PyTorch's ``cat``, Keras' ``Concatenate``).

    Raises:
        TypeError: Two different dtypes.
        ValueError: No arrays, or shapes that differ outside ``axis``.
    """
    return _C.concat(arrays, axis)


def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis."""
    arrays = tuple(arrays)
    for i, a in enumerate(arrays):
        require_arrays("stack", **{f"arrays[{i}]": a})
        if not -a.ndim <= axis + (axis < 0) <= a.ndim:
            raise ValueError(f"stack: axis is {axis}, but arrays[{i}] has shape {a.shape}")
    return _C.concat([np.expand_dims(a, axis) for a in arrays], axis)


def flip(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Reverse the order along some axes (default: all)."""
    require_arrays("flip", x=x)
    try:
        return _C.copy(np.flip(x, axis) if x.ndim or axis else x)
    except ValueError as error:  # an axis that is not there, or that is named twice
        raise ValueError(f"flip: axis is {axis!r}, but x has shape {x.shape}: {error}") from None


def pad(x: Array, pairs: Pairs, *, mode: str = "constant", value: complex = 0.0) -> Array:
    """Pad the axes of ``x``.

    Args:
        x: Contiguous.
        pairs: ``(before, after)`` for each axis of ``x``, or one number for all.
        mode: ``"constant"``; ``"reflect"`` (``2 1 [0 1 2] 1 0``), ``"replicate"``
            (``0 0 [0 1 2] 2 2``; NumPy's edge), ``"circular"`` (``1 2 [0 1 2] 0 1``; NumPy's
            wrap) or ``"symmetric"`` (``1 0 [0 1 2] 2 1``). Padding may be longer than the axis.
        value: Of the constant.

    Returns:
        A new array, longer by ``before + after`` along each axis.

    Raises:
        ValueError: Negative padding, not one pair for each axis, an unknown mode, an ``x`` that is
            not contiguous, or nothing to repeat along an empty axis.
    """
    require_arrays("pad", x=x)
    return _C.pad(x, _pairs(pairs, x.ndim), choice("pad", "mode", mode, _C.pad_modes), value)


def pad_backward(dy: Array, pairs: Pairs, *, mode: str = "constant") -> Array:
    """Gradient of :func:`pad`: each element's own place and its copies, added up.

    Args:
        dy: Of the padded shape, contiguous, float32 or float64.
        pairs: As given to :func:`pad`.
        mode: As given to :func:`pad`.
    """
    require_arrays("pad_backward", dy=dy)
    return _C.pad_backward(
        dy, _pairs(pairs, dy.ndim), choice("pad_backward", "mode", mode, _C.pad_modes)
    )


def take(x: Array, indices: Array, *, axis: int = 0) -> Array:
    """Read slices by number: rows of a table for axis 0 (an embedding's lookup).

    Args:
        x: Contiguous if ``axis`` is 0.
        indices: int64 or int32, any shape.
        axis: Which axis of ``x`` is numbered.

    Returns:
        ``x``'s shape with that axis replaced by the shape of ``indices``.

    Raises:
        TypeError: Indices that are not integers.
        ValueError: An index outside ``[0, x.shape[axis])``, named with its place.
    """
    require_arrays("take", x=x, indices=indices)
    if axis == 0:
        return _C.take_rows(x, indices, "take")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"take: axis is {axis}, but x has shape {x.shape}")
    axis %= x.ndim
    rows = _C.take_rows(_C.copy(np.moveaxis(x, axis, 0)), indices, "take")
    places = range(indices.ndim)
    return _C.copy(np.moveaxis(rows, tuple(places), tuple(axis + i for i in places)))


def take_backward(dy: Array, indices: Array, num_rows: int) -> Array:
    """Gradient of :func:`take` along axis 0: rows of ``dy`` added where they were read.

    Deterministic: contributions to a row are added in the order of ``indices``.

    Args:
        dy: ``(*indices.shape, ...)``, contiguous, float32 or float64.
        indices: int64 or int32, as given to :func:`take`.
        num_rows: Of the table.

    Returns:
        ``(num_rows, ...)``.
    """
    return _C.scatter_add_rows(dy, indices, num_rows)


def embedding(indices: Array, w: Array, *, padding_idx: int | None = None) -> Array:
    """Rows of a table of vectors: ``y[...] = w[indices[...]]``. Keras: ``Embedding``.

    Args:
        indices: int64 or int32, any shape.
        w: ``(V, E)``, contiguous.
        padding_idx: A row that learns nothing: :func:`embedding_backward` leaves it 0. It is read
            as any other. -1 is the last.

    Returns:
        ``(*indices.shape, E)``.

    Raises:
        TypeError: Indices that are not integers.
        ValueError: An index outside the table, named with its place.
    """
    require_arrays("embedding", indices=indices, w=w)
    if w.ndim != 2:
        raise ValueError(f"embedding: w has shape {w.shape}, expected (V, E)")
    _padding_row("embedding", padding_idx, len(w))
    return _C.take_rows(w, indices, "embedding")


def embedding_backward(
    dy: Array, indices: Array, num_rows: int, *, padding_idx: int | None = None
) -> Array:
    """Gradient of :func:`embedding` by its table.

    Deterministic: contributions to a row are added in the order of ``indices``.

    Args:
        dy: ``(*indices.shape, E)``, contiguous, float32 or float64.
        indices: As given to :func:`embedding`.
        num_rows: V.
        padding_idx: The row whose gradient is 0.

    Returns:
        ``(V, E)``.
    """
    row = _padding_row("embedding_backward", padding_idx, num_rows)
    dw = _C.scatter_add_rows(dy, indices, num_rows)
    if row is not None:
        _C.fill(dw[row], 0)
    return dw


def _padding_row(op: str, padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"{op}: padding_idx is {padding_idx}, expected a row of {rows}")
    return padding_idx


def gather(x: Array, index: Array, *, axis: int) -> Array:
    """Read elements along one axis: ``y[i, j] = x[index[i, j], j]`` for axis 0 of two.

    ``torch.gather``, NumPy's ``take_along_axis``.

    Args:
        x: Any strides.
        index: int64 or int32, as many axes as ``x`` and nowhere longer, but along ``axis``.
        axis: Which axis the index numbers.

    Returns:
        An array of ``index``'s shape.
    """
    return _C.gather(x, index, axis)


def gather_backward(dy: Array, index: Array, shape: Sequence[int], *, axis: int) -> Array:
    """Gradient of :func:`gather`: ``dx[index[i, j], j] += dy[i, j]``, in order, so deterministic.

    Args:
        dy: Of ``index``'s shape, contiguous, float32 or float64.
        index: As given to :func:`gather`.
        shape: Of ``x``.
        axis: As given to :func:`gather`.
    """
    return _C.scatter_add(dy, index, axis, shape)


def one_hot(indices: Array, classes: int) -> Array:
    """``(..., classes)`` int64: 1 at each index, else 0.

    Raises:
        ValueError: An index outside ``[0, classes)``.
    """
    return _C.one_hot(indices, classes)


def tril(x: Array, k: int = 0) -> Array:
    """Lower triangle of ``(..., M, N)``, up to diagonal ``k``; zero above. Its own gradient."""
    return _C.tril(x, k)


def triu(x: Array, k: int = 0) -> Array:
    """Upper triangle of ``(..., M, N)``, from diagonal ``k``; zero below. Its own gradient."""
    return _C.triu(x, k)
