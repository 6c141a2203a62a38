"""Softmax, its logarithm, and the gated linear unit.

Arrays are contiguous float32 or float64; ``TypeError`` for another dtype, ``ValueError`` for other
strides or an axis that is not there.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]


def softmax(x: Array, axis: int = -1) -> Array:
    """``exp(x - max) / sum(exp(x - max))`` along an axis.

    A line that holds NaN or +inf, or nothing but -inf, is NaN throughout, as in PyTorch.
    """
    return _C.softmax_forward(x, axis, False)


def softmax_backward(dy: Array, y: Array, *, axis: int = -1) -> Array:
    """Gradient of :func:`softmax` from its result: ``dx = y (dy - sum(dy y))``."""
    return _C.softmax_backward(dy, y, axis, False)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """Logarithm of :func:`softmax`, exact also where that underflows."""
    return _C.softmax_forward(x, axis, True)


def log_softmax_backward(dy: Array, y: Array, *, axis: int = -1) -> Array:
    """Gradient of :func:`log_softmax` from its result: ``dx = dy - exp(y) sum(dy)``."""
    return _C.softmax_backward(dy, y, axis, True)


def glu(x: Array, axis: int = -1) -> Array:
    """Gated linear unit: ``a * sigmoid(b)`` of the two halves of ``x`` along an axis.

    Dauphin et al. (2017).

    Raises:
        ValueError: An odd number of elements along the axis.
    """
    return _C.glu_forward(x, axis)


def glu_backward(dy: Array, x: Array, *, axis: int = -1) -> Array:
    """Gradient of :func:`glu`, of the shape of ``x``."""
    return _C.glu_backward(dy, x, axis)
