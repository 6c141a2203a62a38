"""What a gallery task is, what a run of it records, and when it has passed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..nn import Module
    from ..train import ProgressBar


@dataclass(frozen=True)
class Task:
    """A network type and the real data that prove it.

    Attributes:
        name: What the command line calls it.
        rows: The rows of the feature table that it proves.
        title: One line for a list.
        run: Trains, and records what it finds in the `Context`. Fixed in epochs, never in
            seconds; all that is random in it comes from `context.seed`.
    """

    name: str
    rows: tuple[str, ...]
    title: str
    run: Callable[[Context], None]


@dataclass(frozen=True)
class Check:
    """A promise of a task: a figure and the bound that it has to keep.

    Attributes:
        metric: What was measured, on what.
        value: The figure; of several seeds the worst.
        target: The bound.
        at_least: Whether the figure must reach the bound, or must not exceed it.
        baseline: What the figure is to be compared with, such as a guess; None for none.
        values: The figure of each seed.
    """

    metric: str
    value: float
    target: float
    at_least: bool
    baseline: float | None
    values: tuple[float, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the figure keeps the bound; NaN does not."""
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class Table:
    """A comparison that a task prints: a title, the names of the columns, rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass
class Result:
    """What a task's runs found, one run a seed.

    Attributes:
        task: The task.
        judged: Whether it was the whole task: a shorter one promises only that the losses fall.
        seeds: The seeds of the runs.
        checks: The promises, with the worst figure of all seeds; the first one is the headline.
        problems: Losses that did not fall or are not finite, in words.
        seconds: Mean duration of a run, data loaded, without drawing.
        files: Figures and weights that were written.
        tables: Comparisons, of the first seed.
    """

    task: Task
    judged: bool
    seeds: tuple[int, ...]
    checks: list[Check]
    problems: list[str]
    seconds: float
    files: list[Path]
    tables: list[Table]

    @property
    def passed(self) -> bool | None:
        """Whether every promise was kept; None for a shorter run, which cannot tell."""
        return not self.problems and all(c.passed for c in self.checks) if self.judged else None

    @property
    def failed(self) -> bool:
        """Whether the command line must report failure."""
        return bool(self.problems) or self.passed is False


@dataclass
class Context:
    """One run of a task: what it is asked to do, and where it records what it finds.

    Attributes:
        seed: Fixes initial weights, orders and noise. The split into training and test rows is
            the same for every seed.
        quick: Whether to train a few epochs only.
        out: Directory for figures and weights, or None for neither.
        figures: Whether to draw figures into `out`.
        weights: Whether to save weights into `out`.
        override: Epochs that replace the task's own, from `handloom train --epochs`.
        label: What a progress bar begins with; None shows none.
    """

    seed: int = 0
    quick: bool = False
    out: Path | None = None
    figures: bool = True
    weights: bool = False
    override: int | None = None
    label: str | None = None
    checks: list[Check] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawing: float = 0.0  # seconds

    def epochs(self, full: int, quick: int) -> int:
        """Returns the number of epochs to train for."""
        return self.override or (quick if self.quick else full)

    def progress(self, what: str = "") -> bool | ProgressBar:
        """Returns what `fit` takes as `progress`; `what` tells the networks of a task apart."""
        if self.label is None:
            return False
        from ..train import ProgressBar

        return ProgressBar(f"{self.label} {what}".strip(), keep=False)

    def check(
        self,
        metric: str,
        value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        baseline: float | None = None,
    ) -> None:
        """Records a figure and its bound: exactly one of `at_least` and `at_most`."""
        target = at_least if at_most is None else at_most
        if target is None or (at_least is not None and at_most is not None):
            raise ValueError("Context.check: expected one of at_least and at_most")
        self.checks.append(
            Check(metric, float(value), target, at_least is not None, baseline, (float(value),))
        )

    def losses(self, name: str, values: Sequence[float]) -> None:
        """Records that the losses `values`, one an epoch, are to be finite and to fall."""
        if not all(map(math.isfinite, values)):
            self.problems.append(f"{name}: the loss is not finite")
        elif len(values) > 1 and not values[-1] < values[0]:
            self.problems.append(f"{name}: the loss went from {values[0]:.4g} to {values[-1]:.4g}")

    def table(self, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Records a comparison to be printed."""
        self.tables.append(Table(title, columns, rows))

    def draw(self, name: str, make: Callable[..., Figure], *args: Any, **options: Any) -> None:
        """Saves `make(*args, **options)`, a figure of `plots`, as `TASK-name.png`."""
        if self.out is None or not self.figures:
            return
        from . import plots

        begin = time.perf_counter()
        self.files.append(plots.save(make(*args, **options), self.out / f"{name}.png"))
        self.drawing += time.perf_counter() - begin

    def film(self, name: str, write: Callable[..., None], *args: Any) -> None:
        """Saves a moving picture as `name.gif`: `write(path, *args)`."""
        if self.out is None or not self.figures:
            return
        begin = time.perf_counter()
        path = self.out / f"{name}.gif"
        write(path, *args)
        self.files.append(path)
        self.drawing += time.perf_counter() - begin

    def save(self, name: str, model: Module) -> None:
        """Saves a model's weights as `name.safetensors` where weights are asked for."""
        if self.out is None or not self.weights:
            return
        from ..io import save

        path = self.out / f"{name}.safetensors"
        save(path, model.state_dict())
        self.files.append(path)


def run_task(
    task: Task,
    *,
    seeds: Sequence[int] = (0,),
    quick: bool = False,
    out: Path | None = None,
    figures: bool = True,
    weights: bool = False,
    epochs: int | None = None,
    progress: bool = False,
) -> Result:
    """Runs a task once for each seed and returns the worst that was found.

    Figures and weights are those of the first seed.

    Args:
        task: The task.
        seeds: At least one.
        quick: A few epochs, to see that the losses fall.
        out: Directory for what is written; it is made.
        figures, weights: What to write there.
        epochs: Replaces the task's own number of epochs.
        progress: Whether to show each network's progress on a terminal.
    """
    from .. import manual_seed

    if not seeds:
        raise ValueError("run_task: expected at least one seed")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    contexts = []
    seconds = 0.0
    for i, seed in enumerate(seeds):
        context = Context(
            seed=seed,
            quick=quick,
            out=out if i == 0 else None,
            figures=figures,
            weights=weights,
            override=epochs,
            label=task.name if progress else None,
        )
        manual_seed(seed)
        begin = time.perf_counter()
        task.run(context)
        seconds += time.perf_counter() - begin - context.drawing
        contexts.append(context)
    return Result(
        task,
        not quick and epochs is None,
        tuple(seeds),
        [_worst(checks) for checks in zip(*(c.checks for c in contexts))],
        [problem for c in contexts for problem in c.problems],
        seconds / len(seeds),
        contexts[0].files,
        contexts[0].tables,
    )


def _worst(checks: tuple[Check, ...]) -> Check:
    """Returns the one promise that stands for all seeds: with its worst figure."""
    first = checks[0]
    values = tuple(check.value for check in checks)
    if any(map(math.isnan, values)):
        worst = math.nan
    else:
        worst = min(values) if first.at_least else max(values)
    # A baseline measured in the run may differ from seed to seed: the one to be compared is the
    # worst figure's own.
    baseline = checks[values.index(worst)].baseline if worst in values else first.baseline
    return Check(first.metric, worst, first.target, first.at_least, baseline, values)
