"""Reductions over any axes, running sums, sorting.

Arrays are float32 or float64 and may have any strides. ``axis`` is None (all), an int or a tuple;
``keepdims`` leaves the reduced axes as size 1, as in NumPy. NaN takes part: one NaN makes a sum, a
maximum or a norm NaN, and is where ``argmax`` points to. Short stretches are summed in the array's
own dtype, those in double (``csrc/ops/reduce/reduce.h``).

Every function raises ``TypeError`` for anything but a float32 or float64 array, ``ValueError`` for
an axis that is not there.

The backward functions take ``dy`` in the result's shape, with or without the axes of size 1, and
return ``dx`` in the shape of ``x``.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy.typing as npt

from .. import _C
from .._calls import power_norm

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None

_OPS = _C.reduce_ops
_SUM, _MEAN, _PROD, _MAX, _MIN = (_OPS[name] for name in ("sum", "mean", "prod", "max", "min"))
_VAR, _STD, _LOGSUMEXP = (_OPS[name] for name in ("var", "std", "logsumexp"))
_ARGMAX, _ARGMIN = _C.arg_ops["argmax"], _C.arg_ops["argmin"]


def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum of elements; 0 for none."""
    return _C.reduce_forward(_SUM, x, axis, keepdims, 0.0)


def sum_backward(dy: Array, x: Array | tuple[int, ...], *, axis: Axis = None) -> Array:
    """Gradient of :func:`sum`: ``dx = dy``, repeated.

    ``x`` may be given as its shape alone.
    """
    return _C.reduce_backward(_SUM, dy, x, None, axis, 0.0)


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Mean of elements; NaN for none."""
    return _C.reduce_forward(_MEAN, x, axis, keepdims, 0.0)


def mean_backward(dy: Array, x: Array | tuple[int, ...], *, axis: Axis = None) -> Array:
    """Gradient of :func:`mean`: ``dx = dy / n``. ``x`` may be given as its shape alone."""
    return _C.reduce_backward(_MEAN, dy, x, None, axis, 0.0)


def var(x: Array, axis: Axis = None, keepdims: bool = False, *, ddof: int = 0) -> Array:
    """Variance: squared deviations from the mean over ``n - ddof``.

    Two passes over blocks that stay in cache, blocks merged after Chan, Golub and LeVeque (1983):
    exact to rounding however large the mean.

    Args:
        x: Float array.
        axis: Axes to reduce.
        keepdims: Whether they stay as size 1.
        ddof: 0 for the population's variance (NumPy's default and Keras'), 1 for the unbiased
            estimate (PyTorch's default, its ``correction``).

    Returns:
        The variance; NaN where ``n - ddof <= 0`` leaves nothing to divide by.
    """
    return _C.reduce_forward(_VAR, x, axis, keepdims, ddof)


def var_backward(dy: Array, x: Array, *, axis: Axis = None, ddof: int = 0) -> Array:
    """Gradient of :func:`var`: ``dx = 2 dy (x - mean) / (n - ddof)``."""
    return _C.reduce_backward(_VAR, dy, x, None, axis, ddof)


def std(x: Array, axis: Axis = None, keepdims: bool = False, *, ddof: int = 0) -> Array:
    """Standard deviation, the root of :func:`var`."""
    return _C.reduce_forward(_STD, x, axis, keepdims, ddof)


def std_backward(dy: Array, x: Array, y: Array, *, axis: Axis = None, ddof: int = 0) -> Array:
    """Gradient of :func:`std`: ``dx = dy (x - mean) / ((n - ddof) y)``, 0 where ``y`` is 0."""
    return _C.reduce_backward(_STD, dy, x, y, axis, ddof)


def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest element; NaN if there is one, ``ValueError`` for none (PyTorch: ``amax``)."""
    return _C.reduce_forward(_MAX, x, axis, keepdims, 0.0)


def max_backward(dy: Array, x: Array, y: Array, *, axis: Axis = None) -> Array:
    """Gradient of :func:`max`: ``dy`` in equal shares to all elements that equal ``y``."""
    return _C.reduce_backward(_MAX, dy, x, y, axis, 0.0)


def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest element; NaN if there is one, ``ValueError`` for none (PyTorch: ``amin``)."""
    return _C.reduce_forward(_MIN, x, axis, keepdims, 0.0)


def min_backward(dy: Array, x: Array, y: Array, *, axis: Axis = None) -> Array:
    """Gradient of :func:`min`: ``dy`` in equal shares to all elements that equal ``y``."""
    return _C.reduce_backward(_MIN, dy, x, y, axis, 0.0)


def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Product of elements; 1 for none."""
    return _C.reduce_forward(_PROD, x, axis, keepdims, 0.0)


def prod_backward(dy: Array, x: Array, *, axis: Axis = None) -> Array:
    """Gradient of :func:`prod`: ``dy`` times the product of the other elements, zeros included."""
    return _C.reduce_backward(_PROD, dy, x, None, axis, 0.0)


def norm(x: Array, axis: Axis = None, keepdims: bool = False, *, ord: float = 2.0) -> Array:
    """Vector norm over the axes, also over several (PyTorch: ``linalg.vector_norm``).

    Args:
        x: Float array.
        axis: Axes to reduce.
        keepdims: Whether they stay as size 1.
        ord: Any p of ``sum(|x|^p)^(1/p)``; ``inf`` is the largest magnitude, ``-inf`` the smallest,
            0 how many are not 0. 0, 1, 2 and the infinite ones are one pass, others are four.

    Raises:
        ValueError: ``ord`` is NaN, or there are no elements where it is infinite.
    """
    return power_norm.norm(x, axis, keepdims, float(ord))


def norm_backward(dy: Array, x: Array, y: Array, *, axis: Axis = None, ord: float = 2.0) -> Array:
    """Gradient of :func:`norm`: for ``ord`` 2 ``dx = dy x / y``, 0 where ``y`` is 0.

    For 1 ``dy`` times the sign of ``x``; for infinite ``ord`` that in equal shares to all elements
    of magnitude ``y``; for 0 nothing; for any other ``dy sign(x) (|x| / y)^(ord - 1)``, 0 where
    ``x`` is 0.
    """
    return power_norm.norm_backward(dy, x, y, axis, float(ord))


def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """``log(sum(exp(x)))`` without overflow; ``-inf`` for no elements."""
    return _C.reduce_forward(_LOGSUMEXP, x, axis, keepdims, 0.0)


def logsumexp_backward(dy: Array, x: Array, y: Array, *, axis: Axis = None) -> Array:
    """Gradient of :func:`logsumexp`: ``dx = dy exp(x - y)``, a softmax."""
    return _C.reduce_backward(_LOGSUMEXP, dy, x, y, axis, 0.0)


def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first largest element, or of the first NaN.

    Args:
        x: Float array.
        axis: One axis, or None for the index into the flattened array.
        keepdims: Whether the reduced axes stay as size 1.

    Returns:
        int64 indices.

    Raises:
        ValueError: No elements along the axis.
    """
    return _C.argreduce(_ARGMAX, x, axis, keepdims)


def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index of the first smallest element, or of the first NaN; see :func:`argmax`."""
    return _C.argreduce(_ARGMIN, x, axis, keepdims)


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum ``x`` down to ``shape``, of which its own shape is a broadcast.

    The gradient of broadcasting. ``x`` itself comes back where there is nothing to sum.

    Raises:
        ValueError: ``x.shape`` is no broadcast of ``shape``.
    """
    return _C.sum_to(x, shape)


def cumsum(x: Array, axis: int = -1) -> Array:
    """Sums from the start of an axis up to and including each element, summed in double."""
    return _C.cumsum(x, axis)


def cumsum_backward(dy: Array, *, axis: int = -1) -> Array:
    """Gradient of :func:`cumsum`: the same sums from the end of the axis."""
    return _C.cumsum(dy, axis, True)


def _axis(op: str, axis: int) -> int:
    try:
        return operator.index(axis)
    except TypeError:
        raise TypeError(f"{op}: axis is {axis!r}, expected an int") from None


def sort(x: Array, axis: int = -1, descending: bool = False) -> tuple[Array, Array]:
    """Sort along an axis, stable in either direction.

    NaN counts as the largest number and -0 equals 0, as in PyTorch.

    Returns:
        ``(values, indices)``, both of the shape of ``x``; ``indices`` is int64.
    """
    return _C.sort(x, _axis("sort", axis), descending)


def topk(x: Array, k: int, axis: int = -1, largest: bool = True) -> tuple[Array, Array]:
    """The first ``k`` of :func:`sort`, the largest first (or the smallest).

    Returns:
        ``(values, indices)`` with ``k`` elements along the axis; ``indices`` is int64.

    Raises:
        ValueError: ``k`` is negative or more than there are.
    """
    return _C.topk(x, k, _axis("topk", axis), largest)


def sort_backward(dy: Array, indices: Array, size: int, *, axis: int = -1) -> Array:
    """Gradient of the values of :func:`sort` and :func:`topk`.

    Args:
        dy: Gradient of ``values``, contiguous.
        indices: The ``indices`` that came with them.
        size: How many elements ``x`` has along the axis.
        axis: The axis.

    Returns:
        ``dx``, with ``size`` elements along the axis; 0 where nothing was taken.

    Raises:
        ValueError: Shapes that differ, or an index out of range.
    """
    return _C.sort_backward(dy, indices, axis, size)
