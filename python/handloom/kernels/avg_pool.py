"""Average and power-average (Lp) pooling, forward and backward.

Arrays are contiguous float32 or float64, channels last; errors as in :mod:`.pool`.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls.pooling import AVG, LP, divisor_of, power_of, window_on
from .._calls.window import Padding, Sizes

Array = npt.NDArray[Any]


def avg_pool2d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Mean under a sliding window. Keras: ``AveragePooling2D``.

    Args:
        x: (N, H, W, C).
        kernel_size: An int, or one per spatial axis.
        stride: The same; default ``kernel_size``.
        padding: Of zeros: an int, one per axis, a ``(before, after)`` pair per axis, or
            ``"valid"``, ``"same"``, ``"full"``. At most ``dilation * (kernel_size - 1)`` on a side.
        dilation: Distance of the elements under the window.
        ceil_mode: Also take a last window that sticks out behind the padding, if it begins inside
            the input or in the padding before it. What sticks out is not counted.
        count_include_pad: Whether padding counts as elements (Keras: no).
        divisor_override: Divide the sum by this instead of the number of elements.

    Returns:
        y (N, OH, OW, C).
    """
    w = window_on("avg_pool2d", x, 2, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool2d", divisor_override)
    return _C.pool_forward(AVG, x, w, ceil_mode, count_include_pad, divisor, False)


def avg_pool2d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Gradient of :func:`avg_pool2d`.

    Args:
        dy: (N, OH, OW, C).
        x: (N, H, W, C); only its shape is looked at.
        kernel_size: As in :func:`avg_pool2d`, like the other options.
        stride: The same.
        padding: The same.
        dilation: The same.
        ceil_mode: The same.
        count_include_pad: The same.
        divisor_override: The same.

    Returns:
        dx, of the shape of ``x``.
    """
    w = window_on("avg_pool2d_backward", x, 2, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool2d_backward", divisor_override)
    return _C.pool_backward(AVG, dy, x.shape, w, ceil_mode, count_include_pad, divisor, None)


def avg_pool1d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """:func:`avg_pool2d` on (N, W, C). Also takes the padding ``"causal"``."""
    w = window_on("avg_pool1d", x, 1, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool1d", divisor_override)
    return _C.pool_forward(AVG, x, w, ceil_mode, count_include_pad, divisor, False)


def avg_pool1d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Gradient of :func:`avg_pool1d`; see :func:`avg_pool2d_backward`."""
    w = window_on("avg_pool1d_backward", x, 1, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool1d_backward", divisor_override)
    return _C.pool_backward(AVG, dy, x.shape, w, ceil_mode, count_include_pad, divisor, None)


def avg_pool3d(
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """:func:`avg_pool2d` on (N, D, H, W, C)."""
    w = window_on("avg_pool3d", x, 3, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool3d", divisor_override)
    return _C.pool_forward(AVG, x, w, ceil_mode, count_include_pad, divisor, False)


def avg_pool3d_backward(
    dy: Array,
    x: Array,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Gradient of :func:`avg_pool3d`; see :func:`avg_pool2d_backward`."""
    w = window_on("avg_pool3d_backward", x, 3, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool3d_backward", divisor_override)
    return _C.pool_backward(AVG, dy, x.shape, w, ceil_mode, count_include_pad, divisor, None)


def lp_pool2d(
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """p-th root of the sum of p-th powers under a sliding window: ``(sum x^p)^(1/p)``.

    ``p = 1`` sums, a large p comes near the maximum of ``|x|``. Powers keep their sign, so with an
    odd p a negative sum has no root and is NaN, as in PyTorch. Where ``ceil_mode`` cuts a window,
    its mean stands for the whole of it.

    Args:
        x: (N, H, W, C).
        norm_type: p, above 0.
        kernel_size: An int, or one per spatial axis.
        stride: The same; default ``kernel_size``.
        padding: As in :func:`avg_pool2d`.
        dilation: Distance of the elements under the window.
        ceil_mode: As in :func:`avg_pool2d`.

    Returns:
        y (N, OH, OW, C).
    """
    w = window_on("lp_pool2d", x, 2, kernel_size, stride, padding, dilation)
    return _C.pool_forward(LP, x, w, ceil_mode, True, power_of("lp_pool2d", norm_type), False)


def lp_pool2d_backward(
    dy: Array,
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    y: Array | None = None,
) -> Array:
    """Gradient of :func:`lp_pool2d`: ``x^(p-1) sum(dy y^(1-p))``, 0 from where y is 0.

    Args:
        dy: (N, OH, OW, C).
        x: (N, H, W, C).
        norm_type: As in :func:`lp_pool2d`, like the other options.
        kernel_size: The same.
        stride: The same.
        padding: The same.
        dilation: The same.
        ceil_mode: The same.
        y: The result of forward; computed again if not given.

    Returns:
        dx, of the shape of ``x``.
    """
    w = window_on("lp_pool2d_backward", x, 2, kernel_size, stride, padding, dilation)
    p = power_of("lp_pool2d_backward", norm_type)
    if y is None:
        y = _C.pool_forward(LP, x, w, ceil_mode, True, p, False)
    return _C.pool_backward(LP, dy, x.shape, w, ceil_mode, True, p, (x, y))


def lp_pool1d(
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """:func:`lp_pool2d` on (N, W, C). Also takes the padding ``"causal"``."""
    w = window_on("lp_pool1d", x, 1, kernel_size, stride, padding, dilation)
    return _C.pool_forward(LP, x, w, ceil_mode, True, power_of("lp_pool1d", norm_type), False)


def lp_pool1d_backward(
    dy: Array,
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    y: Array | None = None,
) -> Array:
    """Gradient of :func:`lp_pool1d`; see :func:`lp_pool2d_backward`."""
    w = window_on("lp_pool1d_backward", x, 1, kernel_size, stride, padding, dilation)
    p = power_of("lp_pool1d_backward", norm_type)
    if y is None:
        y = _C.pool_forward(LP, x, w, ceil_mode, True, p, False)
    return _C.pool_backward(LP, dy, x.shape, w, ceil_mode, True, p, (x, y))


def lp_pool3d(
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """:func:`lp_pool2d` on (N, D, H, W, C)."""
    w = window_on("lp_pool3d", x, 3, kernel_size, stride, padding, dilation)
    return _C.pool_forward(LP, x, w, ceil_mode, True, power_of("lp_pool3d", norm_type), False)


def lp_pool3d_backward(
    dy: Array,
    x: Array,
    norm_type: float,
    kernel_size: Sizes,
    *,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    y: Array | None = None,
) -> Array:
    """Gradient of :func:`lp_pool3d`; see :func:`lp_pool2d_backward`."""
    w = window_on("lp_pool3d_backward", x, 3, kernel_size, stride, padding, dilation)
    p = power_of("lp_pool3d_backward", norm_type)
    if y is None:
        y = _C.pool_forward(LP, x, w, ceil_mode, True, p, False)
    return _C.pool_backward(LP, dy, x.shape, w, ceil_mode, True, p, (x, y))
