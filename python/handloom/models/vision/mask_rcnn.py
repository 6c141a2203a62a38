"""Mask R-CNN: Faster R-CNN with a third answer for each box, the outline of the object in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import kernels, nn
from ..._arrays import Array
from ...tensor import Tensor
from ...vision import Objects
from .blocks import conv_block
from .faster_rcnn import FasterRCNN, Sample, Seen

F = nn.functional


class MaskRCNN(FasterRCNN):
    """Boxes and masks: He, Gkioxari, Dollár and Girshick (2017).

    For each box and class a mask of 2 · `mask_bins` pixels each way, trained as pixels of or not of
    the object, of the box's own class only: classes do not compete.

    Args:
        channels, num_classes, options: As for `FasterRCNN`.
        mask_bins: Bins of a box for the mask head.
        mask_width: Channels of the mask head.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        mask_bins: int = 14,
        mask_width: int = 32,
        **options: Any,
    ) -> None:
        super().__init__(channels, num_classes, **options)
        self.mask_bins = mask_bins
        self.mask_head = nn.Sequential(
            conv_block(self.backbone.widths[-1], mask_width),
            conv_block(mask_width, mask_width),
            nn.ConvTranspose2d(mask_width, mask_width, 2, stride=2),
            nn.ReLU(),
            nn.Conv2d(mask_width, num_classes, 1),
        )

    def _masks(self, seen: Seen, rois: Array, labels: Array) -> Tensor:
        """(K, 2 bins, 2 bins) logits, each of its box's class."""
        y = self.mask_head(self._look(seen, rois, self.mask_bins))
        k, side = len(rois), 2 * self.mask_bins
        each = y.permute(0, 3, 1, 2).reshape(k * self.num_classes, side, side)
        return each[np.arange(k) * self.num_classes + labels]

    def _head_loss(self, seen: Seen, sample: Sample, objects: Sequence[Objects]) -> Tensor:
        loss = super()._head_loss(seen, sample, objects)
        at = np.flatnonzero(sample.labels)
        if not len(at):
            return loss
        rois, matches = sample.rois[at], sample.matches[at]
        targets = []
        for i, own in enumerate(objects):
            here = rois[:, 0] == i
            if own.masks is None:
                raise ValueError(f"MaskRCNN: the objects of image {i} have no masks")
            if own.masks.shape[1:] != seen.size:
                raise ValueError(
                    f"MaskRCNN: image {i} has masks of {own.masks.shape[1:]} pixels, expected "
                    f"{seen.size}"
                )
            # The object's mask is an image of its own, out of which the box is cut.
            cut = rois[here].copy()
            cut[:, 0] = np.arange(len(cut))
            masks = own.masks[matches[here]].astype(np.float32)[..., None]
            targets.append(kernels.crop_and_resize(masks, cut, 2 * self.mask_bins)[..., 0] > 0.5)
        target = np.concatenate(targets).astype(np.float32)
        logits = self._masks(seen, rois, sample.labels[at] - 1)
        return loss + F.binary_cross_entropy_with_logits(logits, target)

    def _results(self, seen: Seen, **options: Any) -> list[Objects]:
        found = super()._results(seen, **options)
        whole = []
        for i, own in enumerate(found):
            if not len(own):
                empty = np.zeros((0, *seen.size), bool)
                whole.append(Objects(own.boxes, own.labels, own.scores, empty))
                continue
            image = np.full((len(own), 1), i, np.float32)
            logits = self._masks(seen, np.concatenate([image, own.boxes], 1), own.labels)
            small = F.sigmoid(logits).numpy()
            masks = kernels.paste_masks(small, own.boxes, seen.size) >= 0.5
            whole.append(Objects(own.boxes, own.labels, own.scores, masks))
        return whole
