"""Flips, rotations, shifts, zooms, shears and crops: one affine map of each sample, one pass.

A map takes a pixel (x, y, 1) of the result to the place in the image that it shows. Maps of
transforms in a row are multiplied, so that the images are interpolated once, and what one step
would push out of sight is still there for the next to bring back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..._arrays import Array
from .transform import Batch, Group, Transform, chance, span, within

Size = tuple[int, int]  # H, W


class Outside:
    """How a warp reads: between the pixels, and beyond the edges."""

    def __init__(self, mode: str, padding_mode: str, fill: float, name: str) -> None:
        for what, value, known in (
            ("mode", mode, ("bilinear", "nearest")),
            ("padding_mode", padding_mode, ("zeros", "border", "reflection")),
        ):
            if value not in known:
                raise ValueError(f"{name}: {what} is {value!r}, expected one of {', '.join(known)}")
        self.key = (mode, padding_mode, float(fill))


class Warp(Group):
    """Affine maps in a row."""

    def takes(self, later: Transform) -> bool:
        if not isinstance(later, Geometric):
            return False
        ways = {t.outside.key for t in self._transforms() if t.outside}
        return not later.outside or not ways or later.outside.key in ways

    def _transforms(self) -> list[Geometric]:
        return [t for t, _ in self.members if isinstance(t, Geometric)]

    def run(self, batch: Batch) -> None:
        from ... import kernels

        before: Size = (batch.x.shape[1], batch.x.shape[2])
        size = before
        total: Array | None = None
        for t, u in self.members:
            assert isinstance(t, Geometric)
            matrix = t.matrix(u, size)
            if t.p < 1:
                matrix[u[:, 0] >= t.p] = np.eye(3)
            total = matrix if total is None else total @ matrix
            size = t.size(size)
        assert total is not None
        ways = [t.outside.key for t in self._transforms() if t.outside]
        mode, padding_mode, fill = ways[0] if ways else ("bilinear", "zeros", 0.0)
        batch.replace(
            kernels.warp_affine(
                batch.x,
                np.ascontiguousarray(total[:, :2]),
                size,
                mode=mode,
                padding_mode=padding_mode,
                fill=fill,
            )
        )
        if batch.follower is not None:
            batch.follower.moved(total[:, :2], before, size)


class Geometric(Transform):
    """A transform that moves pixels.

    Attributes:
        p: Probability that a sample is transformed; its first random number decides.
        outside: How it reads beyond the edges; None if it never does.
    """

    group: ClassVar[type[Group]] = Warp
    p: float = 1.0
    outside: Outside | None = None

    def matrix(self, u: Array, size: Size) -> Array:
        """(N, 3, 3) float64, from pixels (x, y, 1) of the result to those of the image."""
        raise NotImplementedError(f"{type(self).__name__}: matrix is not defined")

    def size(self, size: Size) -> Size:
        """(H, W) of the result."""
        return size

    def apply(self, batch: Batch, u: Array) -> None:
        Warp(self, u).run(batch)


def _identity(n: int) -> Array:
    return np.tile(np.eye(3), (n, 1, 1))


def _about_centre(forward: Array, shift: Array, size: Size) -> Array:
    """Turns maps of the content about the middle, (N, 2, 2) and then (N, 2), into reading maps."""
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    m = _identity(len(forward))
    m[:, :2, :2] = np.linalg.inv(forward)
    m[:, :2, 2] = middle - np.einsum("nab,nb->na", m[:, :2, :2], middle + shift)
    return m


class RandomHorizontalFlip(Geometric):
    """Left becomes right with probability p. Keras: RandomFlip("horizontal")."""

    words = 1

    def __init__(self, p: float = 0.5) -> None:
        self.p = chance(p, "RandomHorizontalFlip")

    def matrix(self, u: Array, size: Size) -> Array:
        m = _identity(len(u))
        m[:, 0, 0], m[:, 0, 2] = -1, size[1] - 1
        return m


class RandomVerticalFlip(Geometric):
    """Top becomes bottom with probability p. Keras: RandomFlip("vertical")."""

    words = 1

    def __init__(self, p: float = 0.5) -> None:
        self.p = chance(p, "RandomVerticalFlip")

    def matrix(self, u: Array, size: Size) -> Array:
        m = _identity(len(u))
        m[:, 1, 1], m[:, 1, 2] = -1, size[0] - 1
        return m


class RandomAffine(Geometric):
    """Rotation, shift, zoom and shear about the middle of the image, in one map.

    The content is zoomed, sheared, turned, and then shifted. torchvision's name and arguments (its
    `affine` turns clockwise, this one the other way, as its `rotate` does).

    Args:
        degrees: Rotation, uniform in ±degrees or in (low, high); positive is counter-clockwise.
        translate: Largest shift as a part of (width, height), or one number for both.
        scale: (low, high) of the zoom; above 1 enlarges.
        shear: Along x, uniform in ±shear or (low, high) degrees; four numbers give y's as well.
        mode: "bilinear" or "nearest".
        padding_mode: "zeros" (then it is `fill`), "border", or "reflection" about the outer edges.
        fill: What lies outside the image.
        p: Probability that a sample is transformed.
    """

    words = 7

    def __init__(
        self,
        degrees: float | Sequence[float] = 0.0,
        translate: float | Sequence[float] = 0.0,
        scale: Sequence[float] = (1.0, 1.0),
        shear: float | Sequence[float] = 0.0,
        *,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
        fill: float = 0.0,
        p: float = 1.0,
    ) -> None:
        name = type(self).__name__
        self.degrees = span(degrees, name, "degrees")
        shift = tuple(translate) if isinstance(translate, Sequence) else (translate, translate)
        if len(shift) != 2 or not all(0 <= t <= 1 for t in shift):
            raise ValueError(
                f"{name}: translate is {translate}, expected parts of the size, 0 to 1"
            )
        self.translate = shift
        self.scale = span(scale, name, "scale", 1.0, 0.0)
        if self.scale[0] <= 0:
            raise ValueError(f"{name}: scale is {scale}, expected (low, high) above 0")
        both = isinstance(shear, Sequence) and len(shear) == 4
        along_x: Any = tuple(shear)[:2] if both and isinstance(shear, Sequence) else shear
        along_y: Any = tuple(shear)[2:] if both and isinstance(shear, Sequence) else 0.0
        self.shear = (span(along_x, name, "shear"), span(along_y, name, "shear"))
        if max(abs(v) for pair in self.shear for v in pair) >= 90:
            raise ValueError(f"{name}: shear is {shear}, expected less than 90 degrees")
        self.outside = Outside(mode, padding_mode, fill, name)
        self.p = chance(p, name)

    def matrix(self, u: Array, size: Size) -> Array:
        turn = np.radians(within(u[:, 1], self.degrees))
        zoom = within(u[:, 4], self.scale)
        along = [np.tan(np.radians(within(u[:, 5 + i], self.shear[i]))) for i in (0, 1)]
        sin, cos, one = np.sin(turn), np.cos(turn), np.ones(len(u))
        rotate = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)
        shear = np.stack([np.stack([one, along[0]], -1), np.stack([along[1], one], -1)], 1)
        limits = np.array(self.translate) * (size[1], size[0])
        return _about_centre(
            rotate @ shear * zoom[:, None, None], (2 * u[:, 2:4] - 1) * limits, size
        )


class RandomRotation(RandomAffine):
    """Turns about the middle by a uniform angle in ±degrees or (low, high), counter-clockwise.

    Keras: RandomRotation, whose factor is a part of a full turn. Other arguments: `RandomAffine`.
    """

    def __init__(self, degrees: float | Sequence[float], **options: Any) -> None:
        super().__init__(degrees, **options)


class RandomTranslation(RandomAffine):
    """Shifts by up to a part of (width, height), to any fraction of a pixel.

    Other arguments: `RandomAffine`.
    """

    def __init__(self, translate: float | Sequence[float], **options: Any) -> None:
        super().__init__(translate=translate, **options)


class RandomZoom(RandomAffine):
    """Zooms about the middle by a uniform factor in (low, high); above 1 enlarges.

    Other arguments: `RandomAffine`.
    """

    def __init__(self, scale: Sequence[float], **options: Any) -> None:
        super().__init__(scale=scale, **options)


class RandomShear(RandomAffine):
    """Slants by a uniform angle in ±degrees or (low, high) along x; four numbers: and along y.

    Other arguments: `RandomAffine`.
    """

    def __init__(self, shear: float | Sequence[float], **options: Any) -> None:
        super().__init__(shear=shear, **options)


def _size_of(size: int | Sequence[int], name: str) -> Size:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name}: size is {size}, expected (height, width) of at least 1")
    return pair


class CenterCrop(Geometric):
    """Cuts out the middle.

    Args:
        size: (height, width) of the result, or one number for both.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self._size = _size_of(size, "CenterCrop")

    def size(self, size: Size) -> Size:
        h, w = self._size
        if h > size[0] or w > size[1]:
            raise ValueError(f"CenterCrop: size is {self._size}, but the images have {size}")
        return self._size

    def matrix(self, u: Array, size: Size) -> Array:
        h, w = self.size(size)
        m = _identity(len(u))
        m[:, 0, 2], m[:, 1, 2] = (size[1] - w) // 2, (size[0] - h) // 2
        return m


