"""Time series (N, T, C): noise, scale, place in time, and time itself.

After T. Um and others, "Data augmentation of wearable sensor data for Parkinson's disease
monitoring using convolutional neural networks" (2017). All T steps are taken for data: pad
afterwards.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from ..._arrays import Array
from .noise import GaussianNoise
from .transform import Batch, Transform, chance, within

Number = TypeVar("Number", int, float)


class _SeriesTransform(Transform):
    axes = (3,)

    def __init__(self, p: float) -> None:
        self.p = chance(p, type(self).__name__)


class Jitter(GaussianNoise):
    """Adds normal noise to every value: `GaussianNoise` without limits. tsaug: AddNoise.

    Args:
        sigma: Standard deviation of the noise, or (low, high) to draw one for each sample.
        p: Probability that a sample is transformed.
    """

    axes = (3,)

    def __init__(self, sigma: float | tuple[float, float] = 0.03, *, p: float = 1.0) -> None:
        super().__init__(0.0, sigma, value_range=None, p=p)


class Scaling(_SeriesTransform):
    """Multiplies each channel by a number near 1 and adds a number near 0.

    Args:
        sigma: Standard deviation of the factor around 1.
        offset: Standard deviation of what is added.
        p: Probability that a sample is transformed.
    """

    words = 1

    def __init__(self, sigma: float = 0.1, offset: float = 0.0, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.sigma = float(_at_least("Scaling", "sigma", sigma, 0))
        self.offset = float(_at_least("Scaling", "offset", offset, 0))

    def apply(self, batch: Batch, u: Array) -> None:
        x = batch.x
        on = u[:, :1] < self.p
        z = batch.keys.normal((2, x.shape[-1]), np.float64)
        factor = 1 + np.where(on, self.sigma * z[:, 0], 0)
        added = np.where(on, self.offset * z[:, 1], 0)
        batch.replace(x * factor[:, None].astype(x.dtype) + added[:, None].astype(x.dtype))


class Shift(_SeriesTransform):
    """Moves a series in time by up to `steps`, either way; its end values are repeated.

    Args:
        steps: Farthest move.
        p: Probability that a sample is transformed.
    """

    words = 2

    def __init__(self, steps: int, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.steps = _at_least("Shift", "steps", steps, 1)

    def apply(self, batch: Batch, u: Array) -> None:
        t = batch.x.shape[1]
        by = np.where(u[:, 0] < self.p, np.floor(within(u[:, 1], (-self.steps, self.steps + 1))), 0)
        _take(batch, np.clip(np.arange(t) - by[:, None], 0, t - 1))


class WindowSlice(_SeriesTransform):
    """A window at a random place, stretched to the whole length. Le Guennec et al. (2016).

    Args:
        share: The window's part of the length, above 0 and up to 1.
        p: Probability that a sample is transformed.
    """

    words = 2

    def __init__(self, share: float = 0.9, *, p: float = 1.0) -> None:
        super().__init__(p)
        if not 0 < share <= 1:
            raise ValueError(f"WindowSlice: share is {share}, expected above 0 and up to 1")
        self.share = float(share)

    def apply(self, batch: Batch, u: Array) -> None:
        last = batch.x.shape[1] - 1
        share = np.where(u[:, :1] < self.p, self.share, 1.0)
        _take(batch, (1 - share) * last * u[:, 1:] + share * np.arange(last + 1))


class TimeWarp(_SeriesTransform):
    """Lets time run faster here and slower there; the first and the last step stay.

    The speed is a curve through `knots` random speeds. tsaug: TimeWarp.

    Args:
        knots: Speeds that are drawn, at least 2.
        sigma: Standard deviation of a speed's logarithm.
        p: Probability that a sample is transformed.
    """

    words = 1

    def __init__(self, knots: int = 4, sigma: float = 0.2, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.knots = _at_least("TimeWarp", "knots", knots, 2)
        self.sigma = float(_at_least("TimeWarp", "sigma", sigma, 0))

    def apply(self, batch: Batch, u: Array) -> None:
        steps = batch.x.shape[1]
        if steps < 2:
            return
        speeds = np.exp(self.sigma * batch.keys.normal((self.knots,), np.float64))
        at = np.linspace(0, self.knots - 1, steps - 1)
        left = np.minimum(at.astype(int), self.knots - 2)
        low, high = speeds[:, left], speeds[:, left + 1]
        time = np.zeros((len(speeds), steps))
        np.cumsum(low + (at - left) * (high - low), axis=1, out=time[:, 1:])
        time *= (steps - 1) / time[:, -1:]
        _take(batch, np.where(u[:, :1] < self.p, time, np.arange(steps)))


class Permutation(_SeriesTransform):
    """Cuts a series into pieces of nearly the same length and puts them in random order.

    Args:
        pieces: At least 2.
        p: Probability that a sample is transformed.
    """

    words = 1

    def __init__(self, pieces: int = 4, *, p: float = 1.0) -> None:
        super().__init__(p)
        self.pieces = _at_least("Permutation", "pieces", pieces, 2)

    def apply(self, batch: Batch, u: Array) -> None:
        steps = batch.x.shape[1]
        keys = batch.keys.uniform(self.pieces)
        piece = np.arange(steps) * self.pieces // max(steps, 1)
        # Sorted by its piece's random number; a stable sort keeps the order within a piece.
        order = np.argsort(keys[:, piece], axis=1, kind="stable")
        _take(batch, np.where(u[:, :1] < self.p, order, np.arange(steps)))


def _take(batch: Batch, time: Array) -> None:
    """Reads each series at the places (N, T) of its own; between two steps along a line."""
    x = batch.x
    last = x.shape[1] - 1
    before = np.clip(np.floor(time), 0, last).astype(np.int64)
    part = (time - before)[..., None].astype(x.dtype)
    y = np.take_along_axis(x, before[..., None], 1)
    if part.any():
        # What lies on a step is taken as it is, whatever its neighbour holds.
        after = np.take_along_axis(x, np.minimum(before + 1, last)[..., None], 1)
        y = np.where(part > 0, y + part * (after - y), y)
    batch.replace(y)


def _at_least(name: str, what: str, value: Number, least: Number) -> Number:
    if not value >= least:
        raise ValueError(f"{name}: {what} is {value}, expected at least {least}")
    return value
