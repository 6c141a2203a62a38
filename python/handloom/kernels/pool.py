"""Max and min pooling, forward and backward.

Arrays are contiguous float32 or float64, channels last. ``TypeError`` for another dtype,
``ValueError`` for a wrong number of axes, a window that does not fit the padded input, padding so
wide that a window would see nothing else, or an option that :mod:`._window` refuses.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .._calls.pooling import MAX, MIN, pool_extreme, pool_extreme_backward, window_on
from .._calls.window import Padding, Sizes

Array = npt.NDArray[Any]


def max_pool2d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """Largest element under a sliding window. Keras: ``MaxPooling2D``.

    ``y[o] = max x[o stride - before + j dilation]`` over ``0 <= j < kernel_size`` on each axis. NaN
    comes through; a tie goes to the first element, as in PyTorch.

    Args:
        x: (N, H, W, C).
        kernel_size: An int, or one per spatial axis.
        stride: The same; default ``kernel_size``.
        padding: Of -inf: an int, one per axis, a ``(before, after)`` pair per axis, or ``"valid"``,
            ``"same"``, ``"full"``. At most ``dilation * (kernel_size - 1)`` on a side.
        dilation: Distance of the elements under the window.
        ceil_mode: Also take a last window that sticks out behind the padding, if it begins inside
            the input or in the padding before it.
        return_indices: Also return where each maximum was: ``h * W + w`` (int64) within one
            channel's plane; -1 for a window that dilation leads past every element. What
            :func:`max_unpool2d` takes.
        return_saved: Also return what backward needs: the winners' numbers, a byte for each output.

    Returns:
        y (N, OH, OW, C); or ``(y, indices)``, ``(y, saved)``, ``(y, indices, saved)``.
    """
    w = window_on("max_pool2d", x, 2, kernel_size, stride, padding, dilation)
    return pool_extreme(MAX, x, w, ceil_mode, return_indices, return_saved)


def max_pool2d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`max_pool2d`: each ``dy`` goes to the element that won.

    Args:
        dy: (N, OH, OW, C).
        x: (N, H, W, C); with ``saved`` only its shape is looked at.
        kernel_size: As in :func:`max_pool2d`, like the other options.
        stride: The same.
        padding: The same.
        dilation: The same.
        ceil_mode: The same.
        saved: From ``return_saved=True``. Without it the winners are found again.

    Returns:
        dx, of the shape of ``x``.
    """
    w = window_on("max_pool2d_backward", x, 2, kernel_size, stride, padding, dilation)
    return pool_extreme_backward(MAX, dy, x, w, ceil_mode, saved)


def max_pool1d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`max_pool2d` on (N, W, C); indices are ``w``. Also takes the padding
    ``"causal"`` (all of it before).
    """
    w = window_on("max_pool1d", x, 1, kernel_size, stride, padding, dilation)
    return pool_extreme(MAX, x, w, ceil_mode, return_indices, return_saved)


def max_pool1d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`max_pool1d`; see :func:`max_pool2d_backward`."""
    w = window_on("max_pool1d_backward", x, 1, kernel_size, stride, padding, dilation)
    return pool_extreme_backward(MAX, dy, x, w, ceil_mode, saved)


def max_pool3d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`max_pool2d` on (N, D, H, W, C); indices are ``(d * H + h) * W + w``."""
    w = window_on("max_pool3d", x, 3, kernel_size, stride, padding, dilation)
    return pool_extreme(MAX, x, w, ceil_mode, return_indices, return_saved)


def max_pool3d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`max_pool3d`; see :func:`max_pool2d_backward`."""
    w = window_on("max_pool3d_backward", x, 3, kernel_size, stride, padding, dilation)
    return pool_extreme_backward(MAX, dy, x, w, ceil_mode, saved)


def min_pool2d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """Smallest element under a sliding window: :func:`max_pool2d` of ``-x``, negated."""
    w = window_on("min_pool2d", x, 2, kernel_size, stride, padding, dilation)
    return pool_extreme(MIN, x, w, ceil_mode, return_indices, return_saved)


def min_pool2d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`min_pool2d`; see :func:`max_pool2d_backward`."""
    w = window_on("min_pool2d_backward", x, 2, kernel_size, stride, padding, dilation)
    return pool_extreme_backward(MIN, dy, x, w, ceil_mode, saved)


def min_pool1d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`min_pool2d` on (N, W, C); indices are ``w``. Also takes the padding
    ``"causal"`` (all of it before).
    """
    w = window_on("min_pool1d", x, 1, kernel_size, stride, padding, dilation)
    return pool_extreme(MIN, x, w, ceil_mode, return_indices, return_saved)


def min_pool1d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`min_pool1d`; see :func:`max_pool2d_backward`."""
    w = window_on("min_pool1d_backward", x, 1, kernel_size, stride, padding, dilation)
    return pool_extreme_backward(MIN, dy, x, w, ceil_mode, saved)


def min_pool3d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    return_saved: bool = False,
) -> Any:
    """:func:`min_pool2d` on (N, D, H, W, C); indices are ``(d * H + h) * W + w``."""
    w = window_on("min_pool3d", x, 3, kernel_size, stride, padding, dilation)
    return pool_extreme(MIN, x, w, ceil_mode, return_indices, return_saved)


def min_pool3d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`min_pool3d`; see :func:`max_pool2d_backward`."""
    w = window_on("min_pool3d_backward", x, 3, kernel_size, stride, padding, dilation)
    return pool_extreme_backward(MIN, dy, x, w, ceil_mode, saved)
