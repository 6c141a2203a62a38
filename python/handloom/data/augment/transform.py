"""What a transform is, how transforms are joined, and where their random numbers come from.

Every sample has random numbers of its own: Philox with the seed as key, and (epoch, sample number)
as counter. So what happens to a sample does not depend on the batch that it is in, on the order of
batches, or on the thread that makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..._arrays import Array
from .._order import checked_seed

# A counter's upper half, from the top: 1 (generators count from 0), 8 bits for the stream, 23 for
# the epoch, 32 for the sample.
_TOP, _STREAM_AT, _EPOCH_AT = 1 << 63, 55, 32

_LAYOUTS = {4: "(N, H, W, C)", 3: "(N, T, C)"}


class Keys:
    """The random numbers of the samples of one batch."""

    def __init__(self, seed: int, index: Array, epoch: int) -> None:
        self.seed = seed
        base = _TOP | (epoch << _EPOCH_AT)
        self._calls = index.astype(np.uint64) | np.uint64(base)
        self._streams = 0

    def uniform(self, count: int) -> Array:
        """(N, count) float64 in [0, 1): the next numbers of every sample."""
        from ... import kernels

        return kernels.uniform_rows(self._next(), count, dtype="float64", seed=self.seed)

    def normal(self, shape: Sequence[int], dtype: Any) -> Array:
        """(N, *shape) standard normal numbers."""
        from ... import kernels

        count = int(np.prod(shape))
        rows = kernels.normal_rows(self._next(), count, dtype=dtype, seed=self.seed)
        return rows.reshape(-1, *shape)

    def _next(self) -> Array:
        stream = np.uint64(self._streams << _STREAM_AT)
        self._streams += 1
        return (self._calls | stream).view(np.int64)


class Batch:
    """Images on their way through the transforms, with their labels and random numbers."""

    def __init__(self, x: Array, y: Array | None, keys: Keys) -> None:
        self.x = x
        self.y = y
        self.keys = keys
        self.follower: Any = None  # what is in the images, and moves as they do
        self._own = False

    def replace(self, x: Array) -> None:
        """Goes on with a new array."""
        self.x = x
        self._own = True

    def writeable(self) -> Array:
        """The images in memory that may be changed: not the caller's."""
        if not self._own:
            from ... import kernels

            self.replace(kernels.copy(self.x))
        return self.x


class Transform:
    """One augmentation of a batch of images (N, H, W, C); call it, or put it into `Compose`.

    Attributes:
        words: Uniform random numbers that each sample takes.
        axes: How many axes the batch may have: 4 for images, 3 for series (N, T, C).
        mixes_samples: Whether a sample takes something from another one.
    """

    words: ClassVar[int] = 0
    axes: ClassVar[tuple[int, ...]] = (4,)
    mixes_samples: ClassVar[bool] = False

    def apply(self, batch: Batch, u: Array) -> None:
        """Transforms `batch`; `u` are the samples' uniform numbers, (N, words)."""
        raise NotImplementedError(f"{type(self).__name__}: apply is not defined")

    def join(self, later: Transform) -> Group | None:
        """A group that does the work of this transform and of `later` in one pass, if one can."""
        return None

    def __call__(
        self, x: Any, y: Any = None, *, index: Any = None, epoch: int = 0, seed: int | None = None
    ) -> Any:
        """As `Compose([self], seed)(x, y, index=index, epoch=epoch)`."""
        return Compose([self], seed)(x, y, index=index, epoch=epoch)


class Group:
    """Neighbouring transforms that are one pass over the images."""

    def __init__(self, first: Transform, u: Array) -> None:
        self.members = [(first, u)]

    def takes(self, later: Transform) -> bool:
        """Whether `later` can be part of the pass."""
        return False

    def run(self, batch: Batch) -> None:
        """Makes the pass."""
        for transform, u in self.members:
            transform.apply(batch, u)


