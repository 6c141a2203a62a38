"""YOLO: every cell of a grid says whether an object's middle is in it, its box, its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import kernels, nn, ops
from ..._arrays import Array
from ...autograd import no_grad
from ...tensor import Tensor
from ...vision import Anchors, Objects, detections
from ...vision.objects import check_objects
from .blocks import Backbone, conv_block, image_size

F = nn.functional


class YOLO(nn.Module):
    """You only look once: Redmon et al. (2016), with anchors and logistic classes of its third
    version (2018) and the GIoU loss.

    Args:
        channels: Of the images.
        num_classes: Of objects.
        sizes: Square anchors of a cell, in pixels.
        widths: Of the backbone's stages; a cell is 2 ** (stages − 1) pixels wide.
        ignore: Anchors that overlap an object by more, and are not chosen, are not told to be
            empty.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        sizes: Sequence[float] = (20.0, 28.0),
        widths: Sequence[int] = (16, 32, 64, 96),
        ignore: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_classes, self.ignore = num_classes, ignore
        self.stride = 2 ** (len(widths) - 1)
        self.anchors = Anchors((self.stride,), (tuple(sizes),))
        self.backbone = Backbone(channels, widths)
        self.neck = conv_block(widths[-1], widths[-1])
        self.head = nn.Conv2d(widths[-1], len(sizes) * (5 + num_classes), 1)

    def forward(self, x: Any) -> Tensor:
        """(N, H, W, C) to (N, H/s, W/s, anchors · (5 + classes)): for each anchor x, y, width,
        height, whether there is an object, and a score for each class."""
        image_size(x, "YOLO", self.stride)
        raw: Tensor = self.head(self.neck(self.backbone(x)[-1]))
        return raw

    def _boxes(self, code: Any, anchors: Array) -> Any:
        """(P, 4) boxes: the middle is up to a cell from that of its own cell, the sides are the
        anchor's times e to the code."""
        shift = (F.sigmoid(code[:, :2]) * 2 - 1) * self.stride
        own = anchors[:, 2:] - anchors[:, :2]
        middle = shift + (anchors[:, :2] + anchors[:, 2:]) / 2
        half = ops.exp(ops.clamp(code[:, 2:4], -4, 4)) * (own / 2)
        return ops.cat([middle - half, middle + half], dim=-1)

    def loss(self, raw: Tensor, objects: Sequence[Objects]) -> Tensor:
        """Of what `forward` gave for images with these objects: a mean over the images.

        An object is looked for by the anchor around its middle's cell whose size fits best.
        """
        n, height, width, _ = raw.shape
        check_objects("YOLO", objects, n, self.num_classes)
        anchors = self.anchors((height, width))
        flat = raw.reshape(n * len(anchors), 5 + self.num_classes)
        chosen, counts, boxes, labels = [], [], [], []
        for i, own in enumerate(objects):
            at = self._cells(own, height, width)
            near = kernels.box_iou(anchors, own.boxes) if len(own) else np.zeros((len(anchors), 1))
            weight = (np.nan_to_num(near).max(1) <= self.ignore).astype(np.float32)
            weight[at] = 1
            # Of two objects in the same cell with the same anchor the later one is looked for.
            at, first = np.unique(at[::-1], return_index=True)
            last = len(own) - 1 - first
            chosen.append(at + i * len(anchors))
            counts.append(weight)
            boxes.append(own.boxes[last])
            labels.append(own.labels[last])
        at = np.concatenate(chosen)
        there = np.zeros(len(flat), np.float32)
        there[at] = 1
        weight = np.concatenate(counts)
        is_object = F.binary_cross_entropy_with_logits(
            flat[:, 4], there, weight=weight, reduction="sum"
        )
        if not len(at):
            return is_object / n
        found = flat[at]
        own_anchors = anchors[at % len(anchors)]
        place = F.generalized_box_iou_loss(
            self._boxes(found, own_anchors), np.concatenate(boxes), reduction="sum"
        )
        what = F.cross_entropy(found[:, 5:], np.concatenate(labels), reduction="sum")
        return (is_object + 2 * place + what) / n

    def _cells(self, objects: Objects, height: int, width: int) -> Array:
        """(N,) anchors: in the cell of each object's middle, the one of the nearest size."""
        boxes = objects.boxes
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.stride
        x = middle[:, 0].astype(np.int64).clip(0, width - 1)
        y = middle[:, 1].astype(np.int64).clip(0, height - 1)
        sides = np.sqrt(np.maximum(kernels.box_area(boxes), 1))
        fits = np.abs(np.log(sides[:, None] / np.array(self.anchors.sizes[0])))
        best: Array = (y * width + x) * self.anchors.per_cell[0] + fits.argmin(1)
        return best

    def detect(self, x: Any, **options: Any) -> list[Objects]:
        """The objects of each image; options of `vision.detections`."""
        size = image_size(x, "YOLO", self.stride)
        was_training = self.training
        self.eval()
        with no_grad():
            raw = self(x)
            n, height, width, _ = raw.shape
            anchors = self.anchors((height, width))
            flat = raw.reshape(n, len(anchors), 5 + self.num_classes)
            found = []
            for one in flat:
                boxes = self._boxes(one, anchors).numpy()
                scores = F.sigmoid(one[:, 4:5]) * F.softmax(one[:, 5:], dim=-1)
                found.append(detections(boxes, scores.numpy(), size, **options))
        self.train(was_training)
        return found
