"""Two images made into one, and their labels with them."""

from __future__ import annotations

import numpy as np

from ..._arrays import Array
from .noise import erase
from .transform import Batch, Transform, chance

_TRIES = 8  # of the gamma distribution's rejection method, which takes 19 of 20


def beta(alpha: float, u: Array) -> Array:
    """Beta(alpha, alpha) numbers (N,) from uniform ones (N, 4·tries + 2).

    A ratio of two gamma numbers by Marsaglia and Tsang ("A simple method for generating gamma
    variables", 2000), in logarithms, so that a small alpha does not underflow.
    """
    half = u.shape[1] // 2
    a, b = _log_gamma(alpha, u[:, :half]), _log_gamma(alpha, u[:, half:])
    ratio: Array = 1 / (1 + np.exp(np.clip(b - a, -700, 700)))
    return ratio


def _log_gamma(alpha: float, u: Array) -> Array:
    """Logarithms of Gamma(alpha) numbers, from alpha + 1 and a uniform number."""
    tries = u[:, 1:].reshape(len(u), -1, 3)
    d = alpha + 1 - 1 / 3
    z = np.sqrt(-2 * np.log1p(-tries[..., 0])) * np.cos(2 * np.pi * tries[..., 1])
    v = np.maximum(1 + z / np.sqrt(9 * d), 1e-100) ** 3
    taken = np.log1p(-tries[..., 2]) < 0.5 * z**2 + d - d * v + d * np.log(v)
    taken &= v > 1e-200
    first = np.argmax(taken, axis=1)
    chosen = np.log(d) + np.log(v[np.arange(len(u)), first])
    logs: Array = chosen + np.log1p(-u[:, 0]) / alpha
    return logs


class _Mix(Transform):
    """The partner of a sample is the one before it in the batch, the last for the first."""

    words = 2 * (1 + 3 * _TRIES) + 3
    mixes_samples = True

    def __init__(self, alpha: float = 1.0, num_classes: int | None = None, p: float = 1.0) -> None:
        name = type(self).__name__
        if not alpha > 0:
            raise ValueError(f"{name}: alpha is {alpha}, expected above 0")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"{name}: num_classes is {num_classes}, expected at least 1")
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self.p = chance(p, name)

    def share(self, u: Array) -> Array:
        """(N,): how much of each sample stays."""
        return np.where(u[:, 0] < self.p, beta(self.alpha, u[:, 3:]), 1.0)

    def mix_labels(self, batch: Batch, share: Array) -> None:
        name = type(self).__name__
        y = batch.y
        if y is None:
            raise ValueError(f"{name}: y is missing; labels are mixed with the images")
        if y.dtype.kind in "iu":
            if self.num_classes is None:
                raise ValueError(
                    f"{name}: num_classes is missing, expected it for labels {y.dtype}"
                )
            if y.shape != (len(batch.x),):
                raise ValueError(f"{name}: y has shape {y.shape}, expected ({len(batch.x)},)")
            if y.min() < 0 or y.max() >= self.num_classes:
                raise ValueError(
                    f"{name}: y runs from {y.min()} to {y.max()}, expected 0 to "
                    f"{self.num_classes - 1}"
                )
            y = np.eye(self.num_classes, dtype=batch.x.dtype)[y]
        elif len(y) != len(batch.x):
            raise ValueError(f"{name}: y has {len(y)} rows, expected {len(batch.x)}")
        part = share.astype(y.dtype).reshape(-1, *(1,) * (y.ndim - 1))
        batch.y = part * y + (1 - part) * np.roll(y, 1, 0)


class MixUp(_Mix):
    """Weighted means of two images and of their labels. Zhang et al. (2018).

    The weight is drawn for each sample from Beta(alpha, alpha).

    Args:
        alpha: Of the distribution: near 0 leaves images nearly alone, 1 is uniform.
        num_classes: For integer labels (N,), which become probabilities (N, num_classes); labels
            that are floats already need none.
        p: Probability that a sample is transformed.
    """

    def apply(self, batch: Batch, u: Array) -> None:
        from ... import kernels

        share = self.share(u)
        self.mix_labels(batch, share)
        other = np.roll(batch.x, 1, 0)
        part = share[:, None, None, None].astype(batch.x.dtype)
        y = kernels.sub(batch.x, other)
        kernels.mul(y, part, out=y)
        batch.replace(kernels.add(y, other, out=y))


class CutMix(_Mix):
    """A rectangle of another image, and as much of its label. Yun et al. (2019).

    Args:
        alpha: The rectangle's part of the area is drawn from Beta(alpha, alpha).
        num_classes: As for `MixUp`.
        p: Probability that a sample is transformed.
    """

    def apply(self, batch: Batch, u: Array) -> None:
        h, w = batch.x.shape[1:3]
        side = np.sqrt(1 - self.share(u))
        tall, wide = np.floor(side * h), np.floor(side * w)
        top = np.floor(u[:, 1] * h) - np.floor(tall / 2)
        left = np.floor(u[:, 2] * w) - np.floor(wide / 2)
        boxes = np.clip(np.stack([top, left, top + tall, left + wide], -1), 0, (h, w, h, w))
        cut = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        self.mix_labels(batch, 1 - cut / (h * w))
        erase(batch, boxes, np.roll(batch.x, 1, 0))
