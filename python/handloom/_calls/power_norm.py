"""The p-norm for any p, (Σ|x|ᵖ)^(1/p), of other kernels; 0, 1, 2 and ±inf have one of their own."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from handloom import _C
from handloom._device_array import ARRAYS

Array = npt.NDArray[Any]
Axes = int | tuple[int, ...] | None

OWN = (0.0, 1.0, 2.0, math.inf, -math.inf)  # what the reduction kernel itself knows

_NORM, _SUM = _C.reduce_ops["norm"], _C.reduce_ops["sum"]
_ABS, _SIGN, _POW = (_C.unary_ops[name] for name in ("abs", "sign", "pow_scalar"))
_MUL, _DIV = _C.binary_ops["mul"], _C.binary_ops["div"]
_EQ = _C.compare_ops["eq"]


def norm(x: Array, axes: Axes, keepdims: bool, p: float) -> Array:
    """(Σ|x|ᵖ)^(1/p) over the axes."""
    if p in OWN:
        return _C.reduce_forward(_NORM, x, axes, keepdims, p)
    if math.isnan(p):
        raise ValueError("norm: the order is nan, expected a number")
    powers = _C.unary_forward(_ABS, x, 0.0, 0.0, None)
    _C.unary_forward(_POW, powers, p, 0.0, powers)
    total = _C.reduce_forward(_SUM, powers, axes, keepdims, 0.0)
    return _C.unary_forward(_POW, total, 1 / p, 0.0, total)


def norm_backward(dy: Array, x: Array, y: Array, axes: Axes, p: float) -> Array:
    """dx = dy sign x (|x|/y)^(p−1), 0 where x is 0; dy and y with or without axes of size 1."""
    if p in OWN:
        return _C.reduce_backward(_NORM, dy, x, y, axes, p)
    kept = _with_ones(x.shape, axes)
    for name, array in (("dy", dy), ("x", x), ("y", y)):
        if not isinstance(array, ARRAYS):
            came = type(array).__name__
            raise TypeError(f"norm_backward: {name} is a {came}, expected a numpy.ndarray")
    ratio = _C.unary_forward(_ABS, x, 0.0, 0.0, None)
    _C.binary_forward(_DIV, ratio, y.reshape(kept), ratio)
    _C.unary_forward(_POW, ratio, p - 1, 0.0, ratio)
    _C.binary_forward(_MUL, ratio, _C.unary_forward(_SIGN, x, 0.0, 0.0, None), ratio)
    _C.binary_forward(_MUL, ratio, dy.reshape(kept), ratio)
    return _C.where(_C.compare(_EQ, x, 0.0), 0.0, ratio)


def _with_ones(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The result's shape with the reduced axes as 1."""
    if axes is None:
        return (1,) * len(shape)
    gone = {axes % len(shape)} if isinstance(axes, int) else {a % len(shape) for a in axes}
    return tuple(1 if i in gone else n for i, n in enumerate(shape))
