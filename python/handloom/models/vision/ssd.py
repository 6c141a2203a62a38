"""SSD: default boxes on maps of several scales, each with a class, background among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import kernels, nn, ops
from ...autograd import no_grad
from ...tensor import Tensor
from ...vision import Anchors, Objects, detections, hard_negatives, match_anchors
from ...vision.objects import check_objects
from .blocks import Backbone, conv_block, image_size

F = nn.functional
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class SSD(nn.Module):
    """The single-shot detector: Liu et al. (2016).

    The last two stages of the backbone have a head each: for every default box of a cell a code of
    the box, and a score for background and each class. Boxes that overlap an object by half or more
    are to find it; of all others only the most mistaken are trained, three for each.

    Args:
        channels: Of the images.
        num_classes: Of objects.
        sizes: Default boxes of the finer and the coarser map, in pixels.
        widths: Of the backbone's stages.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        sizes: Sequence[Sequence[float]] = ((16.0, 21.0), (26.0, 32.0)),
        widths: Sequence[int] = (16, 32, 64, 96, 96),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        strides = (2 ** (len(widths) - 2), 2 ** (len(widths) - 1))
        self.anchors = Anchors(strides, sizes)
        self.backbone = Backbone(channels, widths)
        self.heads = nn.ModuleList(
            [
                nn.Sequential(
                    conv_block(w, w), nn.Conv2d(w, count * (5 + num_classes), 3, padding=1)
                )
                for w, count in zip(widths[-2:], self.anchors.per_cell)
            ]
        )

    def forward(self, x: Any) -> list[Tensor]:
        """(N, H, W, C) to (N, h, w, boxes · (4 + 1 + classes)) of both maps: for each default box
        its code, and scores of background and the classes."""
        image_size(x, "SSD", self.anchors.strides[-1])
        maps = self.backbone(x)[-2:]
        return [head(m) for head, m in zip(self.heads, maps)]

    def _flat(self, raw: Sequence[Tensor]) -> Tensor:
        """(N, A, 5 + classes) of all default boxes in the anchors' order."""
        n = raw[0].shape[0]
        numbers = 5 + self.num_classes
        counts = (math.prod(r.shape[1:]) // numbers for r in raw)
        return ops.cat([r.reshape(n, k, numbers) for r, k in zip(raw, counts)], dim=1)

    def _anchors(self, raw: Sequence[Tensor]) -> Any:
        return self.anchors(*((r.shape[1], r.shape[2]) for r in raw))

    def loss(self, raw: Sequence[Tensor], objects: Sequence[Objects]) -> Tensor:
        """Of what `forward` gave for images with these objects, for each box that finds one."""
        anchors, flat = self._anchors(raw), self._flat(raw)
        n, count, _ = flat.shape
        check_objects("SSD", objects, n, self.num_classes)
        flat = flat.reshape(n * count, 5 + self.num_classes)
        background = -F.log_softmax(flat.detach()[:, 4:], dim=-1)[:, 0].numpy()
        labels, rows, codes, positive = [], [], [], []
        for i, own in enumerate(objects):
            match = match_anchors(anchors, own, low=0.5, high=0.5)
            found = np.flatnonzero(match >= 0)
            empty = hard_negatives(background[i * count : (i + 1) * count], match)
            rows += [found + i * count, empty + i * count]
            labels += [own.labels[match[found]] + 1, np.zeros(len(empty), np.int64)]
            positive.append(found + i * count)
            codes.append(
                kernels.box_encode(own.boxes[match[found]], anchors[found], weights=WEIGHTS)
            )
        chosen = flat[np.concatenate(rows)]
        loss = F.cross_entropy(chosen[:, 4:], np.concatenate(labels), reduction="sum")
        at = np.concatenate(positive)
        if len(at):
            loss = loss + F.smooth_l1_loss(flat[at][:, :4], np.concatenate(codes), reduction="sum")
        return loss / max(len(at), 1)

    def detect(self, x: Any, **options: Any) -> list[Objects]:
        """The objects of each image; options of `vision.detections`."""
        size = image_size(x, "SSD", self.anchors.strides[-1])
        was_training = self.training
        self.eval()
        with no_grad():
            raw = self(x)
            anchors, flat = self._anchors(raw), self._flat(raw)
            found = []
            for one in flat:
                boxes = F.box_decode(one[:, :4], anchors, weights=WEIGHTS).numpy()
                scores = F.softmax(one[:, 4:], dim=-1).numpy()[:, 1:]
                found.append(detections(boxes, scores, size, **options))
        self.train(was_training)
        return found
