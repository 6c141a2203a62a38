"""Searches over hyperparameters: all combinations, or random ones (Bergstra and Bengio, 2012)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._numbers import whole
from ..data._order import checked_seed
from ..train.callbacks import Callback, monitored
from . import space as spaces

if TYPE_CHECKING:
    from ..train import Run

Objective = Callable[["Trial"], float]
DIRECTIONS = ("maximize", "minimize")


class Pruned(Exception):
    """Raised by `Trial.report` where a search gives a trial up."""


class Trial(dict[str, Any]):
    """The values that a search has chosen, by name, for one call of the objective.

    Attributes:
        number: From 0.
        reports: What was reported so far, by step.
    """

    def __init__(
        self, number: int, values: dict[str, Any], give_up: Callable[[int, float], bool] | None
    ) -> None:
        super().__init__(values)
        self.number = number
        self.reports: dict[int, float] = {}
        self._give_up = give_up

    def report(self, step: int, value: float) -> None:
        """Tells the search how the trial is doing, such as after an epoch.

        Raises:
            Pruned: It is not worth going on; let it through.
        """
        self.reports[step] = float(value)
        if self._give_up is not None and self._give_up(step, float(value)):
            raise Pruned(f"trial {self.number} at step {step}")


class Pruning(Callback):
    """Reports a figure of each epoch to a trial: `fit(..., callbacks=[Pruning(trial, "mae")])`.

    A trial that the search gives up ends there: the objective must let `Pruned` through.
    """

    def __init__(self, trial: Trial, monitor: str = "val_loss") -> None:
        self.trial, self.monitor = trial, monitor

    def on_epoch_end(self, run: Run) -> None:
        self.trial.report(run.epoch, monitored(run, self.monitor, "Pruning"))


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        number: From 0.
        params: The values that were chosen.
        value: What the objective returned; NaN for a trial that was pruned.
        seconds: How long it took.
        pruned: Whether it was given up.
        reports: What it reported, by step.
    """

    number: int
    params: dict[str, Any]
    value: float
    seconds: float
    pruned: bool = False
    reports: dict[int, float] = field(default_factory=dict)


class Search:
    """The trials of a search; prints as a table, the best first.

    Attributes:
        trials: In their order.
        direction: `"maximize"` or `"minimize"`.
    """

    def __init__(self, trials: list[TrialResult], direction: str) -> None:
        self.trials, self.direction = trials, direction

    @property
    def ranked(self) -> list[TrialResult]:
        """The trials with a value, the best first; NaN is none."""
        sign = -1 if self.direction == "maximize" else 1
        found = [t for t in self.trials if not math.isnan(t.value)]
        return sorted(found, key=lambda t: (sign * t.value, t.number))

    @property
    def best(self) -> TrialResult:
        """The best trial, the earliest of equal ones.

        Raises:
            ValueError: No trial has a value.
        """
        ranked = self.ranked
        if not ranked:
            raise ValueError(f"Search: none of the {len(self.trials)} trials has a value")
        return ranked[0]

    @property
    def best_params(self) -> dict[str, Any]:
        """The values of the best trial."""
        return self.best.params

    @property
    def best_value(self) -> float:
        """What the objective returned for them."""
        return self.best.value

    def __str__(self) -> str:
        from .._runtime import table

        names = list(dict.fromkeys(name for t in self.trials for name in t.params))
        body = [
            (
                *(_short(t.params.get(name, "")) for name in names),
                *(str(t.number), f"{t.seconds:.1f}", f"{t.value:.4g}"),
            )
            for t in self.ranked
        ]
        text = table((*names, "trial", "seconds", "value"), body, numbers=3)
        pruned = sum(t.pruned for t in self.trials)
        rest = len(self.trials) - len(body) - pruned
        more = [f"{n} {what}" for n, what in ((pruned, "given up"), (rest, "without a value")) if n]
        return "\n".join([text, *more])


def grid_search(
    objective: Objective, space: spaces.Space, *, direction: str = "maximize"
) -> Search:
    """Tries every combination of a space's values.

    Args:
        objective: Called with a `Trial`, a dict of the chosen values; returns a number.
        space: Names to lists of values.
        direction: `"maximize"` or `"minimize"`.

    Raises:
        TypeError: The objective returns no number; the space is of another type.
        ValueError: An empty space, a range in it, an unknown direction.
    """
    op = "grid_search"
    return run(objective, spaces.grid(spaces.checked(space, op), op), direction, op)


def random_search(
    objective: Objective,
    space: spaces.Space,
    trials: int = 20,
    *,
    seed: int | None = 0,
    direction: str = "maximize",
) -> Search:
    """Tries random combinations: better than a grid where few of many names matter.

    Bergstra and Bengio, "Random search for hyper-parameter optimization" (2012).

    Args:
        objective: Called with a `Trial`, a dict of the chosen values; returns a number.
        space: Names to lists of values, `Uniform` or `Integers`.
        trials: How many. The first ones are the same for any number.
        seed: Fixes the values; None takes others each time.
        direction: `"maximize"` or `"minimize"`.

    Raises:
        TypeError, ValueError: As `grid_search`.
    """
    op = "random_search"
    checked, count = spaces.checked(space, op), whole(trials, op, "trials")
    key = checked_seed(seed, op)
    return run(objective, (spaces.drawn(checked, key, i) for i in range(count)), direction, op)


def run(
    objective: Objective, combinations: Iterable[dict[str, Any]], direction: str, op: str
) -> Search:
    """Calls the objective with each combination."""
    check(objective, direction, op)
    results = []
    for number, values in enumerate(combinations):
        trial = Trial(number, values, None)
        begin = time.perf_counter()
        value = as_value(objective(trial), op)
        seconds = time.perf_counter() - begin
        results.append(TrialResult(number, dict(values), value, seconds, False, trial.reports))
    return Search(results, direction)


def check(objective: Any, direction: str, op: str) -> None:
    """Raises TypeError or ValueError for what no search can use."""
    if not callable(objective):
        raise TypeError(f"{op}: objective expects a function, got {type(objective).__name__}")
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise ValueError(
            f"{op}: direction expects one of {', '.join(DIRECTIONS)}, got {direction!r}"
        )


def as_value(value: Any, op: str) -> float:
    """Returns what an objective has returned as a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: objective expects to return a number, got {type(value).__name__}"
        ) from None


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