class Compose:
    """Transforms one after the other; neighbours that can share a pass over the images do.

    Flips, rotations, shifts, zooms, shears and crops that follow each other become one affine map
    for each sample, and the images are read once; brightness, contrast, saturation and hue become
    one matrix of colours.

    With `index` (and `epoch`) the result is a function of seed, epoch and sample number alone:
    `DataLoader(…, transform=compose)` passes both. Without, the numbers come from the generator
    that `handloom.manual_seed` seeds, new ones in each call.

    Args:
        transforms: In the order in which they are applied.
        seed: For calls with `index`. None draws one from the system; `.seed` tells it.

    Attributes:
        seed: The seed in use.
    """

    def __init__(self, transforms: Sequence[Transform | Compose], seed: int | None = None) -> None:
        self.transforms: list[Transform] = []
        for i, t in enumerate(transforms):
            if isinstance(t, Compose):
                self.transforms += t.transforms
            elif isinstance(t, Transform):
                self.transforms.append(t)
            else:
                raise TypeError(
                    f"Compose: transforms[{i}] is a {type(t).__name__}, expected a transform of "
                    "handloom.data.augment"
                )
        self.seed = checked_seed(seed, "Compose")

    def __call__(self, x: Any, y: Any = None, *, index: Any = None, epoch: int = 0) -> Any:
        """Transforms a batch.

        Args:
            x: Images (N, H, W, C), or series (N, T, C) for their transforms, float32 or float64;
                an array or a tensor. It is not changed.
            y: Labels, which mixing transforms change; passed through by the others.
            index: Sample numbers (N,), integers from 0 to 2³² − 1.
            epoch: Number of the epoch, from 0.

        Returns:
            What came: x alone, or the tuple (x, y); tensors for tensors. Arrays may be the very
            ones that came in where nothing was to be done.

        Raises:
            TypeError: Images that are not float32 or float64, or an index of no integers.
            ValueError: Another number of axes, an index of another length or out of range.
        """
        labels = None if y is None else _plain(y)
        batch, wrap = self._run(x, labels, index, epoch, None)
        made = wrap(batch.x)
        if y is None:
            return made
        changed: Any = batch.y
        return made, (y if changed is labels else wrap(changed) if _is_tensor(y) else changed)

    def follow(self, x: Any, follower: Any, *, index: Any = None, epoch: int = 0) -> Any:
        """Transforms images and tells `follower` of every map that they went through."""
        batch, wrap = self._run(x, None, index, epoch, follower)
        return wrap(batch.x)

    def _run(
        self, x: Any, labels: Array | None, index: Any, epoch: int, follower: Any
    ) -> tuple[Batch, Callable[[Array], Any]]:
        images, wrap = _images_of(x)
        for t in self.transforms:
            _check_axes(t, images)
        keys = self._keys(len(images), index, epoch)
        batch = Batch(images, labels, keys)
        batch.follower = follower
        u = keys.uniform(sum(t.words for t in self.transforms))
        groups: list[Group] = []
        at = 0
        for t in self.transforms:
            part = u[:, at : at + t.words]
            at += t.words
            if groups and groups[-1].takes(t):
                groups[-1].members.append((t, part))
            else:
                groups.append(_group_of(t, part))
        if len(images):
            for group in groups:
                group.run(batch)
        return batch, wrap

    def _keys(self, n: int, index: Any, epoch: int) -> Keys:
        if index is None:
            from ... import kernels
            from ..._runtime import next_draw

            seed, call = next_draw()
            # A key of its own for this call: the samples' counters are then free for their numbers.
            key = int(kernels.integers(0, 1 << 62, 1, seed=seed, call=call)[0])
            return Keys(key, np.arange(n), 0)
        numbers = np.asarray(_plain(index))
        if numbers.dtype.kind not in "iu" and numbers.size:
            raise TypeError(f"Compose: index has dtype {numbers.dtype}, expected integers")
        if numbers.shape != (n,):
            raise ValueError(f"Compose: index has shape {numbers.shape}, expected ({n},)")
        if n and not (numbers.min() >= 0 and numbers.max() < 1 << 32):
            raise ValueError(
                f"Compose: index runs from {numbers.min()} to {numbers.max()}, expected 0 to "
                "2**32 - 1"
            )
        if not 0 <= epoch < 1 << 23:
            raise ValueError(f"Compose: epoch is {epoch}, expected 0 to 2**23 - 1")
        return Keys(self.seed, numbers, int(epoch))

    def __repr__(self) -> str:
        names = ", ".join(type(t).__name__ for t in self.transforms)
        return f"Compose([{names}], seed={self.seed})"


def _group_of(t: Transform, u: Array) -> Group:
    kind: Callable[[Transform, Array], Group] = getattr(t, "group", Group)
    return kind(t, u)


def _is_tensor(value: Any) -> bool:
    return type(value).__module__ == "handloom.tensor" or hasattr(value, "_array")


def _plain(value: Any) -> Array:
    array: Array = value._array if _is_tensor(value) else np.asarray(value)
    return array


def _images_of(x: Any) -> tuple[Array, Callable[[Any], Any]]:
    """The array of images, and what gives a result the type that came in."""
    wrap: Callable[[Any], Any] = lambda a: a  # noqa: E731
    if _is_tensor(x):
        from ...tensor import from_numpy

        wrap = from_numpy
    elif not isinstance(x, np.ndarray):
        raise TypeError(f"augment: x is a {type(x).__name__}, expected an array or a tensor")
    array = _plain(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"augment: x has dtype {array.dtype}, expected float32 or float64; scale bytes first, "
            "for example x.astype(np.float32) / 255"
        )
    if array.ndim not in _LAYOUTS:
        raise ValueError(f"augment: x has shape {array.shape}, expected (N, H, W, C) or (N, T, C)")
    return np.ascontiguousarray(array), wrap


def _check_axes(t: Transform, x: Array) -> None:
    if x.ndim not in t.axes:
        layouts = " or ".join(_LAYOUTS[axes] for axes in t.axes)
        raise ValueError(f"{type(t).__name__}: x has shape {x.shape}, expected {layouts}")


def chance(p: float, name: str) -> float:
    """Checks a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is {p}, expected 0 to 1")
    return float(p)


def span(
    value: float | Sequence[float],
    name: str,
    what: str,
    centre: float = 0.0,
    least: float = -np.inf,
) -> tuple[float, float]:
    """(low, high): as given, or as far as `value` to both sides of `centre`."""
    if isinstance(value, Sequence):
        bounds = tuple(float(v) for v in value)
    else:
        if value < 0:
            raise ValueError(f"{name}: {what} is {value}, expected at least 0, or (low, high)")
        bounds = (max(centre - value, least), centre + value)
    if len(bounds) != 2 or not bounds[0] <= bounds[1] or bounds[0] < least:
        at_least = "" if least == -np.inf else f" of at least {least:g}"
        raise ValueError(f"{name}: {what} is {value}, expected (low, high){at_least}")
    return bounds[0], bounds[1]


def within(u: Array, bounds: tuple[float, float]) -> Array:
    """Uniform numbers spread over [low, high)."""
    spread: Array = bounds[0] + (bounds[1] - bounds[0]) * u
    return spread
