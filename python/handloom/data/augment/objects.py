"""Augmentation that takes what is in an image along: boxes, masks, a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arrays import Array
from .transform import Compose, Transform

if TYPE_CHECKING:
    from ...vision import Objects

Size = tuple[int, int]


class Follower:
    """Something that moves as the images of a batch do."""

    def moved(self, matrix: Array, size: Size, made: Size) -> None:
        """Images of `size` became some of `made`; matrix (N, 2, 3) leads from their pixels back."""
        raise NotImplementedError


class ObjectFollower(Follower):
    """The objects of each image."""

    def __init__(self, objects: Sequence[Objects], visible: float) -> None:
        self.objects = list(objects)
        self.visible = visible

    def moved(self, matrix: Array, size: Size, made: Size) -> None:
        self.objects = [
            _moved(objects, m, size, made, self.visible) for objects, m in zip(self.objects, matrix)
        ]


class LabelFollower(Follower):
    """A class for each pixel."""

    def __init__(self, labels: Array, fill: int) -> None:
        self.labels = labels
        self.fill = fill

    def moved(self, matrix: Array, size: Size, made: Size) -> None:
        from ... import kernels

        moved = kernels.warp_affine(
            np.ascontiguousarray(self.labels, np.float64)[..., None],
            np.ascontiguousarray(matrix),
            made,
            mode="nearest",
            fill=float(self.fill),
        )
        self.labels = moved[..., 0].astype(self.labels.dtype)


def _moved(objects: Objects, matrix: Array, size: Size, made: Size, visible: float) -> Objects:
    from ... import kernels
    from ...vision import Objects

    if not len(objects):
        masks = None if objects.masks is None else np.zeros((0, *made), bool)
        return Objects(objects.boxes, objects.labels, objects.scores, masks)
    # Pixel i has its middle at i + 1/2 of the boxes' coordinates.
    forward = np.linalg.inv(np.concatenate([matrix, [[0.0, 0.0, 1.0]]]))[:2]
    x, y = objects.boxes[:, [0, 2, 0, 2]], objects.boxes[:, [1, 1, 3, 3]]
    corners = np.stack([x - 0.5, y - 0.5, np.ones_like(x)], -1) @ forward.T + 0.5  # (N, 4, 2)
    whole = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    boxes = kernels.clip_boxes_to_image(whole, made)
    if objects.masks is None:
        masks = None
        before, after = kernels.box_area(whole), kernels.box_area(boxes)
    else:
        masks = (
            kernels.warp_affine(
                objects.masks.astype(np.float32)[..., None],
                np.repeat(matrix[None], len(objects), 0),
                made,
                mode="nearest",
            )[..., 0]
            > 0.5
        )
        zoom = abs(np.linalg.det(forward[:, :2]))
        before, after = objects.area * zoom, masks.sum((1, 2))
        boxes = kernels.masks_to_boxes(masks)
    keep = (after > visible * before) & (after > 0)
    return Objects(
        boxes[keep],
        objects.labels[keep],
        None if objects.scores is None else objects.scores[keep],
        None if masks is None else masks[keep],
    )


class WithObjects:
    """Transforms for images and the objects in them. torchvision: `v2` on `tv_tensors`.

    Flips, crops and affine maps move boxes and masks with their pixels; colours, noise and erasing
    leave them. An object of which too little is left in sight is dropped. What is random is as in
    `Compose`: a function of seed, epoch and sample number.

    Args:
        transforms: As for `Compose`; CutMix and MixUp have no meaning here.
        seed: As for `Compose`.
        visible: The least part of an object that has to stay in sight.
    """

    def __init__(
        self,
        transforms: Sequence[Transform | Compose],
        seed: int | None = None,
        visible: float = 0.3,
    ) -> None:
        if not 0 <= visible <= 1:
            raise ValueError(f"WithObjects: visible is {visible}, expected 0 to 1")
        self.compose = _composed("WithObjects", transforms, seed)
        self.visible = visible

    def __call__(
        self, x: Any, objects: Sequence[Objects], *, index: Any = None, epoch: int = 0
    ) -> tuple[Any, list[Objects]]:
        """Transforms images (N, H, W, C) and the objects of each.

        Raises:
            ValueError: Another number of objects than of images, or masks of another size.
        """
        if len(objects) != len(x):
            raise ValueError(f"WithObjects: {len(x)} images, but objects of {len(objects)}")
        for i, own in enumerate(objects):
            if own.masks is not None and own.masks.shape[1:] != x.shape[1:3]:
                raise ValueError(
                    f"WithObjects: objects[{i}] has masks of {own.masks.shape[1:]} pixels, the "
                    f"image has {tuple(x.shape[1:3])}"
                )
        follower = ObjectFollower(objects, self.visible)
        made = self.compose.follow(x, follower, index=index, epoch=epoch)
        return made, follower.objects


class WithLabels:
    """Transforms for images and the class of each of their pixels.

    Args:
        transforms, seed: As for `WithObjects`.
        fill: The class of pixels from outside, such as the `ignore_index` of the loss.
    """

    def __init__(
        self,
        transforms: Sequence[Transform | Compose],
        seed: int | None = None,
        fill: int = -100,
    ) -> None:
        self.compose = _composed("WithLabels", transforms, seed)
        self.fill = fill

    def __call__(self, x: Any, y: Any, *, index: Any = None, epoch: int = 0) -> tuple[Any, Any]:
        """Transforms images (N, H, W, C) and labels (N, H, W): what a `DataLoader` calls.

        Raises:
            ValueError: Labels of another shape than the images'.
        """
        is_tensor = hasattr(y, "_array")
        labels = y._array if is_tensor else np.asarray(y)
        if labels.shape != tuple(x.shape[:3]):
            raise ValueError(
                f"WithLabels: y has shape {labels.shape}, expected {tuple(x.shape[:3])}"
            )
        follower = LabelFollower(labels, self.fill)
        made = self.compose.follow(x, follower, index=index, epoch=epoch)
        if is_tensor:
            from ...tensor import from_numpy

            return made, from_numpy(follower.labels)
        return made, follower.labels


def _composed(name: str, transforms: Sequence[Transform | Compose], seed: int | None) -> Compose:
    compose = Compose(transforms, seed)
    for t in compose.transforms:
        if t.mixes_samples:
            raise ValueError(
                f"{name}: {type(t).__name__} mixes images, which the objects in them cannot follow"
            )
    return compose
