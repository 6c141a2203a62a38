"""Autoencoders: a network that must say its input again after putting it briefly.

What they have in common is `encode` to a code, `decode`, and a loss; what makes them different is
why the code says something: it is small, the input was spoilt, few of its units may speak, or it
must not move when the input does. The variational one is in `vae`.

Each `forward` returns a `Coded`, and each `loss` takes that and what should have come out:

    >>> model = Autoencoder(nn.Linear(64, 8), nn.Linear(8, 64))
    >>> train.fit(model, (x, x), loss=model.loss, optimizer=..., epochs=20)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .. import nn, ops
from ..autograd import no_grad
from ..ops._common import shape_of
from ..tensor import Array, Tensor, wrap

F = nn.functional


class Coded(NamedTuple):
    """What an autoencoder makes of a batch.

    Attributes:
        reconstruction: Of the input's shape.
        code: `(N, …)`.
    """

    reconstruction: Tensor
    code: Tensor


class Autoencoder(nn.Module):
    """An encoder and a decoder, trained by the squared error (Rumelhart, Hinton, Williams 1986).

    Args:
        encoder: Input → code.
        decoder: Code → something of the input's shape.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: Any) -> Coded:
        code = self.encoder(x)
        return Coded(self.decoder(code), code)

    def loss(self, coded: Coded, target: Any) -> Tensor:
        """Mean squared error over all numbers of the reconstruction, plus `penalty`."""
        return F.mse_loss(coded.reconstruction, target) + self.penalty(coded)

    def penalty(self, coded: Coded) -> Tensor | float:
        """What is asked of the code; nothing here."""
        return 0.0

    def _batches(self, x: Array, batch_size: int, op: str) -> Any:
        where = f"{type(self).__name__}.{op}"
        if not shape_of(where, x) or len(x) == 0:
            raise ValueError(f"{where}: x has no row")
        was_training = self.training
        self.eval()
        try:
            with no_grad():
                for begin in range(0, len(x), batch_size):
                    yield self(x[begin : begin + batch_size])
        finally:
            self.train(was_training)

    def encode(self, x: Array, batch_size: int = 256) -> Array:
        """Returns the codes of the rows of x."""
        codes = [coded.code.numpy() for coded in self._batches(x, batch_size, "encode")]
        return np.concatenate(codes)

    def reconstruct(self, x: Array, batch_size: int = 256) -> Array:
        """Returns what comes back of the rows of x."""
        found = self._batches(x, batch_size, "reconstruct")
        return np.concatenate([coded.reconstruction.numpy() for coded in found])

    def anomaly(self, x: Array) -> Array:
        """Returns the mean squared error of each row `(N,)`: it says badly what it never saw."""
        off = (self.reconstruct(x) - x).reshape(len(x), -1)
        return np.asarray((off * off).mean(axis=1))