class RandomCrop(Geometric):
    """Puts a margin around the image and cuts out a window at a random place of whole pixels.

    Args:
        size: (height, width) of the result, or one number for both.
        padding: Margin on every side, or (height's, width's).
        padding_mode: Of the margin: "zeros" (then it is `fill`), "border", or "reflection" about
            the outer edges (NumPy's symmetric).
        fill: What the margin holds.
    """

    words = 2

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] = 0,
        *,
        padding_mode: str = "zeros",
        fill: float = 0.0,
    ) -> None:
        self._size = _size_of(size, "RandomCrop")
        self.padding = (padding, padding) if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 2 or min(self.padding) < 0:
            raise ValueError(f"RandomCrop: padding is {padding}, expected at least 0")
        self.outside = Outside("bilinear", padding_mode, fill, "RandomCrop")

    def size(self, size: Size) -> Size:
        for want, have, margin in zip(self._size, size, self.padding):
            if want > have + 2 * margin:
                raise ValueError(
                    f"RandomCrop: size is {self._size}, but the images have {size} and a margin of "
                    f"{self.padding}"
                )
        return self._size

    def matrix(self, u: Array, size: Size) -> Array:
        made = self.size(size)
        m = _identity(len(u))
        for row, axis in ((1, 0), (0, 1)):
            room = size[axis] + 2 * self.padding[axis] - made[axis] + 1
            m[:, row, 2] = np.floor(u[:, axis] * room) - self.padding[axis]
        return m


