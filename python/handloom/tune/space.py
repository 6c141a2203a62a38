"""What a search chooses from: for each name a list of values, or a range."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._numbers import real


class Uniform:
    """A number between `low` and `high`; with `log` each power of ten is equally likely.

    Raises:
        ValueError: `low` is not below `high`, one is not finite, or `log` from 0 or below.
    """

    def __init__(self, low: float, high: float, *, log: bool = False) -> None:
        name = type(self).__name__
        low, high = real(low, name, "low"), real(high, name, "high")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"{name}: expected low < high, got {low} and {high}")
        if log and low <= 0:
            raise ValueError(f"{name}: log expects low above 0, got {low}")
        self.low, self.high, self.log = low, high, log

    def draw(self, u: float) -> Any:
        """Returns the number at the share `u`, in [0, 1), of the range."""
        if self.log:
            return float(math.exp(math.log(self.low) + u * math.log(self.high / self.low)))
        return float(self.low + u * (self.high - self.low))

    def __repr__(self) -> str:
        log = ", log=True" if self.log else ""
        return f"{type(self).__name__}({self.low}, {self.high}{log})"


class Integers(Uniform):
    """A whole number from `low` to `high`, both included."""

    def __init__(self, low: int, high: int, *, log: bool = False) -> None:
        if not all(isinstance(n, (int, np.integer)) for n in (low, high)):
            raise TypeError(f"Integers: expected whole numbers, got {low!r} and {high!r}")
        super().__init__(low, high, log=log)
        self.low, self.high = int(low), int(high)

    def draw(self, u: float) -> int:
        if not self.log:
            return int(self.low) + int(u * (self.high - self.low + 1))
        whole = math.exp(
            math.log(self.low - 0.5) + u * math.log((self.high + 0.5) / (self.low - 0.5))
        )
        return min(max(round(whole), int(self.low)), int(self.high))


Space = Mapping[str, "Sequence[Any] | Uniform"]


def checked(space: Any, op: str) -> dict[str, Any]:
    """Returns a space whose choices are lists.

    Raises:
        TypeError: It is no mapping, or an entry is neither a list nor a range.
        ValueError: It is empty, or a list is.
    """
    if not isinstance(space, Mapping):
        raise TypeError(
            f"{op}: space expects a dict of names to values, got {type(space).__name__}"
        )
    if not space:
        raise ValueError(f"{op}: space is empty")
    found: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Uniform):
            found[name] = values
        elif isinstance(values, (str, bytes)) or not isinstance(
            values, (Sequence, range, np.ndarray)
        ):
            raise TypeError(
                f"{op}: {name!r} expects a list of values, Uniform or Integers, "
                f"got {type(values).__name__}"
            )
        else:
            found[name] = values.tolist() if isinstance(values, np.ndarray) else list(values)
            if not found[name]:
                raise ValueError(f"{op}: {name!r} has no value to choose from")
    return found


def grid(space: dict[str, Any], op: str) -> Iterator[dict[str, Any]]:
    """Yields every combination, the last name fastest."""
    for name, values in space.items():
        if isinstance(values, Uniform):
            raise ValueError(f"{op}: {name!r} is a range, a grid expects a list of values")
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values))


def drawn(space: dict[str, Any], seed: int, number: int) -> dict[str, Any]:
    """Returns the combination of trial `number`, which depends on nothing else but the seed."""
    shares = np.random.default_rng([seed, number]).random(len(space))
    return {
        name: values.draw(u) if isinstance(values, Uniform) else values[int(u * len(values))]
        for (name, values), u in zip(space.items(), shares.tolist())
    }
