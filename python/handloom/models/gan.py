"""The players of the first GANs: two perceptrons, with labels where they are conditional.

Goodfellow et al. (2014); Mirza and Osindero: "Conditional generative adversarial nets" (2014).
WGAN and LSGAN are these networks in another game: see `train.Adversarial`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import nn, ops
from ..ops._common import shape_of
from ..tensor import Tensor
from .vae import one_hot


def _labelled(rows: Any, label: Any, classes: int, op: str) -> Any:
    """Rows with their labels beside them, where the network is conditional."""
    if classes == 0:
        if label is not None:
            raise ValueError(f"{op}: there is a label, but the network has no classes")
        return rows
    return ops.cat([rows, one_hot(label, classes, op, rows)], -1)


def check_latent(z: Any, latent: int, op: str) -> None:
    """Raises ValueError unless z is `(N, latent)`."""
    shape = shape_of(op, z, "z")
    if len(shape) != 2 or shape[1] != latent:
        raise ValueError(f"{op}: z has shape {shape}, expected (N, {latent})")


class DenseGenerator(nn.Module):
    """z `(N, latent)` → samples of `shape` in [−1, 1].

    Args:
        latent: Numbers of z.
        shape: Of one sample, such as (8, 8, 1).
        hidden: Widths of the layers between.
        classes: 0, or how many labels there are.
    """

    def __init__(
        self,
        latent: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (128, 256),
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.latent, self.shape, self.classes = latent, tuple(shape), classes
        layers: list[nn.Module] = []
        width = latent + classes
        for wider in hidden:
            layers += [nn.Linear(width, wider), nn.BatchNorm1d(wider), nn.ReLU()]
            width = wider
        self.net = nn.Sequential(*layers, nn.Linear(width, math.prod(self.shape)), nn.Tanh())

    def forward(self, z: Any, label: Any = None) -> Tensor:
        check_latent(z, self.latent, "DenseGenerator")
        made = self.net(_labelled(z, label, self.classes, "DenseGenerator"))
        return made.reshape(len(z), *self.shape)  # type: ignore[no-any-return]


class DenseDiscriminator(nn.Module):
    """Samples of `shape` → scores `(N, 1)`.

    Args:
        shape: Of one sample.
        hidden: Widths of the layers between.
        classes: 0, or how many labels there are.
        dropout: In front of the last layer.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (256, 128),
        classes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), classes
        layers: list[nn.Module] = []
        width = math.prod(self.shape) + classes
        for narrower in hidden:
            layers += [nn.Linear(width, narrower), nn.LeakyReLU(0.2)]
            width = narrower
        self.net = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width, 1))

    def forward(self, x: Any, label: Any = None) -> Tensor:
        if shape_of("DenseDiscriminator", x)[1:] != self.shape:
            raise ValueError(
                f"DenseDiscriminator: x has shape {tuple(x.shape)}, expected (N, "
                f"{', '.join(map(str, self.shape))})"
            )
        rows = ops.flatten(x, 1)
        found = self.net(_labelled(rows, label, self.classes, "DenseDiscriminator"))
        return found  # type: ignore[no-any-return]
