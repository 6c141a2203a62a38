"""Faster R-CNN: one network proposes boxes, a second one looks at each of them closely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import kernels, nn
from ..._arrays import Array
from ...autograd import no_grad
from ...tensor import Tensor
from ...vision import Anchors, Objects, balanced_sample, detections, match_anchors
from ...vision.objects import check_objects
from .blocks import Backbone, conv_block, image_size

F = nn.functional
HEAD_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class Seen(NamedTuple):
    """What the first network makes of a batch.

    Attributes:
        features: (N, H/s, W/s, C).
        objectness: (N · A,) logits of all anchors.
        codes: (N · A, 4).
        size: (H, W) of the images.
    """

    features: Tensor
    objectness: Tensor
    codes: Tensor
    size: tuple[int, int]


class Sample(NamedTuple):
    """Boxes for the second network to learn from.

    Attributes:
        rois: (K, 5) of (image, x1, y1, x2, y2).
        labels: (K,) classes from 1 on, 0 for background.
        codes: (K, 4) of the object's box relative to the roi's; of background anything.
        matches: (K,) the object of each in its image, −1 for background.
    """

    rois: Array
    labels: Array
    codes: Array
    matches: Array


class FasterRCNN(nn.Module):
    """The two-stage detector: Ren, He, Girshick and Sun (2015), with ROIAlign.

    The region proposal network says for every anchor whether there is an object and where its box
    should be; the best boxes are cut out of the feature map, and the head gives each a class,
    background among them, and for each class a better box.

    Args:
        channels: Of the images.
        num_classes: Of objects.
        sizes: Square anchors of a cell, in pixels.
        widths: Of the backbone's stages.
        hidden: Of the head.
        pooled: Bins of a box, each way.
        seed: Of the choice which boxes are trained on.
    """

    proposals, trained_rois = 100, 32  # of an image

    def __init__(
        self,
        channels: int,
        num_classes: int,
        sizes: Sequence[float] = (16.0, 24.0, 34.0),
        widths: Sequence[int] = (16, 32, 64),
        hidden: int = 128,
        pooled: int = 7,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.num_classes, self.pooled = num_classes, pooled
        self.stride = 2 ** (len(widths) - 1)
        self.anchors = Anchors((self.stride,), (tuple(sizes),))
        self.backbone = Backbone(channels, widths)
        self.neck = nn.Sequential(
            *(conv_block(widths[-1], widths[-1], dilation=rate) for rate in (1, 2))
        )
        self.objectness = nn.Conv2d(widths[-1], len(sizes), 1)
        self.codes = nn.Conv2d(widths[-1], 4 * len(sizes), 1)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(pooled * pooled * widths[-1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        self.scores = nn.Linear(hidden, 1 + num_classes)
        self.boxes = nn.Linear(hidden, 4 * num_classes)
        self._rng = np.random.default_rng(seed)

    def forward(self, x: Any) -> Seen:
        """(N, H, W, C) to what the region proposal network says."""
        size = image_size(x, type(self).__name__, self.stride)
        features = self.neck(self.backbone(x)[-1])
        objectness = self.objectness(features).reshape(-1)
        return Seen(features, objectness, self.codes(features).reshape(-1, 4), size)

    def loss(self, seen: Seen, objects: Sequence[Objects]) -> Tensor:
        """Of both networks, for what `forward` gave for images with these objects."""
        check_objects(type(self).__name__, objects, seen.features.shape[0], self.num_classes)
        found = self.proposed(seen)
        sample = self._sample(found, objects)
        return self._proposal_loss(seen, objects) + self._head_loss(seen, sample, objects)

    def _anchors(self, seen: Seen) -> Array:
        return self.anchors((int(seen.features.shape[1]), int(seen.features.shape[2])))

    def _proposal_loss(self, seen: Seen, objects: Sequence[Objects]) -> Tensor:
        anchors = self._anchors(seen)
        positive, negative, codes = [], [], []
        for i, own in enumerate(objects):
            match = match_anchors(anchors, own, low=0.3, high=0.6)
            found, empty = balanced_sample(match, 64, 0.5, self._rng)
            positive.append(found + i * len(anchors))
            negative.append(empty + i * len(anchors))
            codes.append(kernels.box_encode(own.boxes[match[found]], anchors[found]))
        at = np.concatenate(positive)
        both = np.concatenate([at, *negative])
        there = (np.arange(len(both)) < len(at)).astype(np.float32)
        loss = F.binary_cross_entropy_with_logits(seen.objectness[both], there)
        if len(at):
            place = F.smooth_l1_loss(
                seen.codes[at], np.concatenate(codes), reduction="sum", beta=1 / 9
            )
            loss = loss + place / len(both)
        return loss

    def proposed(self, seen: Seen) -> list[Array]:
        """The best boxes of each image, (K, 4); without gradient."""
        anchors = self._anchors(seen)
        n, count = seen.features.shape[0], len(anchors)
        score = seen.objectness.detach().numpy().reshape(n, count)
        codes = seen.codes.detach().numpy().reshape(n, count, 4)
        boxes = []
        for i in range(n):
            order = np.argsort(-score[i], kind="stable")[: 4 * self.proposals]
            box = kernels.box_decode(np.ascontiguousarray(codes[i, order]), anchors[order])
            box = kernels.clip_boxes_to_image(box, seen.size)
            large = kernels.remove_small_boxes(box, 2.0)
            box, own = box[large], np.ascontiguousarray(score[i, order][large])
            boxes.append(box[kernels.nms(box, own, 0.7)[: self.proposals]])
        return boxes

    def _sample(self, found: Sequence[Array], objects: Sequence[Objects]) -> Sample:
        """Proposals, and the true boxes among them, a quarter of which may be of objects."""
        rois, labels, codes, matches = [], [], [], []
        for i, (boxes, own) in enumerate(zip(found, objects)):
            boxes = np.concatenate([boxes, own.boxes])
            match = match_anchors(boxes, own, low=0.5, high=0.5, allow_low_quality=False)
            positive, negative = balanced_sample(match, self.trained_rois, 0.4, self._rng)
            chosen = np.concatenate([positive, negative])
            image = np.full((len(chosen), 1), i, np.float32)
            rois.append(np.concatenate([image, boxes[chosen]], 1))
            label = np.zeros(len(chosen), np.int64)
            label[: len(positive)] = own.labels[match[positive]] + 1
            labels.append(label)
            code = np.zeros((len(chosen), 4), np.float32)
            code[: len(positive)] = kernels.box_encode(
                own.boxes[match[positive]], boxes[positive], weights=HEAD_WEIGHTS
            )
            codes.append(code)
            matches.append(match[chosen])
        return Sample(*(np.concatenate(part) for part in (rois, labels, codes, matches)))

    def _look(self, seen: Seen, rois: Array, bins: int) -> Tensor:
        """(K, bins, bins, C): what the feature map has in each box."""
        return F.roi_align(
            seen.features, rois, bins, 1 / self.stride, sampling_ratio=2, aligned=True
        )

    def _judge(self, seen: Seen, rois: Array) -> tuple[Tensor, Tensor]:
        """Scores (K, 1 + classes) and codes (K · classes, 4)."""
        y = self.head(self._look(seen, rois, self.pooled))
        return self.scores(y), self.boxes(y).reshape(-1, 4)

    def _head_loss(self, seen: Seen, sample: Sample, objects: Sequence[Objects]) -> Tensor:
        scores, codes = self._judge(seen, sample.rois)
        loss = F.cross_entropy(scores, sample.labels)
        at = np.flatnonzero(sample.labels)
        if len(at):
            own = codes[at * self.num_classes + sample.labels[at] - 1]
            place = F.smooth_l1_loss(own, sample.codes[at], reduction="sum")
            loss = loss + place / len(sample.labels)
        return loss

    def _results(self, seen: Seen, **options: Any) -> list[Objects]:
        boxes = self.proposed(seen)
        rois = _rois(boxes)
        scores, codes = self._judge(seen, rois)
        likely = F.softmax(scores, dim=-1).numpy()[:, 1:]
        wide = codes.numpy().reshape(len(rois), self.num_classes, 4)
        better = kernels.box_decode(wide, np.ascontiguousarray(rois[:, 1:]), weights=HEAD_WEIGHTS)
        found, at = [], 0
        for own in boxes:
            part = slice(at, at + len(own))
            found.append(detections(better[part], likely[part], seen.size, **options))
            at += len(own)
        return found

    def detect(self, x: Any, **options: Any) -> list[Objects]:
        """The objects of each image; options of `vision.detections`."""
        was_training = self.training
        self.eval()
        with no_grad():
            found = self._results(self(x), **options)
        self.train(was_training)
        return found


def _rois(boxes: Sequence[Array]) -> Array:
    image = np.repeat(np.arange(len(boxes)), [len(b) for b in boxes]).astype(np.float32)
    return np.concatenate([image[:, None], np.concatenate([np.empty((0, 4), "f4"), *boxes])], 1)
