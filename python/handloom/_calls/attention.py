"""The options of attention: what the functions on arrays and those on tensors share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy.typing as npt

Array = npt.NDArray[Any]
Causal = Union[bool, str]  # noqa: UP007  evaluated at run time on Python 3.10
Window = Union[int, Sequence[Union[int, None]], None]  # noqa: UP007

_CAUSAL: dict[Causal, int] = {False: 0, True: 1, "upper_left": 2}


class Options(NamedTuple):
    """Who sees whom and what is added, in the order that ``_C`` takes it.

    Attributes:
        mask: bool, broadcast to ``(N, heads, Tq, Tk)``; True takes part.
        bias: Added to the scores, broadcast likewise.
        lengths: Keys of each sequence.
        starts: Position of each sequence's first query among its keys.
        slopes: ALiBi's, of each head or of each sequence and head.
        scale: Factor of the scores; None is 1 / sqrt(D).
        causal: 0 no; 1 the last query is level with the last key; 2 the first with the first.
        left, right: How far a query sees; −1 is without limit.
        dropout: Probability that a weight is dropped.
        seed, call: Of the draw.
    """

    mask: Array | None = None
    bias: Array | None = None
    lengths: Array | None = None
    starts: Array | None = None
    slopes: Array | None = None
    scale: float | None = None
    causal: int = 0
    left: int = -1
    right: int = -1
    dropout: float = 0.0
    seed: int = 0
    call: int = 0


def causal_code(op: str, causal: Causal) -> int:
    """The number of a kind of causality.

    Raises:
        ValueError: Another value.
    """
    try:
        return _CAUSAL[causal]
    except (KeyError, TypeError):
        raise ValueError(
            f"{op}: causal is {causal!r}, expected False, True or 'upper_left'"
        ) from None


def reach(op: str, window: Window) -> tuple[int, int]:
    """How many keys a query sees to its left and right, −1 for all.

    Raises:
        ValueError: A negative size, or not one or two of them.
    """
    if window is None:
        return -1, -1
    pair = (window, window) if isinstance(window, int) else tuple(window)
    if len(pair) != 2 or any(side is not None and side < 0 for side in pair):
        raise ValueError(
            f"{op}: window is {window!r}, expected a number of keys, or a pair (left, right) of "
            "numbers or None"
        )
    left, right = (-1 if side is None else int(side) for side in pair)
    return left, right
