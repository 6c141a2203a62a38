"""Cross-validation: every row is held out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import Array, as_array
from .._numbers import whole
from ..data import k_fold

Rows = tuple[Array, ...]
Learn = Callable[[Rows, Rows], "float | Mapping[str, float]"]


class CrossValidation(NamedTuple):
    """Figures of each fold; prints with mean and deviation.

    Attributes:
        scores: Names to arrays `(k,)`, float64.
        folds: Training and held-out row numbers of each fold.
    """

    scores: dict[str, Array]
    folds: list[tuple[Array, Array]]

    def mean(self, name: str = "score") -> float:
        """Mean of a figure over the folds."""
        return float(self.scores[name].mean())

    def std(self, name: str = "score") -> float:
        """Standard deviation of a figure between the folds (ddof 1)."""
        return float(self.scores[name].std(ddof=1))

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {values.mean():.4g} ± {values.std(ddof=1):.2g} "
            f"({', '.join(f'{v:.4g}' for v in values)})"
            for name, values in self.scores.items()
        )


def cross_validate(
    learn: Learn,
    data: tuple[ArrayLike, ...],
    k: int = 5,
    *,
    stratify: ArrayLike | bool | None = None,
    seed: int | None = 0,
    shuffle: bool = True,
) -> CrossValidation:
    """Trains k times on all folds but one, and measures on that one.

    Args:
        learn: Called with the training and the held-out rows, tuples of arrays; makes a new
            network, trains it, and returns a number, or several by name.
        data: Arrays `(x, ..., y)` with N rows each.
        k: Folds, 2 to N.
        stratify: Class labels `(N,)`, or True for the last array: each fold has the classes in the
            proportions of the whole.
        seed, shuffle: As for `data.k_fold`.

    Raises:
        TypeError: `data` is no tuple of arrays, or `learn` returns no number.
        ValueError: k is out of range (more folds than rows), or folds with different figures.

    Example:
        >>> def learn(train, held_out):
        ...     model = build()
        ...     fit(model, train, ...)
        ...     return evaluate(model, held_out, metrics="accuracy")
        >>> print(cross_validate(learn, (x, y), stratify=True))
    """
    op = "cross_validate"
    if not callable(learn):
        raise TypeError(f"{op}: learn expects a function, got {type(learn).__name__}")
    if not isinstance(data, (tuple, list)) or not data:
        raise TypeError(f"{op}: data expects arrays (x, ..., y), got {type(data).__name__}")
    arrays = tuple(as_array(a, f"{op}: array {i}") for i, a in enumerate(data))
    labels = arrays[-1] if stratify is True else None if stratify is False else stratify
    folds = k_fold(arrays, whole(k, op, "k", 0), seed=seed, stratify=labels, shuffle=shuffle)
    found: list[dict[str, float]] = []
    for train, held_out in folds:
        parts = (tuple(a.take(rows, axis=0) for a in arrays) for rows in (train, held_out))
        found.append(_figures(learn(*parts), op))
        if found[-1].keys() != found[0].keys():
            raise ValueError(
                f"{op}: fold {len(found) - 1} has the figures {', '.join(found[-1])}, "
                f"fold 0 {', '.join(found[0])}"
            )
    return CrossValidation({n: np.array([f[n] for f in found]) for n in found[0]}, folds)


def _figures(result: Any, op: str) -> dict[str, float]:
    try:
        if isinstance(result, Mapping):
            return {str(name): float(value) for name, value in result.items()}
        return {"score": float(result)}
    except (TypeError, ValueError):
        raise TypeError(
            f"{op}: learn expects to return a number or numbers by name, "
            f"got {type(result).__name__}"
        ) from None
