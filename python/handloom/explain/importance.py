"""Permutation importance: what a figure loses when a feature is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array, as_array
from .._numbers import whole
from ..nn import Module
from ..train import predict
from ..train.history import rises
from ..train.measures import named_metrics


class Importance(NamedTuple):
    """What each feature is worth; prints the most important first.

    Attributes:
        mean, std: `(F,)`, float64: the loss of the figure, over the repeats.
        baseline: The figure with nothing shuffled.
        names: Of the features.
    """

    mean: Array
    std: Array
    baseline: float
    names: tuple[str, ...]

    def __str__(self) -> str:
        from .._runtime import table

        order = np.argsort(-self.mean, kind="stable")
        body = [(self.names[i], f"{self.mean[i]:.4f}", f"{self.std[i]:.4f}") for i in order]
        return table(("feature", "importance", "±"), body, numbers=2)


def permutation_importance(
    model: Module | Callable[[Array], Array],
    x: Any,
    y: Any,
    *,
    metric: str | Callable[[Array, Array], float] = "accuracy",
    repeats: int = 10,
    seed: int = 0,
    names: Sequence[str] | None = None,
    higher_is_better: bool | None = None,
) -> Importance:
    """Shuffles one feature after the other, and measures how much worse the predictions are.

    Breiman, "Random forests" (2001). On rows that were not trained on: on others it tells what the
    model has learnt by heart, too. Of two features that say the same, either seems worthless.

    Args:
        model: A module, or any function of rows.
        x: `(N, F)`; further axes belong to the feature of axis 1.
        y: `(N,)` or `(N, ...)`.
        metric: A name of `train.metrics`, or a function of (target, prediction).
        repeats: Shuffles of each feature.
        seed: Of the shuffles.
        names: Of the features.
        higher_is_better: Whether the figure is to be high; None tells by its name.

    Raises:
        ValueError: An unknown metric, numbers of rows that differ, no row, or no repeat.
    """
    op = "permutation_importance"
    rows, truth = as_array(x, f"{op}: x"), as_array(y, f"{op}: y")
    if rows.ndim < 2 or len(rows) == 0 or truth.ndim == 0 or len(rows) != len(truth):
        raise ValueError(f"{op}: x has shape {rows.shape}, y {truth.shape}; expected rows of both")
    repeats = whole(repeats, op, "repeats")
    if not isinstance(metric, str) and not callable(metric):
        raise TypeError(f"{op}: metric expects a name or a function, got {type(metric).__name__}")
    if names is not None and len(names) != rows.shape[1]:
        raise ValueError(f"{op}: {len(names)} names for {rows.shape[1]} features")
    ((name, measure),) = named_metrics(metric, op).items()
    better = rises(name, "auto", op) if higher_is_better is None else higher_is_better
    if higher_is_better is None and not isinstance(metric, str):
        better = True
    sign = 1.0 if better else -1.0

    def figure(values: Array) -> float:
        found = predict(model, values) if isinstance(model, Module) else np.asarray(model(values))
        return float(measure(truth, found))

    baseline = figure(rows)
    rng = np.random.default_rng(whole(seed, op, "seed", 0))
    losses = np.empty((repeats, rows.shape[1]))
    for feature in range(rows.shape[1]):
        for repeat in range(repeats):
            shuffled = rows.copy()
            shuffled[:, feature] = rows[rng.permutation(len(rows)), feature]
            losses[repeat, feature] = sign * (baseline - figure(shuffled))
    labels = tuple(names) if names is not None else tuple(map(str, range(rows.shape[1])))
    return Importance(losses.mean(axis=0), losses.std(axis=0), baseline, labels)
