"""Metrics of scores and probabilities: ROC curve, its area, log loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..._arrays import Array
from ._checks import Float64, Int64, binary, check_range, checked_labels, checked_scores


class RocCurve(NamedTuple):
    """False and true positive rates as the threshold falls, from (0, 0) to (1, 1)."""

    fpr: Float64
    tpr: Float64
    thresholds: Float64


def roc_curve(y_true: ArrayLike, y_score: ArrayLike) -> RocCurve:
    """Returns the receiver operating characteristic of a binary score.

    Args:
        y_true: Labels 0 and 1, or booleans, `(N,)`; both must occur.
        y_score: Scores `(N,)`, larger for class 1; logits and probabilities do alike.

    Returns:
        A `RocCurve` with a point for every distinct score and (0, 0), whose threshold is +Inf: at
        threshold t everything with a score of t or more is called positive.

    Raises:
        ValueError: Shapes that do not fit, labels other than 0 and 1, one class only, NaN scores.
    """
    true, score = binary(y_true, y_score, "roc_curve")
    order = np.argsort(score)[::-1]
    true, score = true[order], score[order]
    last_of_equals = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    found = np.cumsum(true)[last_of_equals]
    false_alarms = last_of_equals + 1 - found
    return RocCurve(
        np.append(0.0, false_alarms / false_alarms[-1]),
        np.append(0.0, found / found[-1]),
        np.append(np.inf, score[last_of_equals]),
    )


def roc_auc(y_true: ArrayLike, y_score: ArrayLike, *, average: str | None = "macro") -> Any:
    """Returns the area under the ROC curve: the chance that a positive outscores a negative.

    Computed from ranks (Mann–Whitney's U), a tie counting one half.

    Args:
        y_true: Labels `(N,)`.
        y_score: Binary: scores `(N,)` for class 1. Several classes: `(N, C)`, each against the
            rest.
        average: For several classes: `"macro"`, the mean over classes, or None, an array `(C,)`.

    Raises:
        ValueError: Shapes that do not fit, NaN scores, or a class that has no sample or all.
    """
    op = "roc_auc"
    if average not in ("macro", None):
        raise ValueError(f"{op}: average expects 'macro' or None, got {average!r}")
    score = checked_scores(y_score, f"{op}: y_score")
    if score.ndim != 2:
        return _area(*binary(y_true, score, op))
    true = checked_labels(y_true, f"{op}: y_true")
    if true.shape != score.shape[:1]:
        raise ValueError(f"{op}: y_true {true.shape} does not go with y_score {score.shape}")
    classes = score.shape[1]
    check_range(true, classes, f"{op}: y_true")
    counts = np.bincount(true, minlength=classes)
    if counts.min() == 0 or classes < 2:
        raise ValueError(
            f"{op}: each class needs samples of it and of others, classes 0 to {classes - 1} "
            f"have {counts.tolist()}"
        )
    areas = np.array([_area((true == c).astype(np.int64), score[:, c]) for c in range(classes)])
    return areas if average is None else float(areas.mean())


def log_loss(y_true: ArrayLike, proba: ArrayLike) -> float:
    """Returns the mean of −log p(true class), in nats.

    Args:
        y_true: Labels `(N,)`.
        proba: Probabilities: `(N,)` of class 1, or `(N, C)` with rows that add up to 1. They are
            clipped to `[eps, 1 − eps]`, eps of their dtype, as a 0 would make the loss infinite.

    Raises:
        ValueError: Shapes that do not fit, no labels, NaN, a label out of range, or numbers that
            are not probabilities.
    """
    op = "log_loss"
    true = checked_labels(y_true, f"{op}: y_true")
    p = checked_scores(proba, f"{op}: proba")
    eps = np.finfo(p.dtype).eps if p.dtype.kind == "f" else np.finfo(np.float64).eps
    p = p.astype(np.float64)
    if p.ndim not in (1, 2) or true.shape != p.shape[:1]:
        raise ValueError(f"{op}: y_true {true.shape} does not go with proba {p.shape}")
    if p.min() < 0 or p.max() > 1 + 1e-6:
        raise ValueError(
            f"{op}: proba expects probabilities in [0, 1], got {p.min():g} to {p.max():g}"
        )
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    worst = np.abs(p.sum(axis=1) - 1).max()
    if worst > 1e-3:
        raise ValueError(f"{op}: proba expects rows that add up to 1, one is {worst:g} off")
    check_range(true, p.shape[1], f"{op}: y_true")
    own = np.take_along_axis(p, true[:, None], axis=1)
    return float(-np.log(np.clip(own, eps, 1 - eps)).mean())


def _area(true: Int64, score: Array) -> float:
    _, place, ties = np.unique(score, return_inverse=True, return_counts=True)
    # A tied score has the mean of the ranks that its group takes up, doubled to stay whole.
    doubled_rank = 2 * np.cumsum(ties) - ties + 1
    positives = int(true.sum())
    negatives = len(true) - positives
    doubled_u = int(doubled_rank[place.reshape(-1)][true == 1].sum()) - positives * (positives + 1)
    return doubled_u / (2 * positives * negatives)
