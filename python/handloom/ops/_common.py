"""What the operations share: argument types, axes, reductions by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from handloom import _C
from handloom.tensor import FLOATS, Array, Tensor

TensorLike = Union[Tensor, Array]  # noqa: UP007  evaluated at run time on Python 3.10
Scalar = Union[int, float, bool, np.generic]  # noqa: UP007
Dim = Union[int, Sequence[int], None]  # noqa: UP007

REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def array_of(x: TensorLike) -> Array:
    """The array of a tensor; an array itself."""
    return x._array if isinstance(x, Tensor) else x


def shape_of(op: str, x: Any, name: str = "x") -> tuple[int, ...]:
    """The shape of a tensor or an array.

    Raises:
        TypeError: It is neither.
    """
    shape = getattr(x, "shape", None)
    if not isinstance(shape, tuple):
        raise TypeError(f"{op}: {name} is a {type(x).__name__}, expected a Tensor or an array")
    return shape


def dense(a: Array) -> Array:
    """a itself if it is contiguous, else a contiguous copy (the `copy` of the profile)."""
    try:
        return a if a.flags.c_contiguous else _C.copy(a, None)
    except AttributeError:
        return a  # no array: the kernel says so


def is_float(a: Array) -> bool:
    return a.dtype in FLOATS


def axis_of(dim: int, ndim: int, op: str) -> int:
    """dim as 0 ≤ axis < ndim; a tensor without axes has the axis 0, as in PyTorch."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise ValueError(
            f"{op}: dim {dim} is out of range for {ndim} axes, expected {-n} to {n - 1}"
        )
    return dim % n


def axes_of(dim: Dim, ndim: int, op: str) -> tuple[int, ...] | None:
    """dim as a tuple of axes, None for all."""
    if dim is None:
        return None
    if isinstance(dim, (int, np.integer)):
        return (axis_of(int(dim), ndim, op),) if ndim else None
    axes = tuple(axis_of(int(d), ndim, op) for d in dim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: dim {tuple(dim)} names an axis twice")
    return axes or None


def reduction_of(name: str, op: str) -> int:
    try:
        return REDUCTIONS[name]
    except KeyError:
        raise ValueError(
            f"{op}: reduction {name!r} is unknown, expected one of {', '.join(REDUCTIONS)}"
        ) from None


def sizes_of(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """f(2, 3) and f((2, 3)) mean the same."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list, range)):
        return tuple(shape[0])
    return shape
