"""Random numbers without a state, and dropout.

Every function here is pure: the result depends on ``seed``, ``call`` and the shape, never on
threads, instruction set or what was drawn before. The generator is Philox4x32-10 (Salmon et al.:
"Parallel random numbers: as easy as 1, 2, 3", SC'11); the seed is its key, and its counter is the
number of the call and the index of the element. Without a seed, the operating system gives one.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]

_DROPOUT_KINDS = {"element": 0, "feature": 1, "alpha": 2, "feature_alpha": 3}


def _shape(op: str, shape: int | Sequence[int]) -> Sequence[int]:
    try:
        sizes = (shape,) if isinstance(shape, (int, np.integer)) else shape
        return [operator.index(n) for n in sizes]
    except TypeError:
        raise TypeError(f"{op}: shape is {shape!r}, expected integers") from None


def _seed(seed: int | None) -> int:
    return int.from_bytes(os.urandom(8), "little") if seed is None else seed


def _name(dtype: npt.DTypeLike) -> str:
    # Looking a dtype up costs more than drawing a few numbers.
    return dtype if isinstance(dtype, str) else np.dtype(dtype).name


def _kind(op: str, kind: str) -> int:
    try:
        return _DROPOUT_KINDS[kind]
    except KeyError:
        names = ", ".join(_DROPOUT_KINDS)
        raise ValueError(f"{op}: kind is {kind!r}, expected one of {names}") from None


def uniform(
    shape: int | Sequence[int],
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: npt.DTypeLike = "float32",
    seed: int | None = None,
    call: int = 0,
) -> Array:
    """Uniform numbers in ``[low, high)``, on a grid of 2^24 (float32) or 2^53 (float64) steps.

    The same bits on every instruction set.

    Args:
        shape: Of the result.
        low: Smallest value.
        high: Upper limit, not reached unless it equals ``low``.
        dtype: float32 or float64.
        seed: Key of the generator, ``0 <= seed < 2**64``; None takes a fresh one.
        call: Which draw under this seed.

    Raises:
        TypeError: Another dtype.
        ValueError: ``low > high``, limits that are not finite, or a negative size.
    """
    return _C.random_uniform(_shape("uniform", shape), _name(dtype), _seed(seed), call, low, high)


def normal(
    shape: int | Sequence[int],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: npt.DTypeLike = "float32",
    seed: int | None = None,
    call: int = 0,
) -> Array:
    """Normal numbers, by Box and Muller's transform of two uniform ones.

    A float32 result lies within 6.7 standard deviations of the mean, a float64 result within 8.7.
    Instruction sets agree to a few units in the last place.

    Args:
        shape: Of the result.
        mean: Of the distribution.
        std: Standard deviation, at least 0.
        dtype: float32 or float64.
        seed: Key of the generator, ``0 <= seed < 2**64``; None takes a fresh one.
        call: Which draw under this seed.

    Raises:
        TypeError: Another dtype.
        ValueError: A negative ``std``, parameters that are not finite, or a negative size.
    """
    return _C.random_normal(_shape("normal", shape), _name(dtype), _seed(seed), call, mean, std)


def bernoulli(
    shape: int | Sequence[int],
    p: float = 0.5,
    *,
    dtype: npt.DTypeLike = "bool",
    seed: int | None = None,
    call: int = 0,
) -> Array:
    """Ones with probability ``p`` (rounded to a multiple of 2^-32), else zeros.

    Args:
        shape: Of the result.
        p: Probability of a one, in ``[0, 1]``.
        dtype: bool, float32 or float64; the pattern is the same.
        seed: Key of the generator, ``0 <= seed < 2**64``; None takes a fresh one.
        call: Which draw under this seed.

    Raises:
        TypeError: Another dtype.
        ValueError: ``p`` outside ``[0, 1]``, or a negative size.
    """
    return _C.random_bernoulli(_shape("bernoulli", shape), _name(dtype), _seed(seed), call, p)


def integers(
    low: int,
    high: int,
    shape: int | Sequence[int],
    *,
    seed: int | None = None,
    call: int = 0,
) -> Array:
    """Integers in ``[low, high)``, int64, each exactly as likely as the others.

    By Lemire's method ("Fast random integer generation in an interval", 2019).

    Raises:
        ValueError: ``low >= high``, or a negative size.
    """
    return _C.random_integers(_shape("integers", shape), _seed(seed), call, low, high)


def permutation(n: int, *, seed: int | None = None, call: int = 0) -> Array:
    """The numbers ``0 ... n - 1`` in random order, ``(n,)`` int64, every order equally likely.

    By Fisher and Yates, with exactly uniform draws.

    Raises:
        ValueError: A negative ``n``.
    """
    try:
        count = operator.index(n)
    except TypeError:
        raise TypeError(f"permutation: n is {n!r}, expected an integer") from None
    return _C.random_permutation(count, _seed(seed), call)


def uniform_rows(
    calls: Array, n: int, *, dtype: npt.DTypeLike = "float32", seed: int | None = None
) -> Array:
    """``(len(calls), n)`` uniform numbers: row ``r`` is ``uniform(n, seed=seed, call=calls[r])``.

    Gives each sample of a batch random numbers of its own, whatever batch it is in.

    Args:
        calls: int64 or int32 ``(N,)``, read as 64 bits without sign.
        n: Numbers in a row.
        dtype: float32 or float64.
        seed: Key of the generator, ``0 <= seed < 2**64``; None takes a fresh one.

    Raises:
        TypeError: Another dtype, or calls that are not integers.
        ValueError: A negative ``n``, or not one axis.
    """
    return _C.random_uniform_rows(calls, n, _name(dtype), _seed(seed))


def normal_rows(
    calls: Array, n: int, *, dtype: npt.DTypeLike = "float32", seed: int | None = None
) -> Array:
    """``(len(calls), n)`` standard normal numbers: row ``r`` is that of ``normal`` with
    ``calls[r]``; see :func:`uniform_rows`."""
    return _C.random_normal_rows(calls, n, _name(dtype), _seed(seed))


def dropout(
    x: Array, p: float = 0.5, *, seed: int | None = None, call: int = 0, kind: str = "element"
) -> Array:
    """Set elements to zero with probability ``p`` and scale the others by ``1 / (1 - p)``.

    Srivastava et al. 2014. Which ones go depends on ``seed``, ``call`` and the index alone, so that
    float32 and float64 drop the same; :func:`dropout_backward` with the same numbers drops them
    again. Pass a seed where there will be a backward.

    Args:
        x: Contiguous, float32 or float64; ``(N, ..., C)`` for the feature kinds.
        p: Probability that an element is dropped, in ``[0, 1]``; all are at 1.
        seed: Key of the generator, ``0 <= seed < 2**64``; None takes a fresh one.
        call: Which draw under this seed.
        kind: ``"element"``; ``"feature"``, one draw for each sample and channel (PyTorch's
            Dropout1d/2d/3d, Keras' SpatialDropout); ``"alpha"``, which keeps the mean and variance
            of SELU's outputs (Klambauer et al. 2017); ``"feature_alpha"``.

    Returns:
        An array like ``x``. A dropped NaN or infinity is NaN, as in PyTorch.

    Raises:
        TypeError: Not a float array.
        ValueError: ``p`` outside ``[0, 1]``, an unknown kind, an ``x`` that is not contiguous or,
            for the feature kinds, has fewer than two axes.
    """
    return _C.dropout_forward(x, p, _seed(seed), call, _kind("dropout", kind))


def dropout_backward(
    dy: Array, p: float = 0.5, *, seed: int, call: int = 0, kind: str = "element"
) -> Array:
    """Gradient of :func:`dropout`: ``dy`` times the same factor where ``x`` was kept, else zero."""
    return _C.dropout_backward(dy, p, seed, call, _kind("dropout_backward", kind))
