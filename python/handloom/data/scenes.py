"""Scenes to find things in: handwritten digits on photographed textures, and mosaics of textures.

Everything is made of real pixels, and made so that boxes, masks and labels are known exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._arrays import Array
from .catalog import load

if TYPE_CHECKING:
    from ..vision import Objects


class Scenes(NamedTuple):
    """Images and what is in them.

    Attributes:
        x: (N, H, W, 1) float32 in [0, 1].
        objects: Of each image, with masks.
    """

    x: Array
    objects: list[Objects]


def digit_scenes(
    count: int,
    *,
    train: bool = True,
    size: int = 64,
    digits: tuple[int, int] = (1, 3),
    seed: int = 0,
) -> Scenes:
    """Digits of `mnist_5k`, 18 to 30 pixels high, on crops of brick, grass and gravel.

    Training scenes have 4000 of the digits and the upper halves of the textures, test scenes the
    other 1000 and the lower halves. Digits are lighter or darker than what is behind them, and
    their boxes overlap by less than a tenth.

    Args:
        count: Scenes.
        train: For training or for testing.
        size: Height and width in pixels.
        digits: How many in a scene, at least and at most.
        seed: Chooses everything; other scenes for training and testing, too.

    Returns:
        `Scenes`; labels are the digits.
    """
    from .. import kernels
    from ..vision import Objects

    rng = np.random.default_rng([seed, int(train)])
    images, labels, *_ = load("mnist_5k")
    rows = _digit_rows(labels, train)
    grounds = _grounds(train)
    x = np.empty((count, size, size, 1), np.float32)
    found = []
    for i in range(count):
        scene = _crop(grounds[rng.integers(len(grounds))], size, rng)
        wanted = int(rng.integers(digits[0], digits[1] + 1))
        boxes = np.zeros((0, 4), np.float32)
        names: list[int] = []
        masks: list[Array] = []
        for _ in range(40):
            if len(names) == wanted:
                break
            row = rows[rng.integers(len(rows))]
            side = int(rng.integers(24, 41))
            digit = kernels.crop_and_resize(images[row : row + 1], _WHOLE, side)[0, ..., 0]
            y0, x0 = rng.integers(-2, size - side + 3, 2)
            layer = np.zeros((size, size), np.float32)
            top, left = max(y0, 0), max(x0, 0)
            bottom, right = min(y0 + side, size), min(x0 + side, size)
            layer[top:bottom, left:right] = digit[top - y0 : bottom - y0, left - x0 : right - x0]
            mask = layer > 0.3
            box = kernels.masks_to_boxes(mask[None])
            if mask.sum() < 0.95 * (digit > 0.3).sum():
                continue
            if len(boxes) and kernels.box_iou(box, boxes).max() > 0.1:
                continue
            # As far from the ground as there is room for.
            behind = float(scene[mask].mean())
            ink = behind + rng.uniform(0.4, 0.55) * (1 if behind < 0.5 else -1)
            scene = scene + layer * (ink - scene)
            for other in masks:
                other &= ~mask
            boxes = np.concatenate([boxes, box])
            names.append(int(labels[row]))
            masks.append(mask)
        x[i, ..., 0] = scene.clip(0, 1)
        found.append(Objects.from_masks(np.array(masks).reshape(-1, size, size), np.array(names)))
    return Scenes(x, found)


_WHOLE = np.array([[0, 0, 0, 28, 28]], np.float32)


def _digit_rows(labels: Array, train: bool) -> Array:
    """Of each class the first four fifths, or the rest."""
    rows = []
    for c in range(10):
        own = np.flatnonzero(labels == c)
        cut = len(own) * 4 // 5
        rows.append(own[:cut] if train else own[cut:])
    return np.concatenate(rows)


def _grounds(train: bool) -> Array:
    """(3, 256, 512): the upper or lower half of each texture."""
    textures = load("textures").x[..., 0]
    half: Array = textures[:, :256] if train else textures[:, 256:]
    return half


def _crop(ground: Array, size: int, rng: np.random.Generator) -> Array:
    y = rng.integers(0, ground.shape[0] - size + 1)
    x = rng.integers(0, ground.shape[1] - size + 1)
    crop: Array = ground[y : y + size, x : x + size]
    return crop


class Mosaics(NamedTuple):
    """Images whose pixels have classes.

    Attributes:
        x: (N, H, W, 1) float32 in [0, 1].
        y: (N, H, W) int64.
        names: Of the classes.
    """

    x: Array
    y: Array
    names: tuple[str, ...]


def texture_mosaics(
    count: int, *, train: bool = True, size: int = 64, patches: int = 5, seed: int = 0
) -> Mosaics:
    """Patches of brick, grass and gravel: each pixel has the texture of the nearest of some points.

    Every patch is shifted to the same mean and contrast, so that brightness tells nothing and the
    texture has to be seen. Training mosaics are cut from the upper halves, test mosaics from the
    lower.

    Args:
        count: Mosaics.
        train: For training or for testing.
        size: Height and width in pixels.
        patches: Points in a mosaic.
        seed: Chooses everything.
    """
    textures = load("textures")
    grounds = _grounds(train)
    rng = np.random.default_rng([seed, int(train)])
    x = np.empty((count, size, size, 1), np.float32)
    y = np.empty((count, size, size), np.int64)
    rows, columns = np.mgrid[:size, :size]
    for i in range(count):
        points = rng.uniform(0, size, (patches, 2))
        kinds = rng.integers(0, len(grounds), patches)
        far = (rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2
        y[i] = kinds[far.argmin(-1)]
        layers = np.stack([_crop(g, size, rng) for g in grounds])
        layers = layers - layers.mean((1, 2), keepdims=True)
        layers = 0.5 + 0.15 * layers / layers.std((1, 2), keepdims=True)
        x[i, ..., 0] = np.take_along_axis(layers, y[i][None], 0)[0].clip(0, 1)
    return Mosaics(x, y, textures.target_names)
