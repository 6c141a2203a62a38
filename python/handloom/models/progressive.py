"""Progressive GAN: both players begin with 4 by 4 pixels and grow.

Karras et al.: "Progressive growing of GANs for improved quality, stability, and variation" (ICLR
2018). Level 0 is 4 by 4, each further one doubles the side; α fades a new level in.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .. import nn, ops
from ..ops._common import shape_of
from ..tensor import Tensor
from .dcgan import halvings
from .equalized import EqualConv2d, EqualLinear, double, halve, lrelu
from .gan import check_latent

F = nn.functional


def check_level(level: int | None, top: int, alpha: float, op: str) -> int:
    """The level to work at, the top one for None.

    Raises:
        ValueError: The network has no such level, or α is outside [0, 1].
    """
    if level is None:
        level = top
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= top:
        raise ValueError(
            f"{op}: level is {level!r}, expected 0 (4 by 4) to {top} ({4 << top} by {4 << top})"
        )
    if not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise ValueError(f"{op}: alpha is {alpha!r}, expected 0 to 1")
    return level


def check_side(x: Any, level: int, op: str) -> None:
    """Raises ValueError unless the images have the side of that level."""
    side = 4 << level
    shape = shape_of(op, x)
    if len(shape) != 4 or shape[1:3] != (side, side):
        raise ValueError(f"{op}: x has shape {shape}, level {level} expects (N, {side}, {side}, C)")


def channels_at(width: int, level: int) -> int:
    """Channels of a level: half as many for each doubling of the side, 8 at least."""
    return max(8, width >> level)


class ProgressiveGenerator(nn.Module):
    """z `(N, latent)` → images of `4 · 2^level` by as many pixels.

    Args:
        latent: Numbers of z.
        size: Side of the images of the top level: 8, 16, 32, …
        width: Channels of the first level; each further one has half as many, see `channels_at`.
        channels: Of the images.
    """

    def __init__(self, latent: int, size: int = 16, width: int = 64, channels: int = 1) -> None:
        super().__init__()
        self.top = halvings(size, "ProgressiveGenerator")
        self.latent, self.width = latent, width
        self.start = EqualLinear(latent, 16 * width, gain=2**0.5 / 4)
        self.first = EqualConv2d(width, width)
        wide = [channels_at(width, level) for level in range(self.top + 1)]
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(a, b), EqualConv2d(b, b)]) for a, b in pairwise(wide)
        )
        self.to_image = nn.ModuleList(EqualConv2d(w, channels, 1, gain=1.0) for w in wide)

    def forward(self, z: Any, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """`alpha` below 1 mixes the level's images with those of the one below, doubled."""
        level = check_level(level, self.top, alpha, "ProgressiveGenerator")
        check_latent(z, self.latent, "ProgressiveGenerator")
        x = self.start(F.pixel_norm(z)).reshape(len(z), 4, 4, self.width)
        x = F.pixel_norm(lrelu(self.first(F.pixel_norm(lrelu(x)))))
        below = x
        for block in self.blocks[:level]:
            below, x = x, double(x)
            for conv in block:
                x = F.pixel_norm(lrelu(conv(x)))
        image: Tensor = self.to_image[level](x)
        if level == 0 or alpha == 1:
            return image
        old = double(self.to_image[level - 1](below))
        return old * (1 - alpha) + image * alpha


class ProgressiveDiscriminator(nn.Module):
    """Images of a level → scores `(N, 1)`, with the standard deviation of the batch as a channel.

    Args:
        size, width, channels: As `ProgressiveGenerator`'s.
        group: Images that share a standard deviation; it divides the batch.
    """

    def __init__(self, size: int = 16, width: int = 64, channels: int = 1, group: int = 4) -> None:
        super().__init__()
        self.top = halvings(size, "ProgressiveDiscriminator")
        self.group = group
        wide = [channels_at(width, level) for level in range(self.top + 1)]
        self.from_image = nn.ModuleList(EqualConv2d(channels, w, 1) for w in wide)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(b, b), EqualConv2d(b, a)]) for a, b in pairwise(wide)
        )
        self.last = EqualConv2d(width + 1, width)
        self.hidden = EqualLinear(16 * width, width)
        self.score = EqualLinear(width, 1, gain=1.0)

    def forward(self, x: Any, level: int | None = None, alpha: float = 1.0) -> Tensor:
        level = check_level(level, self.top, alpha, "ProgressiveDiscriminator")
        check_side(x, level, "ProgressiveDiscriminator")
        y: Tensor = lrelu(self.from_image[level](x))
        for i in range(level - 1, -1, -1):
            for conv in self.blocks[i]:
                y = lrelu(conv(y))
            y = halve(y)
            if i == level - 1 and alpha < 1:
                old = lrelu(self.from_image[i](halve(x if isinstance(x, Tensor) else Tensor(x))))
                y = old * (1 - alpha) + y * alpha
        y = lrelu(self.last(F.minibatch_stddev(y, self.group)))
        return self.score(lrelu(self.hidden(ops.flatten(y, 1))))  # type: ignore[no-any-return]


class Growth:
    """When a network grows: each level fades in over some epochs, then rests for some.

    `Adversarial.fit(…, on_step=growth)` sets `level` and `alpha` of both networks; the data of the
    level come from `shrink`.

    Args:
        top: The last level.
        fade, rest: Epochs of each level, the first has no fading in.
        batches: Batches of an epoch.
    """

    def __init__(self, top: int, fade: int, rest: int, batches: int) -> None:
        self.top, self.fade, self.rest, self.batches = top, fade, rest, batches

    @property
    def epochs(self) -> int:
        """All epochs together."""
        return self.rest + self.top * (self.fade + self.rest)

    def at(self, step: int) -> tuple[int, float]:
        """Level and α of a batch, counted from 0."""
        epoch = step / self.batches
        if epoch < self.rest:
            return 0, 1.0
        level, inside = divmod(epoch - self.rest, self.fade + self.rest)
        if level >= self.top:
            return self.top, 1.0
        return int(level) + 1, min(1.0, inside / self.fade) if self.fade else 1.0

    def __call__(self, trainer: Any) -> None:
        level, alpha = self.at(trainer.steps)
        trainer.options = {"level": level, "alpha": alpha}


def shrink(x: Any, level: int, top: int, alpha: float = 1.0) -> Tensor:
    """Images of the top level at another; while it fades in, mixed with those of the one below."""
    y: Tensor = x if isinstance(x, Tensor) else Tensor(x)
    for _ in range(top - level):
        y = halve(y)
    if level > 0 and alpha < 1:
        y = double(halve(y)) * (1 - alpha) + y * alpha
    return y
