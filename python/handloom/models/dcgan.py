"""DCGAN: a generator of transposed convolutions and a discriminator of strided ones.

Radford, Metz and Chintala: "Unsupervised representation learning with deep convolutional generative
adversarial networks" (ICLR 2016): no pooling, batch norm but at the ends, ReLU up and leaky ReLU
down, weights from N(0, 0.02).
"""

from __future__ import annotations

from typing import Any

from .. import nn
from ..ops._common import shape_of
from ..tensor import Tensor
from .gan import check_latent


def halvings(size: int, op: str) -> int:
    """How often an image is halved until it is 4 wide.

    Raises:
        ValueError: The size is not 4 times a power of 2, 8 at least.
    """
    times = (size // 4).bit_length() - 1
    if size < 8 or 4 << times != size:
        raise ValueError(f"{op}: size is {size}, expected 8, 16, 32, ... (4 doubled some times)")
    return times


def _start(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight is not None
            nn.init.normal_(module.weight, 1.0, 0.02)


class DCGenerator(nn.Module):
    """z `(N, latent)` → images `(N, size, size, channels)` in [−1, 1].

    Args:
        latent: Numbers of z.
        size: Side of the images: 8, 16, 32, …
        width: Channels in front of the last layer; each layer before has twice as many.
        channels: Of the images.
    """

    def __init__(self, latent: int, size: int = 16, width: int = 32, channels: int = 1) -> None:
        super().__init__()
        times = halvings(size, "DCGenerator")
        self.latent = latent
        wide = width << (times - 1)
        layers: list[nn.Module] = [
            nn.Linear(latent, 16 * wide, bias=False),
            nn.Unflatten(1, (4, 4, wide)),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
        ]
        for _ in range(times - 1):
            layers += [
                nn.ConvTranspose2d(wide, wide // 2, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(wide // 2),
                nn.ReLU(),
            ]
            wide //= 2
        layers += [nn.ConvTranspose2d(wide, channels, 4, stride=2, padding=1), nn.Tanh()]
        self.net = nn.Sequential(*layers)
        _start(self)

    def forward(self, z: Any) -> Tensor:
        check_latent(z, self.latent, "DCGenerator")
        return self.net(z)  # type: ignore[no-any-return]


class DCDiscriminator(nn.Module):
    """Images `(N, size, size, channels)` → scores `(N, 1)`.

    Args:
        size, width, channels: As `DCGenerator`'s.
        norm: Whether there is batch norm, which a WGAN's critic better does without.
    """

    def __init__(
        self, size: int = 16, width: int = 32, channels: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        times = halvings(size, "DCDiscriminator")
        layers: list[nn.Module] = []
        before, after = channels, width
        for level in range(times):
            inner = norm and level > 0
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not inner))
            if inner:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.LeakyReLU(0.2))
            before, after = after, 2 * after
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * before, 1))
        self.size, self.channels = size, channels
        _start(self)

    def forward(self, x: Any) -> Tensor:
        if shape_of("DCDiscriminator", x)[1:] != (self.size, self.size, self.channels):
            raise ValueError(
                f"DCDiscriminator: x has shape {tuple(x.shape)}, expected (N, {self.size}, "
                f"{self.size}, {self.channels})"
            )
        return self.net(x)  # type: ignore[no-any-return]
