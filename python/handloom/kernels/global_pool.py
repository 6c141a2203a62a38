"""Global pools: one number for each channel, over all spatial axes.

Arrays are contiguous float32 or float64: (N, W, C), (N, H, W, C) or (N, D, H, W, C).
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.pooling import AVG, MAX, MIN, pool_extreme_backward

Array = npt.NDArray[Any]


def _global(kind: int, x: Array, keepdims: bool) -> Array:
    y: Array = _C.pool_forward(kind, x, None, False, False, 0.0, False)
    return y if keepdims else y.reshape(y.shape[0], y.shape[-1])


def _kept(dy: Array, x: Array) -> Array:
    """``dy`` with its axes of size 1, if it is (N, C)."""
    if dy.ndim != 2 or x.ndim < 2:
        return dy
    return dy.reshape((dy.shape[0], *(1,) * (x.ndim - 2), dy.shape[1]))


def global_avg_pool(x: Array, *, keepdims: bool = False) -> Array:
    """Mean over all spatial axes. PyTorch: ``adaptive_avg_pool2d(1)``.

    Keras: ``GlobalAveragePooling2D``.

    Args:
        x: (N, W, C), (N, H, W, C) or (N, D, H, W, C).
        keepdims: Keep the spatial axes, with size 1.

    Returns:
        (N, C).

    Raises:
        TypeError: Another dtype.
        ValueError: Another number of axes, or an empty spatial axis.
    """
    return _global(AVG, x, keepdims)


def global_avg_pool_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`global_avg_pool`: ``dy / (H W)`` everywhere.

    Args:
        dy: (N, C), or with spatial axes of size 1.
        x: Only its shape is looked at.
    """
    return _C.pool_backward(AVG, _kept(dy, x), x.shape, None, False, False, 0.0, None)


def global_max_pool(x: Array, *, keepdims: bool = False) -> Array:
    """Largest element over all spatial axes. Keras: ``GlobalMaxPooling2D``.

    See :func:`global_avg_pool`.
    """
    return _global(MAX, x, keepdims)


def global_max_pool_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`global_max_pool`: ``dy`` goes to the first of the largest elements."""
    return pool_extreme_backward(MAX, _kept(dy, x), x, None, False, None)


def global_min_pool(x: Array, *, keepdims: bool = False) -> Array:
    """Smallest element over all spatial axes; see :func:`global_avg_pool`."""
    return _global(MIN, x, keepdims)


def global_min_pool_backward(dy: Array, x: Array) -> Array:
    """Gradient of :func:`global_min_pool`: ``dy`` goes to the first of the smallest elements."""
    return pool_extreme_backward(MIN, _kept(dy, x), x, None, False, None)
