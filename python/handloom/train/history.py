"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..io.weights import Path

_HIGHER_IS_BETTER = ("accuracy", "auc", "precision", "recall", "f1", "f1_score", "r2", "r2_score")


class History:
    """The figures of each epoch; `history["val_loss"]` is a list with one number an epoch.

    Keras: the `History` that `fit` returns, whose lists are in its `history`.

    Attributes:
        epochs: One dict an epoch, by name: `loss` (mean over the epoch's samples), the metrics,
            `val_loss` and `val_` metrics, `lr` of the first parameter group, `seconds` of the
            epoch with its validation, and `grad_norm` (mean over steps, before clipping) where
            gradients are clipped.
        stopped: Why training ended before its last epoch, else None.
        seconds: Duration of the whole call.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.stopped: str | None = None
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, float]]:
        return iter(self.epochs)

    def __contains__(self, name: object) -> bool:
        return any(name in logs for logs in self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """Returns the figure `name` of every epoch, NaN where an epoch has none.

        Raises:
            KeyError: No epoch has a figure of this name; the text lists those that there are.
        """
        if name not in self:
            raise KeyError(f"History: no figure {name!r}, expected one of {', '.join(self.names)}")
        return [logs.get(name, math.nan) for logs in self.epochs]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all figures, in the order in which they first came."""
        return tuple(dict.fromkeys(name for logs in self.epochs for name in logs))

    def best(self, name: str, mode: str = "auto") -> tuple[int, float]:
        """Returns the epoch, counted from 0, with the best value of `name`, and that value.

        Args:
            name: A figure.
            mode: `"min"`, `"max"`, or `"auto"`: the larger for an accuracy, an area, an F1 or R²,
                the smaller for everything else.

        Raises:
            KeyError: No such figure.
            ValueError: An unknown mode, or the figure is NaN in every epoch.
        """
        sign = -1.0 if rises(name, mode, "History.best") else 1.0
        values = [(sign * v, i) for i, v in enumerate(self[name]) if not math.isnan(v)]
        if not values:
            raise ValueError(f"History.best: {name!r} is NaN in every epoch")
        value, epoch = min(values)
        return epoch, sign * value

    def plot(self, path: Path) -> None:
        """Draws the learning curves as a PNG: a panel for each figure, training and validation.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: There is no epoch.
            OSError: The file cannot be written.
        """
        if not self.epochs:
            raise ValueError("History.plot: there is no epoch")
        from pathlib import Path

        from ..gallery import plots

        plots.require("History.plot")
        panels: dict[str, dict[str, list[float]]] = {}
        for name in self.names:
            if name != "seconds":
                line = "validation" if name.startswith("val_") else "training"
                panels.setdefault(name.removeprefix("val_"), {})[line] = self[name]
        plots.save(plots.curves_by_epoch(panels, "Learning curves"), Path(path))

    def __repr__(self) -> str:
        last = " · ".join(f"{k} {v:.4g}" for k, v in self.epochs[-1].items()) if self.epochs else ""
        stopped = f", stopped: {self.stopped}" if self.stopped else ""
        return f"History({len(self)} epochs{stopped}{'; ' if last else ''}{last})"


def rises(name: str, mode: str, op: str) -> bool:
    """Whether a larger value of the figure `name` is the better one, by `mode`."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"{op}: mode expects 'auto', 'min' or 'max', got {mode!r}")
    if mode != "auto":
        return mode == "max"
    return name.removeprefix("val_").endswith(_HIGHER_IS_BETTER)
