"""StyleGAN: a picture drawn by styles, one for each layer, that a network makes of z.

Karras, Laine and Aila: "A style-based generator architecture for generative adversarial networks"
(CVPR 2019). There the discriminator is kept in bounds by the norm of its gradient, whose own
gradient needs second derivatives; here it is `spectral_critic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn, ops
from ..tensor import Tensor
from .dcgan import DCDiscriminator, halvings
from .equalized import EqualConv2d, EqualLinear, double, lrelu
from .gan import check_latent
from .progressive import channels_at

F = nn.functional


class Mapping(nn.Module):
    """z → w: a normalised code through a few layers that learn slowly."""

    def __init__(self, latent: int, layers: int, lr_mul: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualLinear(latent, latent, lr_mul=lr_mul) for _ in range(layers)
        )

    def forward(self, z: Any) -> Tensor:
        w = F.pixel_norm(z)
        for layer in self.layers:
            w = lrelu(layer(w))
        return w


class StyledLayer(nn.Module):
    """Convolution (after doubling and a blur, where it grows), noise, leaky ReLU, AdaIN.

    Args:
        inputs, width: Channels in and out.
        latent: Width of w.
        grow: Whether the image is doubled first.
        conv: Whether there is a convolution: the first layer styles the constant as it is.
    """

    blur: Tensor

    def __init__(self, inputs: int, width: int, latent: int, grow: bool, conv: bool = True) -> None:
        super().__init__()
        self.grow, self.inputs, self.width = grow, inputs, width
        self.conv = EqualConv2d(inputs, width, bias=False) if conv else None
        self.bias = nn.Parameter(np.zeros(width, np.float32))
        self.strength = nn.Parameter(np.zeros(width, np.float32))
        self.style = EqualLinear(latent, 2 * width, gain=1.0)
        self.style.bias.numpy()[:width] = 1.0  # scale 1, shift 0 to begin with
        line = np.array([1, 2, 1], np.float32) / 4
        square = np.tile(np.outer(line, line)[None, :, :, None], (inputs, 1, 1, 1))
        self.register_buffer("blur", Tensor(square))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if self.grow:
            x = F.conv2d(double(x), self.blur, padding=1, groups=self.inputs)
        if self.conv is not None:
            x = self.conv(x)
        noise = ops.randn(*x.shape[:3], 1, dtype=x.dtype)
        x = lrelu(x + noise * self.strength + self.bias)
        style = self.style(w)
        return F.adain(x, style[:, : self.width], style[:, self.width :])


class StyleGenerator(nn.Module):
    """z `(N, latent)` → images `(N, size, size, channels)`.

    Args:
        latent: Numbers of z and of w.
        size: Side of the images: 8, 16, 32, …
        width: Channels at 4 by 4; half as many at each doubled side, see `channels_at`.
        channels: Of the images.
        mapping: Layers between z and w.
        mixing: In training, the share of batches whose images have the styles of one z up to some
            layer and those of another from there on.

    Attributes:
        layers: Styles, two for each side: 4, 8, ….
        mean: Running mean of w `(latent,)`, which truncation draws towards.
    """

    mean: Tensor

    def __init__(
        self,
        latent: int,
        size: int = 16,
        width: int = 64,
        channels: int = 1,
        mapping: int = 4,
        mixing: float = 0.9,
    ) -> None:
        super().__init__()
        self.latent, self.mixing = latent, mixing
        times = halvings(size, "StyleGenerator") + 1
        self.mapping = Mapping(latent, mapping)
        self.constant = nn.Parameter(np.ones((1, 4, 4, width), np.float32))
        wide = [channels_at(width, i // 2) for i in range(2 * times)]
        self.styled = nn.ModuleList(
            StyledLayer(wide[max(i - 1, 0)], wide[i], latent, grow=i % 2 == 0 and i > 0, conv=i > 0)
            for i in range(2 * times)
        )
        self.to_image = EqualConv2d(wide[-1], channels, 1, gain=1.0)
        self.register_buffer("mean", Tensor(np.zeros(latent, np.float32)))

    @property
    def layers(self) -> int:
        """How many styles an image has."""
        return len(self.styled)

    def synthesize(self, styles: Sequence[Tensor]) -> Tensor:
        """One w `(N, latent)` for each layer → images.

        Raises:
            ValueError: Another number of styles.
        """
        if len(styles) != self.layers:
            raise ValueError(
                f"StyleGenerator: {len(styles)} styles, expected {self.layers}, one for each layer"
            )
        x = self.constant + ops.zeros(len(styles[0]), 1, 1, 1)
        for layer, w in zip(self.styled, styles):
            x = layer(x, w)
        return self.to_image(x)  # type: ignore[no-any-return]

    def w(self, z: Any, truncation: float = 1.0) -> Tensor:
        """z → w, drawn towards the mean w: 1 leaves it, 0 gives the mean for all."""
        check_latent(z, self.latent, "StyleGenerator")
        w: Tensor = self.mapping(z)
        return w if truncation == 1 else self.mean + (w - self.mean) * truncation

    def forward(
        self, z: Any, other: Any = None, crossover: int = 0, truncation: float = 1
    ) -> Tensor:
        """Images of z; with `other`, the styles from layer `crossover` on are those of that z."""
        w = self.w(z, truncation)
        second = w if other is None else self.w(other, truncation)
        if self.training:
            self.mean.copy_(self.mean.numpy() * 0.99 + w.numpy().mean(axis=0) * 0.01)
            chance, where = ops.rand(2).numpy()
            if other is None and chance < self.mixing:
                second = self.w(ops.randn(*z.shape, dtype=w.dtype))
                crossover = 1 + int(where * (self.layers - 1))
        return self.synthesize([w if i < crossover else second for i in range(self.layers)])


def spectral_critic(size: int = 16, width: int = 32, channels: int = 1) -> DCDiscriminator:
    """DCGAN's discriminator, spectral norm in place of batch norm. Miyato et al. (2018).

    Args:
        size, width, channels: As `DCDiscriminator`'s.
    """
    critic = DCDiscriminator(size, width, channels, norm=False)
    for module in list(critic.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.utils.spectral_norm(module)
    return critic
