"""Brightness, contrast, saturation and hue: one matrix of colours for each sample, one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..._arrays import Array
from .transform import Batch, Group, Transform, chance, span, within

Range = tuple[float, float] | None

# Rec. 601: how bright red, green and blue look, and the colour-difference axes I and Q.
_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


def checked_range(value_range: Sequence[float] | None, name: str) -> Range:
    """Checks (low, high), or None for no limits."""
    if value_range is None:
        return None
    low, high = (float(v) for v in value_range)
    if not low < high:
        raise ValueError(f"{name}: value_range is {value_range}, expected (low, high) or None")
    return low, high


class Recolor(Group):
    """Colour transforms in a row: y = M x + b for every pixel x (C,), clamped once."""

    def takes(self, later: Transform) -> bool:
        first = self.members[0][0]
        assert isinstance(first, ColorJitter)
        return isinstance(later, ColorJitter) and later.value_range == first.value_range

    def run(self, batch: Batch) -> None:
        from ... import kernels

        x = batch.x
        n, h, w, c = x.shape
        if h * w * c == 0:
            return
        matrix, shift = np.tile(np.eye(c), (n, 1, 1)), np.zeros((n, c))
        mean: Array = kernels.mean(x.reshape(n, h * w, c), axis=1).astype(np.float64)
        mixes = False
        value_range: Range = None
        for t, u in self.members:
            assert isinstance(t, ColorJitter)
            for step, offset in t.steps(u, matrix, shift, mean):
                matrix, shift = step @ matrix, np.einsum("nab,nb->na", step, shift) + offset
            mixes |= t.mixes and c > 1
            value_range = t.value_range
        kind = x.dtype
        if mixes:
            turned = np.ascontiguousarray(matrix.transpose(0, 2, 1), kind)
            y = kernels.matmul(x.reshape(n, h * w, c), turned).reshape(x.shape)
        else:
            y = kernels.mul(x, matrix[:, :1, :1, None].astype(kind))
        kernels.add(y, shift[:, None, None].astype(kind), out=y)
        if value_range is not None:
            kernels.clip(y, *value_range, out=y)
        batch.replace(y)


class ColorJitter(Transform):
    """Random brightness, contrast, saturation and hue, in this order. torchvision's arguments.

    Args:
        brightness: Factor, uniform in 1 ± brightness or (low, high).
        contrast: Factor of the distance from the image's mean brightness, likewise.
        saturation: Factor of the distance from grey, likewise; 3 channels only.
        hue: Turn of the colours, uniform in ±hue or (low, high) full turns; 3 channels only. The
            colours turn in the YIQ plane, which keeps the brightness (torchvision turns HSV).
        value_range: (low, high) to clamp the result to; None for images that are standardised.
        p: Probability that a sample is transformed.
    """

    words = 5
    group: ClassVar[type[Group]] = Recolor

    def __init__(
        self,
        brightness: float | Sequence[float] = 0.0,
        contrast: float | Sequence[float] = 0.0,
        saturation: float | Sequence[float] = 0.0,
        hue: float | Sequence[float] = 0.0,
        *,
        value_range: Sequence[float] | None = (0.0, 1.0),
        p: float = 1.0,
    ) -> None:
        name = type(self).__name__
        self.brightness = span(brightness, name, "brightness", 1.0, 0.0)
        self.contrast = span(contrast, name, "contrast", 1.0, 0.0)
        self.saturation = span(saturation, name, "saturation", 1.0, 0.0)
        self.hue = span(hue, name, "hue", 0.0, -0.5)
        self.value_range = checked_range(value_range, name)
        self.p = chance(p, name)

    @property
    def mixes(self) -> bool:
        """Whether channels flow into each other."""
        return self.saturation != (1.0, 1.0) or self.hue != (0.0, 0.0)

    def steps(
        self, u: Array, matrix: Array, shift: Array, mean: Array
    ) -> list[tuple[Array, Array]]:
        """Maps (N, C, C) and offsets (N, C) to apply one after the other.

        `matrix` and `shift` are what has been done before, `mean` (N, C) that of the images.
        """
        n, c = mean.shape
        if self.mixes and c != 3:
            raise ValueError(
                f"{type(self).__name__}: saturation and hue need 3 channels, the images have {c}"
            )
        off = u[:, 0] >= self.p
        bright, contrast, colourful = (
            np.where(off, 1.0, within(u[:, 1 + i], bounds))[:, None]
            for i, bounds in enumerate((self.brightness, self.contrast, self.saturation))
        )
        luma = _LUMA if c == 3 else np.full(c, 1 / c)
        now = (np.einsum("nab,nb->na", matrix, mean) + shift) * bright
        eye = np.eye(c)
        none = np.zeros((n, c))
        steps = [
            (bright[..., None] * eye, none),
            (contrast[..., None] * eye, (1 - contrast) * (now @ luma)[:, None] + none),
        ]
        if self.mixes:
            grey = np.outer(np.ones(c), luma)
            steps.append((colourful[..., None] * eye + (1 - colourful[..., None]) * grey, none))
            steps.append((_turns(np.where(off, 0.0, within(u[:, 4], self.hue))), none))
        return steps

    def apply(self, batch: Batch, u: Array) -> None:
        Recolor(self, u).run(batch)


def _turns(hue: Array) -> Array:
    """(N, 3, 3): I and Q turned by `hue` full turns, Y kept."""
    angle = 2 * np.pi * hue
    turn = np.tile(np.eye(3), (len(hue), 1, 1))
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    turned: Array = np.linalg.inv(_YIQ) @ turn @ _YIQ
    return turned


class RandomBrightness(ColorJitter):
    """Multiplies by a factor, uniform in 1 ± brightness or (low, high).

    Other arguments: `ColorJitter`. (Keras' RandomBrightness adds instead.)
    """

    def __init__(self, brightness: float | Sequence[float], **options: Any) -> None:
        super().__init__(brightness, **options)


class RandomContrast(ColorJitter):
    """Multiplies the distance from the mean by a factor, uniform in 1 ± contrast or (low, high).

    Other arguments: `ColorJitter`.
    """

    def __init__(self, contrast: float | Sequence[float], **options: Any) -> None:
        super().__init__(contrast=contrast, **options)
