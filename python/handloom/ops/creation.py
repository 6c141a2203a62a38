"""Tensors from nothing: zeros, ones, ranges."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from handloom.ops._common import Scalar, TensorLike, array_of, sizes_of
from handloom.tensor import FLOATS, DTypeLike, Tensor, as_dtype, check_device, wrap

_MOST = (1 << 63) // 8  # elements of 8 bytes that a signed 64-bit count of bytes can tell


def _made(array: np.ndarray[Any, Any], requires_grad: bool, device: object) -> Tensor:
    check_device(device, "tensor")
    out = wrap(array)
    if requires_grad:
        out.requires_grad = True
    return out


def _sizes(shape: tuple[Any, ...], op: str) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(n) for n in sizes_of(shape))
    except TypeError:
        raise TypeError(f"{op}: the shape is {shape}, expected integers") from None
    if min(sizes, default=0) < 0:
        raise ValueError(f"{op}: shape {sizes} has a negative size")
    if math.prod(n or 1 for n in sizes) > _MOST:  # NumPy counts so too
        raise ValueError(f"{op}: shape {sizes} has more elements than can be counted")
    return sizes


def _dtype(dtype: DTypeLike, op: str) -> np.dtype[Any]:
    return FLOATS[0] if dtype is None else as_dtype(dtype, op)


def zeros(
    *shape: Any, dtype: DTypeLike = None, requires_grad: bool = False, device: object = None
) -> Tensor:
    """Zeros, float32 unless dtype says otherwise: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _made(np.zeros(_sizes(shape, "zeros"), _dtype(dtype, "zeros")), requires_grad, device)


def ones(
    *shape: Any, dtype: DTypeLike = None, requires_grad: bool = False, device: object = None
) -> Tensor:
    """Ones, float32 unless dtype says otherwise."""
    return _made(np.ones(_sizes(shape, "ones"), _dtype(dtype, "ones")), requires_grad, device)


def full(
    shape: Any,
    value: Scalar,
    dtype: DTypeLike = None,
    requires_grad: bool = False,
    device: object = None,
) -> Tensor:
    """`value` everywhere; float32 for a float, int64 for an int, bool for a bool."""
    if dtype is None:
        kind = np.asarray(value).dtype.kind
        dtype = {"f": np.float32, "b": np.bool_}.get(kind, np.int64)
    array = np.full(_sizes((shape,), "full"), value, as_dtype(dtype, "full"))
    return _made(array, requires_grad, device)


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike = None
) -> Tensor:
    """start, start + step, … below stop; int64 if all are integers, else float32."""
    if step == 0:
        raise ValueError("arange: step is 0")
    if stop is None:
        start, stop = 0, start
    if dtype is None:
        whole = all(isinstance(v, (int, np.integer)) for v in (start, stop, step))
        dtype = np.int64 if whole else np.float32
    return wrap(np.arange(start, stop, step).astype(as_dtype(dtype, "arange")))


def linspace(start: float, stop: float, steps: int, dtype: DTypeLike = None) -> Tensor:
    """`steps` numbers from start to stop, both included."""
    return wrap(np.linspace(start, stop, steps).astype(_dtype(dtype, "linspace")))


def eye(n: int, m: int | None = None, dtype: DTypeLike = None) -> Tensor:
    """Ones on the diagonal, zeros elsewhere: (n, m), or (n, n)."""
    return wrap(np.eye(n, m, dtype=_dtype(dtype, "eye")))


def zeros_like(x: TensorLike, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Zeros of x's shape and dtype."""
    a = array_of(x)
    return _made(
        np.zeros_like(a, as_dtype(dtype or a.dtype, "zeros_like"), "C"), requires_grad, None
    )


def ones_like(x: TensorLike, dtype: DTypeLike = None, requires_grad: bool = False) -> Tensor:
    """Ones of x's shape and dtype."""
    a = array_of(x)
    return _made(np.ones_like(a, as_dtype(dtype or a.dtype, "ones_like"), "C"), requires_grad, None)


def full_like(x: TensorLike, value: Scalar, dtype: DTypeLike = None) -> Tensor:
    """`value` in x's shape and dtype."""
    a = array_of(x)
    return wrap(np.full_like(a, value, as_dtype(dtype or a.dtype, "full_like"), "C"))
