"""What pools share: their arguments, read once, and the two steps of max and min."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from operator import index
from typing import Any, Union

import numpy.typing as npt

from .. import _C
from .window import AXES, Padding, Sizes, Window, per_axis, window

Array = npt.NDArray[Any]
OutputSize = Union[int, Sequence[Union[int, None]], None]  # noqa: UP007  evaluated on Python 3.10

MAX: int = _C.pool_kinds["max"]
MIN: int = _C.pool_kinds["min"]
AVG: int = _C.pool_kinds["avg"]
LP: int = _C.pool_kinds["lp"]


def window_on(
    op: str,
    x: Any,
    dims: int,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
) -> Window:
    """The window of a pool over ``dims`` spatial axes of ``x``."""
    size = getattr(x, "shape", ())[1:-1]
    if len(size) != dims:
        size = (1,) * dims  # the binding tells what is wrong with x
    return window(op, size, kernel_size, stride, padding, dilation)


def sizes_on(op: str, x: Any, dims: int, output_size: OutputSize) -> tuple[int, ...]:
    """One output size for each of ``dims`` axes; None keeps the size of ``x``."""
    size = getattr(x, "shape", ())[1:-1]
    if len(size) != dims:
        size = (1,) * dims  # the binding tells what is wrong with x
    try:
        return _sizes(op, size, output_size)
    except TypeError:  # a list cannot be looked up; or it is the user's error, raised again here
        return _sizes.__wrapped__(op, size, output_size)


@lru_cache(maxsize=256, typed=True)
def _sizes(op: str, size: tuple[int, ...], output_size: OutputSize) -> tuple[int, ...]:
    n = len(size)
    several = isinstance(output_size, Sequence) and not isinstance(output_size, (str, bytes))
    given: Any = output_size if several else (output_size,) * n
    expected = f"an int, None, or {n} of them ({', '.join(AXES[n])})"
    if len(given) != n:
        raise ValueError(f"{op}: output_size is {output_size!r}, expected {expected}")
    try:
        out = tuple(have if want is None else index(want) for want, have in zip(given, size))
    except TypeError:
        raise TypeError(f"{op}: output_size is {output_size!r}, expected {expected}") from None
    for want, got in zip(given, out):
        if want is not None and got < 1:
            raise ValueError(f"{op}: output_size is {output_size!r}, expected at least 1")
    return out


def divisor_of(op: str, divisor_override: int | None) -> float:
    """The divisor as the binding takes it, 0 for the number of elements."""
    if divisor_override is None:
        return 0.0
    if isinstance(divisor_override, float):
        raise TypeError(f"{op}: divisor_override is {divisor_override}, expected an int or None")
    if divisor_override == 0:
        raise ValueError(f"{op}: divisor_override is 0, expected another number or None")
    return float(divisor_override)


def power_of(op: str, norm_type: float) -> float:
    """p as a float, if it is one that has a root."""
    p = float(norm_type)
    if not (isfinite(p) and p > 0):
        raise ValueError(f"{op}: norm_type is {norm_type}, expected a finite number above 0")
    return p


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


def pool_extreme(
    kind: int, x: Array, w: Any, ceil_mode: bool, return_indices: bool, return_saved: bool
) -> Any:
    """``y``, followed by the indices and the saved winners where they are asked for."""
    if not (return_indices or return_saved):
        return _C.pool_forward(kind, x, w, ceil_mode, False, 0.0, False)
    y, saved = _C.pool_forward(kind, x, w, ceil_mode, False, 0.0, True)
    if not return_indices:
        return y, saved
    indices = _C.pool_indices(kind, saved, x.shape, w, ceil_mode)
    return (y, indices, saved) if return_saved else (y, indices)


def pool_extreme_backward(
    kind: int, dy: Array, x: Array, w: Any, ceil_mode: bool, saved: Array | None
) -> Array:
    """``dy`` sent to the winners, which are found again if they were not saved."""
    if saved is None:
        _, saved = _C.pool_forward(kind, x, w, ceil_mode, False, 0.0, True)
    return _C.pool_backward(kind, dy, x.shape, w, ceil_mode, False, 0.0, saved)
