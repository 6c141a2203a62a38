"""Additive noise, and rectangles erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..._arrays import Array
from .color import checked_range
from .transform import Batch, Transform, chance, span, within


class GaussianNoise(Transform):
    """Adds normal noise to every value, of images or of series (N, T, C).

    Args:
        mean: Of the noise.
        sigma: Its standard deviation (Keras: stddev), or (low, high) to draw one for each sample.
        value_range: (low, high) to clamp the result to; None for no limits.
        p: Probability that a sample is transformed.
    """

    words = 2
    axes: ClassVar[tuple[int, ...]] = (3, 4)

    def __init__(
        self,
        mean: float = 0.0,
        sigma: float | Sequence[float] = 0.1,
        *,
        value_range: Sequence[float] | None = (0.0, 1.0),
        p: float = 1.0,
    ) -> None:
        name = type(self).__name__
        self.mean = float(mean)
        pair = sigma if isinstance(sigma, Sequence) else (sigma, sigma)
        self.sigma = span(pair, name, "sigma", 0.0, 0.0)
        self.value_range = checked_range(value_range, name)
        self.p = chance(p, name)

    def apply(self, batch: Batch, u: Array) -> None:
        from ... import kernels

        x = batch.x
        one_each = (-1, *(1,) * (x.ndim - 1))
        on = (u[:, 0] < self.p).reshape(one_each)
        sigma = within(u[:, 1], self.sigma).reshape(one_each)
        noise = batch.keys.normal(x.shape[1:], x.dtype)
        kernels.mul(noise, np.where(on, sigma, 0).astype(x.dtype), out=noise)
        if self.mean:
            kernels.add(noise, np.where(on, self.mean, 0).astype(x.dtype), out=noise)
        kernels.add(noise, x, out=noise)
        if self.value_range is not None:
            kernels.clip(noise, *self.value_range, out=noise)
        batch.replace(noise)


def erase(batch: Batch, boxes: Array, value: Any) -> None:
    """Writes `value` into the rectangle (top, left, bottom, right) of each sample.

    `value` is a number, one for each channel, or images (N, H, W, C) to copy from.
    """
    x = batch.writeable()
    images = isinstance(value, np.ndarray) and value.ndim == 4
    for i, (top, left, bottom, right) in enumerate(boxes.astype(int).tolist()):
        if bottom > top and right > left:
            at = (i, slice(top, bottom), slice(left, right))
            x[at] = value[at] if images else value


class RandomErasing(Transform):
    """Overwrites a rectangle. Zhong et al. (2020). torchvision's arguments.

    A rectangle that is longer than the image is cut to it.

    Args:
        p: Probability that a sample is transformed.
        scale: (low, high) of the rectangle's part of the area.
        ratio: (low, high) of its width / height, uniform in the logarithm.
        value: What is written: a number, one for each channel, or "random" for normal noise.
    """

    words = 5

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | str = 0.0,
    ) -> None:
        name = "RandomErasing"
        self.p = chance(p, name)
        self.scale = span(scale, name, "scale", 0.0, 0.0)
        if self.scale[1] > 1:
            raise ValueError(f"{name}: scale is {scale}, expected parts of the area, 0 to 1")
        self.ratio = span(ratio, name, "ratio", 1.0, 1e-6)
        if isinstance(value, str) and value != "random":
            raise ValueError(f"{name}: value is {value!r}, expected numbers or 'random'")
        self.value = value

    def apply(self, batch: Batch, u: Array) -> None:
        h, w = batch.x.shape[1:3]
        area = within(u[:, 1], self.scale) * h * w
        ratio = np.exp(within(u[:, 2], (np.log(self.ratio[0]), np.log(self.ratio[1]))))
        tall = np.minimum(np.rint(np.sqrt(area / ratio)), h)
        wide = np.minimum(np.rint(np.sqrt(area * ratio)), w)
        top = np.floor(u[:, 3] * (h - tall + 1))
        left = np.floor(u[:, 4] * (w - wide + 1))
        tall = np.where(u[:, 0] < self.p, tall, 0)
        boxes = np.stack([top, left, top + tall, left + wide], -1)
        value: Any = self.value
        if value == "random":
            value = batch.keys.normal(batch.x.shape[1:], batch.x.dtype)
        elif isinstance(value, Sequence):
            value = np.asarray(value, batch.x.dtype)
            if value.shape != batch.x.shape[3:]:
                raise ValueError(
                    f"RandomErasing: value has {value.size} numbers, the images have "
                    f"{batch.x.shape[3]} channels"
                )
        erase(batch, boxes, value)


class Cutout(Transform):
    """Overwrites a square whose middle is any pixel; what lies outside is cut. DeVries, Taylor
    (2017).

    Args:
        size: Length of a side in pixels.
        value: What is written.
        p: Probability that a sample is transformed.
    """

    words = 3

    def __init__(self, size: int, *, value: float = 0.0, p: float = 1.0) -> None:
        if size < 1:
            raise ValueError(f"Cutout: size is {size}, expected at least 1")
        self.size = int(size)
        self.value = float(value)
        self.p = chance(p, "Cutout")

    def apply(self, batch: Batch, u: Array) -> None:
        h, w = batch.x.shape[1:3]
        top = np.floor(u[:, 1] * h) - self.size // 2
        left = np.floor(u[:, 2] * w) - self.size // 2
        size = np.where(u[:, 0] < self.p, self.size, 0)
        boxes = np.stack([top, left, top + size, left + size], -1)
        erase(batch, np.clip(boxes, 0, (h, w, h, w)), self.value)
