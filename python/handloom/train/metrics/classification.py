"""Metrics of called classes: accuracy, confusion matrix, precision, recall, F1."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..._arrays import Array
from ._checks import Float64, Int64, check_range, checked_labels, checked_scores, true_and_predicted

# 2 GB of counts.
_LARGEST_MATRIX = 1 << 14
_AVERAGES = ("binary", "macro", "micro", "weighted", None)


class PrecisionRecallF1(NamedTuple):
    """Precision, recall, F1 and the number of true samples: scalars, or arrays by class."""

    precision: Any
    recall: Any
    f1: Any
    support: Any


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Returns the share of labels that are right.

    Args:
        y_true: Labels of any shape.
        y_pred: Labels of the same shape, or scores with one more axis, the classes, last: the
            class of the highest score counts (the first of equals).

    Raises:
        ValueError: Shapes that do not fit, no labels, NaN scores, or labels that are not whole.
    """
    true, predicted, _ = true_and_predicted(y_true, y_pred, "accuracy")
    return float(np.mean(true == predicted))


def top_k_accuracy(y_true: ArrayLike, scores: ArrayLike, k: int = 5) -> float:
    """Returns the share of samples whose class is among the k highest scores.

    Of equal scores the lower class number goes first, so that k = 1 is `accuracy`.

    Args:
        y_true: Labels `(...)`.
        scores: `(..., C)`, larger is likelier; `1 <= k <= C`.

    Raises:
        ValueError: Shapes that do not fit, no labels, NaN scores, a label or k out of range.
    """
    op = "top_k_accuracy"
    true = checked_labels(y_true, f"{op}: y_true")
    values = checked_scores(scores, f"{op}: scores")
    if values.shape[:-1] != true.shape or values.ndim == 0:
        raise ValueError(
            f"{op}: y_true {true.shape} expects scores {(*true.shape, 'C')}, got {values.shape}"
        )
    classes = values.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(f"{op}: k expects 1 to {classes} (the classes), got {k}")
    check_range(true, classes, f"{op}: y_true")
    own = np.take_along_axis(values, true[..., None], axis=-1)
    earlier = np.arange(classes) < true[..., None]
    rank = ((values > own) | ((values == own) & earlier)).sum(axis=-1)
    return float(np.mean(rank < k))


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    num_classes: int | None = None,
    normalize: str | None = None,
) -> Array:
    """Counts the samples of class i (row) that were called j (column).

    Args:
        y_true, y_pred: As for `accuracy`.
        num_classes: C; None takes the largest label or number of scores.
        normalize: None, or `"true"`, `"pred"`, `"all"` for shares of the row, the column or the
            whole; an empty row or column stays 0.

    Returns:
        `(C, C)`, int64, or float64 where normalised.

    Raises:
        ValueError: As `accuracy`, or a label is out of range.
    """
    op = "confusion_matrix"
    if normalize not in (None, "true", "pred", "all"):
        raise ValueError(
            f"{op}: normalize expects None, 'true', 'pred' or 'all', got {normalize!r}"
        )
    true, predicted, classes = true_and_predicted(y_true, y_pred, op, num_classes)
    if classes > _LARGEST_MATRIX:
        raise ValueError(f"{op}: {classes} classes make too large a table, {_LARGEST_MATRIX} fit")
    pairs = true * classes + predicted
    counts: Int64 = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    if normalize is None:
        return counts
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    shares: Float64 = counts / np.maximum(counts.sum(axis=axis, keepdims=True), 1)
    return shares


def precision(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    positive: int = 1,
    num_classes: int | None = None,
    zero_division: float = 0.0,
) -> Any:
    """Returns TP / (TP + FP), the share of right ones among those called positive.

    Arguments, result and errors are those of `precision_recall_f1`.
    """
    return precision_recall_f1(
        y_true,
        y_pred,
        average=average,
        positive=positive,
        num_classes=num_classes,
        zero_division=zero_division,
    ).precision


