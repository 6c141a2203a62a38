"""Average precision of detectors: how well boxes or masks, sorted by score, find what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arrays import Array

if TYPE_CHECKING:
    from ...vision import Objects

COCO_THRESHOLDS = tuple(np.arange(0.5, 1.0, 0.05).round(2).tolist())
# Average precision takes the precision at these recalls.
_RECALLS = np.linspace(0, 1, 101)


def mean_average_precision(
    true: Sequence[Objects],
    found: Sequence[Objects],
    *,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    masks: bool = False,
    most: int = 100,
) -> dict[str, Any]:
    """COCO's average precision: T.-Y. Lin et al., "Microsoft COCO" (2014), and its evaluation code.

    At each IoU threshold the found objects of a class, the surest first, each take the true object
    of their image that they overlap most and that is still free, if by at least the threshold;
    precision is what part of the found has taken one, made not to rise with recall, and averaged
    over the recalls 0, 0.01, ... 1.

    Args:
        true: The objects of each image.
        found: Those of a detector, with scores, image by image.
        thresholds: Of the IoU.
        masks: Whether masks are to overlap, not boxes.
        most: Found objects of an image that count, the surest.

    Returns:
        `"map"` over all thresholds and classes that occur, `"ap50"` and `"ap75"` where these are
        among the thresholds, and `"per_class"`, a dict from label to mean over thresholds. NaN
        where no true object is.

    Raises:
        ValueError: Lists of different lengths, found objects without scores, masks missing or of
            another size.
    """
    from ...vision.objects import check_objects

    op = "mean_average_precision"
    for name, objects in (("true", true), ("found", found)):
        check_objects(f"{op}: {name}", objects, len(objects) if hasattr(objects, "__len__") else 0)
    if len(true) != len(found):
        raise ValueError(f"{op}: {len(true)} images with true objects, {len(found)} with found")
    for i, own in enumerate(found):
        if own.scores is None:
            raise ValueError(f"{op}: found[{i}] has no scores")
    levels = np.asarray(thresholds, np.float64)
    classes = sorted({int(c) for objects in true for c in objects.labels})
    table = np.array([_class_precision(op, true, found, c, levels, masks, most) for c in classes])
    table = table.reshape(len(classes), len(levels))

    def mean(values: Array) -> float:
        return float(values.mean()) if values.size else float("nan")

    result: dict[str, Any] = {"map": mean(table)}
    for name, level in (("ap50", 0.5), ("ap75", 0.75)):
        at = np.flatnonzero(np.isclose(levels, level))
        if len(at):
            result[name] = mean(table[:, at[0]])
    result["per_class"] = {c: mean(row) for c, row in zip(classes, table)}
    return result


def average_precision(
    true: Sequence[Objects],
    found: Sequence[Objects],
    iou_threshold: float = 0.5,
    *,
    masks: bool = False,
) -> float:
    """AP at one IoU threshold, the mean over the classes: 0.5 gives AP50, Pascal VOC's measure."""
    result = mean_average_precision(true, found, thresholds=(iou_threshold,), masks=masks)
    return float(result["map"])


def _class_precision(
    op: str,
    true: Sequence[Objects],
    found: Sequence[Objects],
    label: int,
    levels: Array,
    masks: bool,
    most: int,
) -> Array:
    """(thresholds,) average precision of one class."""
    scores, hits, total = [], [], 0
    for i, (real, guess) in enumerate(zip(true, found)):
        real = real[real.labels == label]
        total += len(real)
        assert guess.scores is not None
        # The surest of the image are chosen before the classes are told apart.
        best = np.argsort(-guess.scores, kind="stable")[:most]
        guess = guess[best[guess.labels[best] == label]]
        if not len(guess):
            continue
        assert guess.scores is not None
        scores.append(guess.scores)
        hits.append(_taken(_overlaps(op, guess, real, masks, i), levels))
    if not scores:
        return np.zeros(len(levels))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits)[order].astype(np.float64)  # (found, thresholds)
    right = hit.cumsum(0)
    recall = right / total
    precision = right / np.arange(1, len(hit) + 1)[:, None]
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    found_at = np.zeros(len(levels))
    for k in range(len(levels)):
        at = np.searchsorted(recall[:, k], _RECALLS, side="left")
        inside = at < len(hit)
        found_at[k] = precision[at[inside], k].sum() / len(_RECALLS)
    return found_at


def _overlaps(op: str, guess: Objects, real: Objects, masks: bool, image: int) -> Array:
    """(found, true) IoU."""
    from ... import kernels

    if not masks:
        iou: Array = np.nan_to_num(kernels.box_iou(guess.boxes, real.boxes))
        return iou
    if guess.masks is None or real.masks is None:
        raise ValueError(f"{op}: image {image} has objects without masks")
    if guess.masks.shape[1:] != real.masks.shape[1:]:
        raise ValueError(
            f"{op}: image {image} has found masks of {guess.masks.shape[1:]} pixels and true ones "
            f"of {real.masks.shape[1:]}"
        )
    if not len(real):
        return np.zeros((len(guess), 0))
    a = guess.masks.reshape(len(guess), guess.masks[0].size).astype(np.float32)
    b = real.masks.reshape(len(real), real.masks[0].size).astype(np.float32)
    both = a @ b.T
    whole = a.sum(1)[:, None] + b.sum(1) - both
    iou = both / np.maximum(whole, 1)
    return iou


def _taken(iou: Array, levels: Array) -> Array:
    """(found, thresholds) bool: whether a found object, the surest first, has taken a true one."""
    hit = np.zeros((len(iou), len(levels)), bool)
    if iou.shape[1] == 0:
        return hit
    for k, level in enumerate(levels):
        free = np.ones(iou.shape[1], bool)
        for i, row in enumerate(iou):
            left = np.where(free, row, -1.0)
            best = int(left.argmax())
            if left[best] >= level:
                hit[i, k] = True
                free[best] = False
    return hit