class RandomResizedCrop(Geometric):
    """Cuts out a window of random area and shape and resizes it. Szegedy et al. (2015).

    Args:
        size: (height, width) of the result, or one number for both.
        scale: (low, high) of the window's part of the area.
        ratio: (low, high) of its width / height, uniform in the logarithm.
        mode: "bilinear" or "nearest".
    """

    words = 4

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        *,
        mode: str = "bilinear",
    ) -> None:
        name = "RandomResizedCrop"
        self._size = _size_of(size, name)
        self.scale = span(scale, name, "scale", 1.0, 0.0)
        if self.scale[1] > 1:
            raise ValueError(f"{name}: scale is {scale}, expected parts of the area, 0 to 1")
        self.ratio = span(ratio, name, "ratio", 1.0, 1e-6)
        self.outside = Outside(mode, "border", 0.0, name)

    def size(self, size: Size) -> Size:
        return self._size

    def matrix(self, u: Array, size: Size) -> Array:
        area = within(u[:, 0], self.scale) * size[0] * size[1]
        low, high = (math.log(r) for r in self.ratio)
        ratio = np.exp(within(u[:, 1], (low, high)))
        m = _identity(len(u))
        for row, axis, length in ((1, 0, np.sqrt(area / ratio)), (0, 1, np.sqrt(area * ratio))):
            length = np.clip(np.rint(length), 1, size[axis])
            start = np.floor(u[:, 2 + axis] * (size[axis] - length + 1))
            step = length / self._size[axis]
            m[:, row, row] = step
            m[:, row, 2] = start + step / 2 - 0.5
        return m