def recall(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    positive: int = 1,
    num_classes: int | None = None,
    zero_division: float = 0.0,
) -> Any:
    """Returns TP / (TP + FN), the share of the positives that were found.

    Arguments, result and errors are those of `precision_recall_f1`.
    """
    return precision_recall_f1(
        y_true,
        y_pred,
        average=average,
        positive=positive,
        num_classes=num_classes,
        zero_division=zero_division,
    ).recall


def f1_score(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    positive: int = 1,
    num_classes: int | None = None,
    zero_division: float = 0.0,
) -> Any:
    """Returns 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall.

    Arguments, result and errors are those of `precision_recall_f1`.
    """
    return precision_recall_f1(
        y_true,
        y_pred,
        average=average,
        positive=positive,
        num_classes=num_classes,
        zero_division=zero_division,
    ).f1


def precision_recall_f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    average: str | None = "binary",
    positive: int = 1,
    num_classes: int | None = None,
    zero_division: float = 0.0,
) -> PrecisionRecallF1:
    """Returns precision, recall, F1 and support.

    Args:
        y_true, y_pred: As for `accuracy`.
        average: `"binary"`: of the class `positive`, where no more than two classes occur.
            `"macro"`: the mean over classes; `"weighted"`: weighted by their true samples;
            `"micro"`: of the counts summed over classes. The classes are those that occur in
            either array, or all of `num_classes` where it is given. None: arrays `(C,)`.
        positive: The class that `"binary"` is about.
        num_classes: C, for classes that may not occur.
        zero_division: What stands for 0/0; NaN leaves such a class out of an average.

    Raises:
        ValueError: As `accuracy`, an unknown `average`, or more than two classes for `"binary"`.
    """
    op = "precision_recall_f1"
    if average not in _AVERAGES:
        raise ValueError(
            f"{op}: average expects one of {', '.join(map(repr, _AVERAGES))}, got {average!r}"
        )
    true, called, classes = true_and_predicted(y_true, y_pred, op, num_classes)
    hits = np.bincount(true[true == called], minlength=classes)
    predicted = np.bincount(called, minlength=classes)
    support = np.bincount(true, minlength=classes)
    occurring = np.flatnonzero(predicted + support)
    if average == "binary":
        _check_binary(occurring, positive, op)
        # A class beyond all labels has no sample: an empty slice sums to 0.
        chosen = slice(positive, positive + 1)
        hits, predicted, support = (
            v[chosen].sum(keepdims=True) for v in (hits, predicted, support)
        )
    elif average == "micro":
        hits, predicted, support = (v.sum(keepdims=True) for v in (hits, predicted, support))
    elif average is not None and num_classes is None:
        hits, predicted, support = hits[occurring], predicted[occurring], support[occurring]
    p = _ratio(hits, predicted, zero_division)
    r = _ratio(hits, support, zero_division)
    f1 = _ratio(2 * hits, predicted + support, zero_division)
    if average is None:
        return PrecisionRecallF1(p, r, f1, support)
    weights = support if average == "weighted" else np.ones(len(support))
    return PrecisionRecallF1(
        _mean(p, weights), _mean(r, weights), _mean(f1, weights), int(support.sum())
    )


def _check_binary(occurring: Array, positive: int, op: str) -> None:
    if len(occurring) > 2:
        raise ValueError(
            f"{op}: average='binary' expects two classes, got {occurring.tolist()}; "
            "pass 'macro', 'micro', 'weighted' or None"
        )
    if positive < 0 or (positive not in occurring and len(occurring) == 2):
        raise ValueError(f"{op}: positive={positive} is not among the classes {occurring.tolist()}")


def _ratio(part: Any, whole: Any, zero_division: float) -> Float64:
    return np.where(whole > 0, part / np.maximum(whole, 1), zero_division)


def _mean(values: Float64, weights: Array) -> float:
    """Returns the mean of the values that are not NaN; plain where they have no weight."""
    valid = ~np.isnan(values)
    values, weights = values[valid], weights[valid]
    if len(values) == 0:
        return math.nan
    return float(np.average(values, weights=weights if weights.any() else None))
