"""What the metrics take: labels from 0, scores without NaN, finite targets, shapes that fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._arrays import Array, as_array

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

# Counts are kept for every number up to the largest label: an identifier is not a class.
_MOST_CLASSES = 1 << 24


def checked_labels(labels: ArrayLike, where: str) -> Int64:
    """Returns class numbers as int64; whole floats and booleans will do."""
    array = as_array(labels, where)
    if array.size == 0:
        raise ValueError(f"{where} is empty, its shape is {array.shape}")
    if array.dtype.kind == "f":
        odd = ~np.isfinite(array) | (array != np.floor(array))
        if odd.any():
            raise ValueError(f"{where} expects class numbers, got {array[odd][0]}")
    if array.min() < 0:
        raise ValueError(f"{where} expects class numbers from 0, got {array.min()}")
    if array.max() >= _MOST_CLASSES:
        raise ValueError(
            f"{where} holds {array.max()}, expected class numbers below {_MOST_CLASSES}"
        )
    return array.astype(np.int64)


def check_range(labels: Int64, classes: int, where: str) -> None:
    """Raises ValueError for a label that is not below `classes`."""
    if labels.max() >= classes:
        raise ValueError(f"{where} holds the label {labels.max()}, expected [0, {classes})")


def checked_scores(scores: ArrayLike, where: str) -> Array:
    """Returns scores in their own dtype; Inf is a score, NaN is not."""
    array = as_array(scores, where)
    if array.size == 0:
        raise ValueError(f"{where} is empty, its shape is {array.shape}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        at = tuple(int(i) for i in np.argwhere(np.isnan(array))[0])
        raise ValueError(f"{where} is NaN at {at}")
    return array


def true_and_predicted(
    y_true: ArrayLike, y_pred: ArrayLike, op: str, num_classes: int | None = None
) -> tuple[Int64, Int64, int]:
    """Returns the true and the called labels, and C, which is told by labels or scores if None."""
    true = checked_labels(y_true, f"{op}: y_true")
    predicted = checked_scores(y_pred, f"{op}: y_pred")
    classes = 0
    if predicted.shape == true.shape:
        predicted = checked_labels(predicted, f"{op}: y_pred")
    elif predicted.ndim != true.ndim + 1 or predicted.shape[:-1] != true.shape:
        raise ValueError(f"{op}: y_true {true.shape} does not go with y_pred {predicted.shape}")
    elif predicted.shape[-1] < 2:
        raise ValueError(
            f"{op}: y_pred {predicted.shape} has one score a sample, which says nothing of "
            "classes: compare it with a threshold"
        )
    else:
        classes = predicted.shape[-1]
        predicted = predicted.argmax(axis=-1).astype(np.int64)
    if num_classes is None:
        num_classes = max(int(true.max()) + 1, int(predicted.max()) + 1, classes)
    check_range(true, num_classes, f"{op}: y_true")
    check_range(predicted, num_classes, f"{op}: y_pred")
    return true.ravel(), predicted.ravel(), num_classes


def binary(y_true: ArrayLike, y_score: ArrayLike, op: str) -> tuple[Int64, Array]:
    """Returns labels 0 and 1, both of which occur, and their scores `(N,)`."""
    true = checked_labels(y_true, f"{op}: y_true")
    score = checked_scores(y_score, f"{op}: y_score")
    if true.ndim != 1 or true.shape != score.shape:
        raise ValueError(f"{op}: y_true {true.shape} does not go with y_score {score.shape}")
    if true.max() > 1:
        raise ValueError(f"{op}: y_true expects 0 and 1 with scores (N,), got {true.max()}")
    if true.min() == true.max():
        raise ValueError(f"{op}: y_true holds class {true[0]} only, the curve needs both")
    return true, score


def checked_targets(y_true: ArrayLike, y_pred: ArrayLike, op: str) -> tuple[Float64, Float64]:
    """Returns two finite float64 arrays of one shape."""
    pair = []
    for name, values in (("y_true", y_true), ("y_pred", y_pred)):
        array = as_array(values, f"{op}: {name}")
        if array.size == 0:
            raise ValueError(f"{op}: {name} is empty, its shape is {array.shape}")
        if not np.isfinite(array).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"{op}: {name} is NaN or Inf at {at}")
        pair.append(array.astype(np.float64))
    true, predicted = pair
    if true.shape != predicted.shape:
        raise ValueError(f"{op}: y_true {true.shape} does not go with y_pred {predicted.shape}")
    return true, predicted
