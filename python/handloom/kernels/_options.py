"""Options that kernels share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from handloom._device_array import ARRAYS

V = TypeVar("V")


def need_mask(op: str, need: Iterable[str], names: tuple[str, ...]) -> int:
    """Return ``need`` as bits, bit i for ``names[i]``.

    Raises:
        TypeError: It is no sequence.
        ValueError: A name that is not among ``names``.
    """
    mask = 0
    try:
        wanted = (need,) if isinstance(need, str) else tuple(need)
    except TypeError:
        raise TypeError(f"{op}: need is {need!r}, expected some of {', '.join(names)}") from None
    for name in wanted:
        if not isinstance(name, str) or name not in names:
            raise ValueError(f"{op}: need has {name!r}, choose from {', '.join(names)}")
        mask |= 1 << names.index(name)
    return mask


def choice(op: str, name: str, value: str, known: Mapping[str, V]) -> V:
    """What stands for ``value``, one of the names in ``known``.

    Raises:
        TypeError: It is no string.
        ValueError: It is another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{op}: {name} is {value!r}, expected one of {', '.join(known)}")
    try:
        return known[value]
    except KeyError:
        raise ValueError(
            f"{op}: {name} {value!r} is unknown, expected one of {', '.join(known)}"
        ) from None


def number(op: str, name: str, value: float) -> float:
    """``value`` as a float; TypeError for what is no number."""
    try:
        # NumPy before 2.4 takes an array of one element for a number, and warns.
        if not isinstance(value, (str, bytes)) and getattr(value, "ndim", 0) == 0:
            return float(value)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{op}: {name} is {value!r}, expected a number")


def require_arrays(op: str, **arrays: object) -> None:
    """Raises TypeError unless each is an array: for functions that look at shapes themselves."""
    for name, array in arrays.items():
        if not isinstance(array, ARRAYS):
            came = type(array).__name__
            raise TypeError(f"{op}: {name} is a {came}, expected a numpy.ndarray")
