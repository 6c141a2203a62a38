"""How well each pixel got its class: all from one table of counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import Array


def segmentation_table(
    true: Any, predicted: Any, num_classes: int | None = None, *, ignore_index: int = -100
) -> Array:
    """(C, C) int64: how many pixels of class t were called p.

    Args:
        true: Integers (…), such as (N, H, W).
        predicted: Integers (…), or scores (…, C), whose largest counts.
        num_classes: C; None: as many as the scores have, or as the labels reach.
        ignore_index: A true class that does not count.
    """
    from ... import kernels

    labels, guess = np.asarray(true), np.asarray(predicted)
    if labels.dtype == np.bool_:
        labels = labels.astype(np.int64)
    if guess.ndim == labels.ndim + 1:
        num_classes = num_classes or guess.shape[-1]
        guess = kernels.argmax(guess, axis=-1)
    elif guess.dtype == np.bool_:
        guess = guess.astype(np.int64)
    if num_classes is None:
        counted = labels[labels != ignore_index]
        num_classes = int(max(counted.max(initial=0), guess.max(initial=0))) + 1
    return kernels.confusion_matrix(labels, guess, num_classes, ignore_index=ignore_index)


def pixel_accuracy(true: Any, predicted: Any, *, ignore_index: int = -100) -> float:
    """The part of the pixels that got their class."""
    table = segmentation_table(true, predicted, ignore_index=ignore_index)
    return float(np.trace(table) / max(table.sum(), 1))


def class_iou(
    true: Any, predicted: Any, num_classes: int | None = None, *, ignore_index: int = -100
) -> Array:
    """(C,) intersection over union of each class; NaN of a class that is nowhere."""
    table = segmentation_table(true, predicted, num_classes, ignore_index=ignore_index)
    both = np.diagonal(table).astype(np.float64)
    whole = table.sum(0) + table.sum(1) - both
    with np.errstate(invalid="ignore"):
        iou: Array = both / whole
    return iou


def mean_iou(
    true: Any, predicted: Any, num_classes: int | None = None, *, ignore_index: int = -100
) -> float:
    """The mean of `class_iou` over the classes that occur. Keras: MeanIoU."""
    iou = class_iou(true, predicted, num_classes, ignore_index=ignore_index)
    seen = iou[~np.isnan(iou)]
    return float(seen.mean()) if len(seen) else float("nan")


def dice_score(
    true: Any, predicted: Any, num_classes: int | None = None, *, ignore_index: int = -100
) -> Array:
    """(C,) twice the intersection over the sum of both sizes; the F1 of each class's pixels."""
    iou = class_iou(true, predicted, num_classes, ignore_index=ignore_index)
    dice: Array = 2 * iou / (1 + iou)
    return dice
