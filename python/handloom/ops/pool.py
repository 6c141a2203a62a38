"""Pooling: sliding, adaptive and global windows, and unpooling. Channels last."""

from __future__ import annotations

from typing import Any

from handloom import _C
from handloom._calls.pooling import AVG, LP, MAX, MIN, divisor_of, power_of, window_on
from handloom._calls.window import Padding, Sizes
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense
from handloom.tensor import Array, Tensor, wrap


class Pool(Function):
    """max and min keep the winners' numbers, a byte each; Lp keeps x and y; the mean nothing."""

    __slots__ = ("ceil_mode", "count_pad", "indices", "kind", "number", "shape", "window")
    fresh = True

    def forward(
        ctx,
        x: Array,
        kind: int,
        window: Any,
        ceil_mode: bool,
        count_pad: bool,
        number: float,
        return_indices: bool,
    ) -> Array:
        x = dense(x)
        ctx.kind, ctx.window, ctx.shape, ctx.ceil_mode = kind, window, x.shape, ceil_mode
        ctx.count_pad, ctx.number = count_pad, number
        keep = kind <= MIN and (return_indices or ctx.need != 0)
        y = _C.pool_forward(kind, x, window, ceil_mode, count_pad, number, keep)
        if keep:
            y, taps = y
            ctx.saved = (taps,)
            if return_indices:
                ctx.indices = _C.pool_indices(kind, taps, x.shape, window, ceil_mode)
        elif kind == LP:
            ctx.saved = (x, y)
        return y

    def backward(ctx, dy: Array) -> Array:
        saved: Any = ctx.saved  # (taps,), (x, y) or ()
        if ctx.kind <= MIN:
            (saved,) = saved
        return _C.pool_backward(
            ctx.kind,
            dense(dy),
            ctx.shape,
            ctx.window,
            ctx.ceil_mode,
            ctx.count_pad,
            ctx.number,
            saved,
        )


class Unpool(Function):
    """y[indices] = x; dx = dy[indices]."""

    __slots__ = ("size",)
    fresh = True

    def forward(ctx, x: Array, indices: Array, size: tuple[int, ...]) -> Array:
        ctx.size, ctx.saved = size, (indices,)
        return _C.unpool_forward(dense(x), indices, size)

    def backward(ctx, dy: Array) -> Array:
        return _C.unpool_backward(dense(dy), ctx.saved[0], ctx.size)


def extreme(kind: int, x: TensorLike, window: Any, ceil_mode: bool, return_indices: bool) -> Any:
    """A max or min pool of any window: y, or (y, indices)."""
    pool = Pool()
    y: Tensor = pool.run1(x, kind, window, ceil_mode, False, 0.0, return_indices)
    if not return_indices:
        return y
    indices = wrap(pool.indices)
    del pool.indices
    return y, indices


