"""Pools that share the input out: adaptive and global, forward and backward.

Output o of n sees the inputs from ``floor(o size / n)`` up to ``ceil((o + 1) size / n)`` (PyTorch's
rule). Arrays are contiguous float32 or float64, channels last.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.pooling import (
    AVG,
    MAX,
    MIN,
    OutputSize,
    pool_extreme,
    pool_extreme_backward,
    sizes_on,
)

Array = npt.NDArray[Any]


def adaptive_avg_pool2d(x: Array, output_size: OutputSize) -> Array:
    """Mean of each of ``output_size`` equal parts. Keras: ``AdaptiveAveragePooling2D``.

    Args:
        x: (N, H, W, C).
        output_size: An int, or an int or None (keep) per spatial axis.

    Returns:
        (N, OH, OW, C).

    Raises:
        TypeError: Another dtype than float32 or float64; sizes that are not integers.
        ValueError: A wrong number of axes, an empty axis, a size below 1.
    """
    w = sizes_on("adaptive_avg_pool2d", x, 2, output_size)
    return _C.pool_forward(AVG, x, w, False, False, 0.0, False)


def adaptive_avg_pool2d_backward(dy: Array, x: Array, output_size: OutputSize) -> Array:
    """Gradient of :func:`adaptive_avg_pool2d`; of ``x`` only the shape is looked at."""
    w = sizes_on("adaptive_avg_pool2d_backward", x, 2, output_size)
    return _C.pool_backward(AVG, dy, x.shape, w, False, False, 0.0, None)


def adaptive_avg_pool1d(x: Array, output_size: OutputSize) -> Array:
    """:func:`adaptive_avg_pool2d` on (N, W, C)."""
    w = sizes_on("adaptive_avg_pool1d", x, 1, output_size)
    return _C.pool_forward(AVG, x, w, False, False, 0.0, False)


def adaptive_avg_pool1d_backward(dy: Array, x: Array, output_size: OutputSize) -> Array:
    """Gradient of :func:`adaptive_avg_pool1d`; of ``x`` only the shape is looked at."""
    w = sizes_on("adaptive_avg_pool1d_backward", x, 1, output_size)
    return _C.pool_backward(AVG, dy, x.shape, w, False, False, 0.0, None)


def adaptive_avg_pool3d(x: Array, output_size: OutputSize) -> Array:
    """:func:`adaptive_avg_pool2d` on (N, D, H, W, C)."""
    w = sizes_on("adaptive_avg_pool3d", x, 3, output_size)
    return _C.pool_forward(AVG, x, w, False, False, 0.0, False)


def adaptive_avg_pool3d_backward(dy: Array, x: Array, output_size: OutputSize) -> Array:
    """Gradient of :func:`adaptive_avg_pool3d`; of ``x`` only the shape is looked at."""
    w = sizes_on("adaptive_avg_pool3d_backward", x, 3, output_size)
    return _C.pool_backward(AVG, dy, x.shape, w, False, False, 0.0, None)


def adaptive_max_pool2d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """Largest element of each of ``output_size`` equal parts of the input.

    Args:
        x: (N, H, W, C).
        output_size: As in :func:`adaptive_avg_pool2d`.
        return_indices: Also return where it was, as in :func:`max_pool2d`.
        return_saved: Also return what backward needs.

    Returns:
        y (N, OH, OW, C); or ``(y, indices)``, ``(y, saved)``, ``(y, indices, saved)``.
    """
    w = sizes_on("adaptive_max_pool2d", x, 2, output_size)
    return pool_extreme(MAX, x, w, False, return_indices, return_saved)


def adaptive_max_pool2d_backward(
    dy: Array, x: Array, output_size: OutputSize, *, saved: Array | None = None
) -> Array:
    """Gradient of :func:`adaptive_max_pool2d`; see :func:`max_pool2d_backward`."""
    w = sizes_on("adaptive_max_pool2d_backward", x, 2, output_size)
    return pool_extreme_backward(MAX, dy, x, w, False, saved)


def adaptive_max_pool1d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`adaptive_max_pool2d` on (N, W, C)."""
    w = sizes_on("adaptive_max_pool1d", x, 1, output_size)
    return pool_extreme(MAX, x, w, False, return_indices, return_saved)


def adaptive_max_pool1d_backward(
    dy: Array, x: Array, output_size: OutputSize, *, saved: Array | None = None
) -> Array:
    """Gradient of :func:`adaptive_max_pool1d`; see :func:`max_pool2d_backward`."""
    w = sizes_on("adaptive_max_pool1d_backward", x, 1, output_size)
    return pool_extreme_backward(MAX, dy, x, w, False, saved)


def adaptive_max_pool3d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`adaptive_max_pool2d` on (N, D, H, W, C)."""
    w = sizes_on("adaptive_max_pool3d", x, 3, output_size)
    return pool_extreme(MAX, x, w, False, return_indices, return_saved)


def adaptive_max_pool3d_backward(
    dy: Array, x: Array, output_size: OutputSize, *, saved: Array | None = None
) -> Array:
    """Gradient of :func:`adaptive_max_pool3d`; see :func:`max_pool2d_backward`."""
    w = sizes_on("adaptive_max_pool3d_backward", x, 3, output_size)
    return pool_extreme_backward(MAX, dy, x, w, False, saved)


def adaptive_min_pool2d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """Smallest element of each of ``output_size`` equal parts of the input.

    Args:
        x: (N, H, W, C).
        output_size: As in :func:`adaptive_avg_pool2d`.
        return_indices: Also return where it was, as in :func:`max_pool2d`.
        return_saved: Also return what backward needs.

    Returns:
        y (N, OH, OW, C); or ``(y, indices)``, ``(y, saved)``, ``(y, indices, saved)``.
    """
    w = sizes_on("adaptive_min_pool2d", x, 2, output_size)
    return pool_extreme(MIN, x, w, False, return_indices, return_saved)


def adaptive_min_pool2d_backward(
    dy: Array, x: Array, output_size: OutputSize, *, saved: Array | None = None
) -> Array:
    """Gradient of :func:`adaptive_min_pool2d`; see :func:`max_pool2d_backward`."""
    w = sizes_on("adaptive_min_pool2d_backward", x, 2, output_size)
    return pool_extreme_backward(MIN, dy, x, w, False, saved)


def adaptive_min_pool1d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`adaptive_min_pool2d` on (N, W, C)."""
    w = sizes_on("adaptive_min_pool1d", x, 1, output_size)
    return pool_extreme(MIN, x, w, False, return_indices, return_saved)


def adaptive_min_pool1d_backward(
    dy: Array, x: Array, output_size: OutputSize, *, saved: Array | None = None
) -> Array:
    """Gradient of :func:`adaptive_min_pool1d`; see :func:`max_pool2d_backward`."""
    w = sizes_on("adaptive_min_pool1d_backward", x, 1, output_size)
    return pool_extreme_backward(MIN, dy, x, w, False, saved)


def adaptive_min_pool3d(
    x: Array,
    output_size: OutputSize,
    *,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`adaptive_min_pool2d` on (N, D, H, W, C)."""
    w = sizes_on("adaptive_min_pool3d", x, 3, output_size)
    return pool_extreme(MIN, x, w, False, return_indices, return_saved)


def adaptive_min_pool3d_backward(
    dy: Array, x: Array, output_size: OutputSize, *, saved: Array | None = None
) -> Array:
    """Gradient of :func:`adaptive_min_pool3d`; see :func:`max_pool2d_backward`."""
    w = sizes_on("adaptive_min_pool3d_backward", x, 3, output_size)
    return pool_extreme_backward(MIN, dy, x, w, False, saved)
