"""R-CNN: regions that may hold an object are cut out, resized, and each is classified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import kernels, nn
from ..._arrays import Array
from ...autograd import no_grad
from ...tensor import Tensor
from ...vision import Objects, detections, match_anchors
from .blocks import conv_block

F = nn.functional
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class RCNN(nn.Module):
    """Regions with CNN features: Girshick, Donahue, Darrell and Malik (2014).

    Its network sees one region at a time, resized to a square, and gives it a class, background
    among them, and for each class a better box. (The original had a support vector machine for each
    class on the network's features; later ones of its authors have a softmax, as here.)

    Args:
        channels: Of the images.
        num_classes: Of objects.
        side: Pixels of the square.
        widths: Of the network's stages.
        propose: From an image (H, W, C) to boxes (K, 4); None: selective search.
        margin: Part of a region's size that is added on every side, so that its surroundings are
            seen.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        side: int = 32,
        widths: Sequence[int] = (16, 32, 64),
        propose: Callable[[Array], Array] | None = None,
        margin: float = 0.1,
    ) -> None:
        super().__init__()
        self.num_classes, self.side, self.margin = num_classes, side, margin
        self.propose = propose or kernels.selective_search
        layers: list[nn.Module] = []
        before = channels
        for width in widths:
            layers += [conv_block(before, width), nn.MaxPool2d(2)]
            before = width
        cells = (side >> len(widths)) ** 2
        self.features = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(cells * before, 128), nn.ReLU(), nn.Dropout(0.3)
        )
        self.scores = nn.Linear(128, 1 + num_classes)
        self.boxes = nn.Linear(128, 4 * num_classes)

    def forward(self, crops: Any) -> tuple[Tensor, Tensor]:
        """Crops (K, side, side, C) to scores (K, 1 + classes) and codes (K · classes, 4)."""
        y = self.features(crops)
        return self.scores(y), self.boxes(y).reshape(-1, 4)

    def crops(self, image: Array, boxes: Array) -> Array:
        """(K, side, side, C): the regions, with their margins, resized."""
        pad = self.margin * (boxes[:, 2:] - boxes[:, :2])
        wide = np.concatenate([boxes[:, :2] - pad, boxes[:, 2:] + pad], 1)
        return kernels.crop_and_resize(image[None], [wide], self.side)

    def samples(
        self, image: Array, objects: Objects, rng: np.random.Generator, count: int = 16
    ) -> tuple[Array, Array]:
        """Crops (K, side, side, C) of some regions of an image to train on, and targets (K, 5):
        the class from 1 on, 0 for background, and the code of the object's box.

        Regions that overlap an object by half or more are of its class; so are its true box and
        some that are a little off. Up to half of the regions are of objects.
        """
        near = np.repeat(objects.boxes, 3, 0)
        sides = np.concatenate([near[:, 2:] - near[:, :2]] * 2, 1)
        shaken = near + rng.uniform(-0.15, 0.15, near.shape).astype(np.float32) * sides
        shaken = kernels.clip_boxes_to_image(shaken, image.shape[:2])
        boxes = np.concatenate([self.propose(image), objects.boxes, shaken])
        boxes = boxes[kernels.remove_small_boxes(boxes, 2.0)]
        match = match_anchors(boxes, objects, low=0.4, high=0.5, allow_low_quality=False)
        found, empty = np.flatnonzero(match >= 0), np.flatnonzero(match == -1)
        found = rng.permutation(found)[: count // 2]
        empty = rng.permutation(empty)[: count - len(found)]
        chosen = np.concatenate([found, empty])
        target = np.zeros((len(chosen), 5), np.float32)
        target[: len(found), 0] = objects.labels[match[found]] + 1
        target[: len(found), 1:] = kernels.box_encode(
            objects.boxes[match[found]], boxes[found], weights=WEIGHTS
        )
        return self.crops(image, boxes[chosen]), target

    def loss(self, output: tuple[Tensor, Tensor], target: Any) -> Tensor:
        """Of what `forward` gave for crops with these targets, see `samples`."""
        scores, codes = output
        wanted = np.asarray(target)
        labels = wanted[:, 0].astype(np.int64)
        loss = F.cross_entropy(scores, labels)
        at = np.flatnonzero(labels)
        if len(at):
            own = codes[at * self.num_classes + labels[at] - 1]
            loss = loss + F.smooth_l1_loss(own, wanted[at, 1:], reduction="sum") / len(labels)
        return loss

    def detect(self, x: Any, **options: Any) -> list[Objects]:
        """The objects of each image (N, H, W, C); options of `vision.detections`."""
        was_training = self.training
        self.eval()
        found = []
        with no_grad():
            for image in np.asarray(x):
                boxes = self.propose(image)
                boxes = boxes[kernels.remove_small_boxes(boxes, 4.0)]
                if not len(boxes):
                    found.append(Objects.none(scores=True))
                    continue
                scores, codes = self(self.crops(image, boxes))
                likely = F.softmax(scores, dim=-1).numpy()[:, 1:]
                wide = codes.numpy().reshape(len(boxes), self.num_classes, 4)
                better = kernels.box_decode(wide, boxes, weights=WEIGHTS)
                found.append(detections(better, likely, image.shape[:2], **options))
        self.train(was_training)
        return found
