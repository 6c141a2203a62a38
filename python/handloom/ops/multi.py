"""One kernel call over many arrays at once: norms, scaling, limits, moving averages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from handloom import _C
from handloom._calls import power_norm
from handloom._device_array import index_of, place
from handloom.tensor import Array, Tensor


def total_norm(arrays: Sequence[Array], order: float = 2.0) -> float:
    """The norm of all elements of all arrays together.

    Raises:
        ValueError: order is not above 0.
    """
    if not order > 0:
        raise ValueError(f"norm: the order is {order}, expected more than 0")
    if order in (1, 2, math.inf):
        norm: float = _C.multi_norm(list(arrays), float(order))
        return norm
    each = [float(power_norm.norm(a, None, False, order)) for a in arrays]
    return math.fsum(n**order for n in each) ** (1 / order) if each else 0.0


def scale_(arrays: Sequence[Array], factor: float) -> None:
    """Multiplies every element in place."""
    _C.multi_scale(list(arrays), float(factor))


def clamp_(arrays: Sequence[Array], low: float, high: float) -> None:
    """Limits every element in place."""
    _C.multi_clamp(list(arrays), float(low), float(high))


def lerp_(targets: Sequence[Array], sources: Sequence[Array], weight: float) -> None:
    """target += weight·(source − target), in place: one step of a moving average."""
    _C.multi_lerp(list(targets), list(sources), float(weight))


def fill_(x: Tensor, value: float) -> Tensor:
    """Sets every element, in place."""
    _C.fill(x._array, value)
    x._version[0] += 1
    return x


def copy_(x: Tensor, source: Tensor | Array) -> Tensor:
    """Writes source (broadcast, converted, from any device) into x, in place."""
    array = source._array if isinstance(source, Tensor) else source
    if index_of(array) < 0 <= index_of(x._array) and x._array.flags.c_contiguous:
        host = np.broadcast_to(np.asarray(array, x._array.dtype), x.shape)
        _C.gpu.write(x._array, np.ascontiguousarray(host).reshape(x.shape))
        x._version[0] += 1
        return x
    array = place(array, index_of(x._array))
    if array.dtype != x._array.dtype:
        array = array.astype(x._array.dtype)
    _C.assign(x._array, array)
    x._version[0] += 1
    return x
