"""Unpooling: values go back to the places that max pooling took them from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import _C
from ._window import AXES, Sizes, per_axis

Array = npt.NDArray[Any]


def unpooled_size(
    op: str,
    x: Any,
    dims: int,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Sequence[int] | None,
) -> tuple[int, ...]:
    """Spatial sizes of the unpooled array: ``(size - 1) stride - 2 padding + kernel``.

    Args:
        op: For errors.
        x: The pooled array.
        dims: How many spatial axes.
        kernel_size: Of the pool.
        stride: Of the pool.
        padding: Of the pool.
        output_size: Another size, less than one stride away: what the pool's input had; the spatial
            sizes or the whole shape (N, ..., C).
    """
    shape = getattr(x, "shape", ())
    k = per_axis(op, "kernel_size", kernel_size, dims)
    s = k if stride is None else per_axis(op, "stride", stride, dims)
    p = per_axis(op, "padding", padding, dims, 0)
    if len(shape) != dims + 2:
        axes = ", ".join(("N", *AXES[dims], "C"))
        raise ValueError(f"{op}: x has shape {tuple(shape)}, expected ({axes})")
    usual = tuple((n - 1) * t - 2 * q + r for n, t, q, r in zip(shape[1:-1], s, p, k))
    if output_size is None:
        if min(usual) < 1:
            raise ValueError(f"{op}: the unpooled size would be {usual}, expected at least 1")
        return usual
    given = tuple(output_size)
    size = given[1:-1] if len(given) == dims + 2 else given
    size = per_axis(op, "output_size", size, dims)
    if any(not abs(n - u) < t for n, u, t in zip(size, usual, s)):
        raise ValueError(
            f"{op}: output_size is {size}, expected less than a stride {s} away from {usual}"
        )
    return size


def max_unpool2d(
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    """Partial inverse of :func:`max_pool2d`: maxima at their places, zeros elsewhere.

    Of several values for one place the last one stays.

    Args:
        x: (N, OH, OW, C), contiguous float32 or float64.
        indices: From ``max_pool2d(return_indices=True)``, int64 or int32.
        kernel_size: Of the pool.
        stride: Of the pool; default ``kernel_size``.
        padding: Of the pool.
        output_size: What the pool's input had, where pooling has rounded: (H, W) or (N, H, W, C).

    Returns:
        (N, H, W, C).

    Raises:
        TypeError: Another dtype.
        ValueError: An index outside the result, named with its place; shapes that do not fit.
    """
    size = unpooled_size("max_unpool2d", x, 2, kernel_size, stride, padding, output_size)
    return _C.unpool_forward(x, indices, size)


def max_unpool2d_backward(dy: Array, indices: Array) -> Array:
    """Gradient of :func:`max_unpool2d`: ``dy`` read at the indices.

    As in PyTorch, also a value that another one has overwritten gets the gradient of its place.
    """
    return _C.unpool_backward(dy, indices, dy.shape[1:-1])


def max_unpool1d(
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    """:func:`max_unpool2d` on (N, W, C)."""
    size = unpooled_size("max_unpool1d", x, 1, kernel_size, stride, padding, output_size)
    return _C.unpool_forward(x, indices, size)


def max_unpool1d_backward(dy: Array, indices: Array) -> Array:
    """Gradient of :func:`max_unpool1d`: ``dy`` read at the indices."""
    return _C.unpool_backward(dy, indices, dy.shape[1:-1])


def max_unpool3d(
    x: Array,
    indices: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Array:
    """:func:`max_unpool2d` on (N, D, H, W, C)."""
    size = unpooled_size("max_unpool3d", x, 3, kernel_size, stride, padding, output_size)
    return _C.unpool_forward(x, indices, size)


def max_unpool3d_backward(dy: Array, indices: Array) -> Array:
    """Gradient of :func:`max_unpool3d`: ``dy`` read at the indices."""
    return _C.unpool_backward(dy, indices, dy.shape[1:-1])