def max_pool2d(
    input: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element under a window that slides over (N, H, W, C).

    Args:
        input: (N, H, W, C).
        kernel_size: An int, or one per spatial axis.
        stride: The same; default `kernel_size`.
        padding: An int, one per axis, (before, after) pairs, or "valid", "same", "full" ("causal"
            in 1-D).
        dilation: Distance of the elements under the window.
        ceil_mode: Also take a last window that sticks out.
        return_indices: Also return h·W + w of each within its channel's plane, for `max_unpool2d`.
    """
    window = window_on("max_pool2d", array_of(input), 2, kernel_size, stride, padding, dilation)
    return extreme(MAX, input, window, ceil_mode, return_indices)


def max_pool1d(
    input: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element under a window that slides over (N, W, C); see `max_pool2d`."""
    window = window_on("max_pool1d", array_of(input), 1, kernel_size, stride, padding, dilation)
    return extreme(MAX, input, window, ceil_mode, return_indices)


def max_pool3d(
    input: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Largest element under a window that slides over (N, D, H, W, C); see `max_pool2d`."""
    window = window_on("max_pool3d", array_of(input), 3, kernel_size, stride, padding, dilation)
    return extreme(MAX, input, window, ceil_mode, return_indices)


def min_pool2d(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Smallest element under a window that slides over (N, H, W, C); see `max_pool2d`."""
    window = window_on("min_pool2d", array_of(x), 2, kernel_size, stride, padding, dilation)
    return extreme(MIN, x, window, ceil_mode, return_indices)


def min_pool1d(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Smallest element under a window that slides over (N, W, C); see `max_pool2d`."""
    window = window_on("min_pool1d", array_of(x), 1, kernel_size, stride, padding, dilation)
    return extreme(MIN, x, window, ceil_mode, return_indices)


def min_pool3d(
    x: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Smallest element under a window that slides over (N, D, H, W, C); see `max_pool2d`."""
    window = window_on("min_pool3d", array_of(x), 3, kernel_size, stride, padding, dilation)
    return extreme(MIN, x, window, ceil_mode, return_indices)


def avg_pool2d(
    input: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    dilation: Sizes = 1,
) -> Tensor:
    """Mean under a window that slides over (N, H, W, C).

    Args:
        input: (N, H, W, C).
        kernel_size: An int, or one per spatial axis.
        stride: The same; default `kernel_size`.
        padding: As in `max_pool2d`, with zeros.
        ceil_mode: Also take a last window that sticks out.
        count_include_pad: Whether the padding counts as elements.
        divisor_override: Divide by this instead of the number of elements.
        dilation: Distance of the elements under the window.
    """
    window = window_on("avg_pool2d", array_of(input), 2, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool2d", divisor_override)
    out: Tensor = Pool().run1(input, AVG, window, ceil_mode, count_include_pad, divisor, False)
    return out


def avg_pool1d(
    input: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    dilation: Sizes = 1,
) -> Tensor:
    """Mean under a window that slides over (N, W, C); see `avg_pool2d`."""
    window = window_on("avg_pool1d", array_of(input), 1, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool1d", divisor_override)
    out: Tensor = Pool().run1(input, AVG, window, ceil_mode, count_include_pad, divisor, False)
    return out


def avg_pool3d(
    input: TensorLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    dilation: Sizes = 1,
) -> Tensor:
    """Mean under a window that slides over (N, D, H, W, C); see `avg_pool2d`."""
    window = window_on("avg_pool3d", array_of(input), 3, kernel_size, stride, padding, dilation)
    divisor = divisor_of("avg_pool3d", divisor_override)
    out: Tensor = Pool().run1(input, AVG, window, ceil_mode, count_include_pad, divisor, False)
    return out


def lp_pool2d(
    input: TensorLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> Tensor:
    """(Σ xᵖ)^(1/p) under a window that slides over (N, H, W, C).

    Args:
        input: (N, H, W, C).
        norm_type: p, above 0.
        kernel_size: An int, or one per spatial axis.
        stride: The same; default `kernel_size`.
        ceil_mode: Also take a last window that sticks out; its mean stands for the whole.
        padding: As in `max_pool2d`, with zeros.
        dilation: Distance of the elements under the window.
    """
    window = window_on("lp_pool2d", array_of(input), 2, kernel_size, stride, padding, dilation)
    p = power_of("lp_pool2d", norm_type)
    out: Tensor = Pool().run1(input, LP, window, ceil_mode, True, p, False)
    return out


def lp_pool1d(
    input: TensorLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> Tensor:
    """(Σ xᵖ)^(1/p) under a window that slides over (N, W, C); see `lp_pool2d`."""
    window = window_on("lp_pool1d", array_of(input), 1, kernel_size, stride, padding, dilation)
    p = power_of("lp_pool1d", norm_type)
    out: Tensor = Pool().run1(input, LP, window, ceil_mode, True, p, False)
    return out


def lp_pool3d(
    input: TensorLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> Tensor:
    """(Σ xᵖ)^(1/p) under a window that slides over (N, D, H, W, C); see `lp_pool2d`."""
    window = window_on("lp_pool3d", array_of(input), 3, kernel_size, stride, padding, dilation)
    p = power_of("lp_pool3d", norm_type)
    out: Tensor = Pool().run1(input, LP, window, ceil_mode, True, p, False)
    return out
