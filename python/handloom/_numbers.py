"""Arguments that are to be numbers, checked before they are used."""

from __future__ import annotations

import operator
from typing import Any


def whole(value: Any, op: str, name: str, least: int = 1) -> int:
    """Returns a whole number.

    Raises:
        TypeError: It is none.
        ValueError: It is below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} expects an integer, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{op}: {name} expects at least {least}, got {number}")
    return number


def real(value: Any, op: str, name: str) -> float:
    """Returns a number, which may be NaN or infinite.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, (str, bytes)) or getattr(value, "shape", ()) != ():
        raise TypeError(f"{op}: {name} expects a number, got {type(value).__name__}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} expects a number, got {type(value).__name__}") from None
