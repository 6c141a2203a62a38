"""Unpooling: values go back to the places that max pooling took them from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.pooling import unpooled_size
from .._calls.window import Sizes

Array = npt.NDArray[Any]


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
