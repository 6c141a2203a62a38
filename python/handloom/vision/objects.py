"""What is in an image: boxes with labels, and maybe scores and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import Array


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one image, true or found.

    Attributes:
        boxes: (N, 4) float32 of (x1, y1, x2, y2) in pixels.
        labels: (N,) int64, classes from 0 on.
        scores: (N,) float32, how sure a detector is; None for what is true.
        masks: (N, H, W) bool, or None.

    torchvision: the dict of a detector's targets and results, whose labels begin at 1.
    """

    boxes: Array
    labels: Array
    scores: Array | None = None
    masks: Array | None = None

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes)
        if boxes.dtype.kind not in "biuf":
            raise TypeError(f"Objects: boxes has dtype {boxes.dtype}, expected numbers")
        boxes = boxes.astype(np.float32)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"Objects: boxes has shape {boxes.shape}, expected (N, 4)")
        labels = np.asarray(self.labels)
        if labels.size and labels.dtype.kind not in "iu":
            raise TypeError(f"Objects: labels has dtype {labels.dtype}, expected integers")
        if labels.size and labels.min() < 0:
            raise ValueError(f"Objects: labels has {labels.min()}, expected 0 or more")
        put = object.__setattr__
        put(self, "boxes", np.ascontiguousarray(boxes))
        put(self, "labels", labels.astype(np.int64).reshape(-1))
        if self.scores is not None:
            put(self, "scores", np.asarray(self.scores, np.float32).reshape(-1))
        if self.masks is not None:
            put(self, "masks", np.asarray(self.masks).astype(bool))
        for name in ("labels", "scores", "masks"):
            value = getattr(self, name)
            if value is not None and len(value) != len(boxes):
                raise ValueError(f"Objects: {len(boxes)} boxes, but {len(value)} {name}")
        if self.masks is not None and self.masks.ndim != 3:
            raise ValueError(f"Objects: masks has shape {self.masks.shape}, expected (N, H, W)")

    @classmethod
    def none(cls, *, scores: bool = False) -> Objects:
        """No object."""
        return cls(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0) if scores else None)

    @classmethod
    def from_masks(cls, masks: Any, labels: Any = None) -> Objects:
        """Objects from masks (N, H, W), or from one map (H, W) of object numbers, 0 background.

        Boxes are the smallest around each mask; labels are all 0 where none are given.
        """
        from ..kernels import masks_to_boxes

        masks = np.asarray(masks)
        if masks.ndim == 2:
            masks = masks == np.unique(masks[masks != 0])[:, None, None]
        masks = masks.astype(bool)
        if labels is None:
            labels = np.zeros(len(masks), np.int64)
        return cls(masks_to_boxes(masks), labels, None, masks)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Objects:
        """Some of the objects: an index array, a bool mask or a slice."""
        if isinstance(index, (int, np.integer)):
            index = [int(index)]
        scores = None if self.scores is None else self.scores[index]
        masks = None if self.masks is None else self.masks[index]
        return Objects(self.boxes[index], self.labels[index], scores, masks)

    @property
    def area(self) -> Array:
        """(N,) areas in pixels: of the masks, where there are any, else of the boxes."""
        if self.masks is not None:
            areas: Array = self.masks.sum((1, 2)).astype(np.float32)
            return areas
        sides = np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 0)
        areas = sides.prod(1)
        return areas


def check_objects(op: str, objects: Any, images: int, classes: int | None = None) -> None:
    """Raises unless `objects` are the `Objects` of so many images, with labels below `classes`.

    Raises:
        TypeError: Something that is no `Objects`.
        ValueError: Of another number of images, or a label that the head does not have.
    """
    if not isinstance(objects, (list, tuple)):
        raise TypeError(f"{op}: objects is a {type(objects).__name__}, expected a list of Objects")
    if len(objects) != images:
        raise ValueError(f"{op}: objects of {len(objects)} images, expected {images}")
    for i, own in enumerate(objects):
        if not isinstance(own, Objects):
            raise TypeError(f"{op}: objects[{i}] is a {type(own).__name__}, expected Objects")
        if classes is not None and len(own) and own.labels.max() >= classes:
            raise ValueError(
                f"{op}: an object has the label {own.labels.max()}, the head has {classes} classes"
            )