def dense_autoencoder(sizes: tuple[int, ...], code: nn.Module | None = None) -> Autoencoder:
    """Returns an autoencoder of linear layers and ReLUs on rows: `sizes` down, and up again.

    Args:
        sizes: Widths from the input to the code.
        code: An activation behind the code, such as `nn.Sigmoid()`, or None.

    Raises:
        ValueError: Fewer than two widths.
    """
    if not isinstance(sizes, Sequence) or len(sizes) < 2:
        raise ValueError(
            f"dense_autoencoder: sizes is {sizes}, expected the input's and the code's at least"
        )

    def stack(widths: tuple[int, ...]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return layers[:-1]

    down, up = stack(sizes), stack(sizes[::-1])
    return Autoencoder(nn.Sequential(*down, *([code] if code else [])), nn.Sequential(*up))


class DenoisingAutoencoder(Autoencoder):
    """Sees a spoilt input and must say the clean one. Vincent et al. (ICML 2008).

    In training the input gets normal noise, or is blanked, before it is encoded; the target of the
    loss is the clean input. In evaluation it takes what it is given.

    Args:
        encoder, decoder: As for `Autoencoder`.
        noise: Standard deviation of what is added.
        masking: Share of the numbers that are set to zero.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, noise: float = 0.0, masking: float = 0.0
    ) -> None:
        super().__init__(encoder, decoder)
        if not noise >= 0:
            raise ValueError(f"DenoisingAutoencoder: noise is {noise}, expected at least 0")
        if not 0 <= masking < 1:
            raise ValueError(f"DenoisingAutoencoder: masking is {masking}, expected 0 to below 1")
        self.noise = noise
        self.masking = masking

    def spoil(self, x: Any) -> Tensor:
        """x with noise and gaps."""
        spoilt: Tensor = x if isinstance(x, Tensor) else wrap(x)
        if self.masking:
            # Dropout makes up for what it takes away; here nothing does.
            spoilt = F.dropout(spoilt, self.masking) * (1 - self.masking)
        if self.noise:
            spoilt = spoilt + ops.randn(*spoilt.shape, dtype=spoilt.dtype) * self.noise
        return spoilt

    def forward(self, x: Any) -> Coded:
        return super().forward(self.spoil(x) if self.training else x)


class SparseAutoencoder(Autoencoder):
    """A code of many units of which few speak at a time. Ng: "Sparse autoencoder" (2011).

    Args:
        encoder: Its last layer is a sigmoid for "kl".
        decoder: As for `Autoencoder`.
        kind: "kl": each unit's mean over the batch is to be `rho`; "l1": the mean of |code| is to
            be small.
        rho: Share of the time that a unit may speak, between 0 and 1.
        weight: Of the penalty beside the squared error.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        kind: str = "kl",
        rho: float = 0.05,
        weight: float = 1e-3,
    ) -> None:
        super().__init__(encoder, decoder)
        if kind not in ("kl", "l1"):
            raise ValueError(f"SparseAutoencoder: kind is {kind!r}, expected one of kl, l1")
        if not 0 < rho < 1:
            raise ValueError(f"SparseAutoencoder: rho is {rho}, expected between 0 and 1")
        self.kind, self.rho, self.weight = kind, rho, weight

    def penalty(self, coded: Coded) -> Tensor:
        if self.kind == "l1":
            return ops.abs(coded.code).mean() * self.weight
        return sparsity(coded.code, self.rho) * self.weight


def sparsity(code: Tensor, rho: float) -> Tensor:
    """Σ_j KL(ρ ‖ mean of unit j over the batch), for codes (N, K) between 0 and 1."""
    mean = code.mean(0).clamp(1e-6, 1 - 1e-6)
    speaks = (rho / mean).log() * rho
    silent = ((1 - rho) / (1 - mean)).log() * (1 - rho)
    return (speaks + silent).sum()


class ContractiveAutoencoder(Autoencoder):
    """A code that moves as little as possible when the input does. Rifai et al. (ICML 2011).

    The penalty is the mean of ‖∂h/∂x‖², the squared Frobenius norm of the Jacobian, which one
    sigmoid layer has in closed form, so that no gradient of a gradient is needed.

    Args:
        inputs: Width of the input rows.
        code: Width of the code h = sigmoid(x Wᵀ + b).
        weight: Of the penalty beside the squared error.
    """

    def __init__(self, inputs: int, code: int, weight: float = 1e-2) -> None:
        super().__init__(
            nn.Sequential(nn.Linear(inputs, code), nn.Sigmoid()), nn.Linear(code, inputs)
        )
        self.weight = weight

    @property
    def layer(self) -> nn.Linear:
        """The layer of the encoder."""
        first: nn.Linear = getattr(self.encoder, "0")
        return first

    def penalty(self, coded: Coded) -> Tensor | float:
        if not self.weight:
            return 0.0
        return contraction(coded.code, self.layer.weight).mean() * self.weight


def contraction(h: Tensor, w: Tensor) -> Tensor:
    """‖∂h/∂x‖² of each row, for h = sigmoid(x wᵀ + b).

    ∂h_j/∂x_i = h_j (1 − h_j) w_ji, so its squares sum to Σ_j (h_j (1 − h_j))² Σ_i w_ji².

    Args:
        h: `(N, K)`.
        w: `(K, I)`.

    Returns:
        `(N,)`.
    """
    slope = h * (1 - h)
    return (slope * slope) @ (w * w).sum(1)
