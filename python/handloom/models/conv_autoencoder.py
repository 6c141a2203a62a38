"""The convolutional autoencoder: down by strided convolutions, up by transposed ones."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn
from .autoencoder import Autoencoder


class ConvAutoencoder(Autoencoder):
    """Images (N, size, size, channels) in [0, 1] through a code of a few numbers.

    Masci et al.: "Stacked convolutional auto-encoders" (ICANN 2011).

    Args:
        size: Side of the images, divisible by 2 once for each width.
        code: Numbers of the code.
        widths: Channels of the layers on the way down, each at half the size of the one before.
        channels: Of the images.

    Raises:
        ValueError: A size that cannot be halved so often.
    """

    def __init__(
        self, size: int, code: int, widths: Sequence[int] = (32, 64), channels: int = 1
    ) -> None:
        factor = 2 ** len(widths)
        if size < factor or size % factor:
            raise ValueError(
                f"ConvAutoencoder: size is {size}, {len(widths)} halvings expect a multiple of "
                f"{factor}"
            )
        small, last = size // factor, widths[-1]
        down: list[nn.Module] = []
        up: list[nn.Module] = [nn.Linear(code, small * small * last), nn.ReLU()]
        up.append(nn.Unflatten(1, (small, small, last)))
        for a, b in zip((channels, *widths), widths):
            down += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        for a, b in zip(widths[::-1], (*widths[-2::-1], channels)):
            up += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        up[-1] = nn.Sigmoid()
        super().__init__(
            nn.Sequential(*down, nn.Flatten(), nn.Linear(small * small * last, code)),
            nn.Sequential(*up),
        )
