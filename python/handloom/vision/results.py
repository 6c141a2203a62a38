"""From scores and boxes to objects: what all detectors do at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import kernels
from .._arrays import Array
from .._device_array import on_host
from .objects import Objects


def detections(
    boxes: Array,
    scores: Array,
    size: Sequence[int],
    *,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    most: int = 100,
    candidates: int = 1000,
    min_size: float = 1.0,
) -> Objects:
    """The objects of one image: boxes in the image, sure enough, one for each object.

    Args:
        boxes: (A, 4), or (A, C, 4) where each class has its own.
        scores: (A, C) of the classes, background left out.
        size: (H, W) of the image.
        score_threshold: What is below it is no object.
        iou_threshold: For non-maximum suppression among boxes of a class.
        most: How many objects at most.
        candidates: How many boxes at most are looked at, the best.
        min_size: Of both sides of a box, in pixels.

    Returns:
        Objects with scores, the surest first. A box or score that is no number is left out.
    """
    boxes, scores = np.asarray(on_host(boxes)), np.asarray(on_host(scores))
    anchors, classes = scores.shape
    if boxes.shape not in ((anchors, 4), (anchors, classes, 4)):
        raise ValueError(
            f"detections: boxes has shape {boxes.shape} and scores {scores.shape}, expected "
            "(A, 4) or (A, C, 4) and (A, C)"
        )
    at, label = np.nonzero(scores >= score_threshold)
    score = scores[at, label]
    if len(score) > candidates:
        best = np.argsort(-score, kind="stable")[:candidates]
        at, label, score = at[best], label[best], score[best]
    own = boxes[at] if boxes.ndim == 2 else boxes[at, label]
    own = kernels.clip_boxes_to_image(np.ascontiguousarray(own, np.float32), size)
    large = kernels.remove_small_boxes(own, min_size)
    own, label, score = own[large], label[large], score[large].astype(np.float32)
    keep = kernels.batched_nms(own, score, label, iou_threshold)[:most]
    return Objects(own[keep], label[keep], score[keep])
