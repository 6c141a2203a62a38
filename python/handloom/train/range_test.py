"""The learning-rate range test: a rate that grows with each step shows which ones train."""

from __future__ import annotations

import math
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._numbers import real, whole
from .batches import batches, inputs_and_target
from .measures import Loss
from .untouched import Untrained

if TYPE_CHECKING:
    from .._arrays import Array
    from ..io.weights import Path
    from ..nn import Module
    from ..optim import Optimizer

_DIVERGED = 4.0  # times the best loss: beyond, nothing more is learnt from the test


class RangeTest(NamedTuple):
    """Loss by learning rate.

    Attributes:
        rates: `(steps,)`, growing.
        losses: `(steps,)`, smoothed as by an average that forgets a tenth a step.
        suggestion: The rate at which the loss falls fastest (steepest over log rate).
        largest: The rate of the smallest loss: from here on it rises, `max_lr` for one-cycle
            schedules is a third of it.
    """

    rates: Array
    losses: Array
    suggestion: float
    largest: float

    def __str__(self) -> str:
        return (
            f"falls fastest at {self.suggestion:.2g}, lowest at {self.largest:.2g} "
            f"({len(self.rates)} steps from {self.rates[0]:.1e} to {self.rates[-1]:.1e})"
        )

    def plot(self, path: Path) -> None:
        """Draws the loss over the rate as a PNG; needs matplotlib."""
        from pathlib import Path

        from ..gallery import plots

        plots.require("RangeTest.plot")
        marks = {"falls fastest": self.suggestion, "lowest": self.largest}
        figure = plots.over_log(
            self.rates, self.losses, marks, "Learning-rate range test", "rate", "loss"
        )
        plots.save(figure, Path(path))


def lr_range_test(
    model: Module,
    data: Any,
    *,
    loss: Loss,
    optimizer: Optimizer,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
) -> RangeTest:
    """Trains for some steps with a rate that grows from `low` to `high`, and puts everything back.

    L. Smith, "Cyclical learning rates for training neural networks" (2017). It ends early where the
    loss is four times its best, or not finite.

    Args:
        model: Its weights, buffers and gradients, the optimiser's state and the random numbers are
            as before afterwards.
        data: As for `fit`; it is gone through again where the steps are more than the batches.
        loss: As for `fit`.
        optimizer: Every parameter group gets the rate.
        low, high: Rates, 0 < low < high.
        steps: At least 2.
        batch_size: For arrays only.
        seed: Of the order of the rows.

    Raises:
        ValueError: A number is out of range, no batch, or a loss that is not finite at once.
    """
    op = "lr_range_test"
    if not (0 < real(low, op, "low") < real(high, op, "high") and math.isfinite(high)):
        raise ValueError(f"{op}: expected 0 < low < high, got {low} and {high}")
    steps = whole(steps, op, "steps", 2)
    loader = batches(data, batch_size, op, shuffle=True, seed=seed)
    rates = np.geomspace(low, high, steps)
    found: list[float] = []
    with Untrained(model, optimizer):
        model.train()
        mean = 0.0
        for step, (rate, batch) in enumerate(zip(rates, islice(cycle(loader), steps))):
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            inputs, target = inputs_and_target(batch, op)
            value = loss(model(*inputs), target)
            number = float(value.item())
            mean = 0.9 * mean + 0.1 * number
            found.append(mean / (1 - 0.9 ** (step + 1)))
            if not math.isfinite(number) or found[-1] > _DIVERGED * min(found):
                break
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    kept = [value for value in found if math.isfinite(value)]
    if len(kept) < 2:
        raise ValueError(f"{op}: the loss is {found[-1] if found else 'never there'} at once")
    losses, used = np.array(kept), rates[: len(kept)]
    lowest = int(losses.argmin())
    return RangeTest(
        used, losses, float(used[_steepest(losses[: lowest + 1])]), float(used[lowest])
    )


def _steepest(losses: Array) -> int:
    """Where the losses fall fastest: over a tenth of them, since batches differ from each other.

    The average of the first ten is still that of a few batches.
    """
    width = max(2, len(losses) // 10)
    first = min(10, max(0, len(losses) - width - 1))
    falls = losses[first:-width] - losses[first + width :]
    return first + int(falls.argmax()) + width // 2 if len(falls) else len(losses) - 1
