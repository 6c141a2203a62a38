"""The variational autoencoder: its code is a distribution, so that codes of chance mean something.

Kingma and Welling: "Auto-encoding variational Bayes" (ICLR 2014).

    log p(x) ≥ ELBO = E over z ~ q(z | x) of log p(x | z) − KL(q(z | x) ‖ N(0, 1))
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import nn, ops
from ..autograd import no_grad
from ..ops._common import shape_of
from ..tensor import Array, Tensor

F = nn.functional


class Guess(NamedTuple):
    """What the model makes of a batch.

    Attributes:
        logits: Of the pixels' probabilities, of the input's shape.
        mu, logvar: Of q(z | x), `(N, latent)`.
    """

    logits: Tensor
    mu: Tensor
    logvar: Tensor


class VAE(nn.Module):
    """A variational autoencoder of rows or images of probabilities, with units of 0 and 1.

    Args:
        encoder: Input, flattened to rows → features `(N, hidden)`.
        decoder: Rows `(N, latent + classes)` → logits that have as many numbers as the input.
        hidden: Width of the encoder's features.
        latent: Width of z.
        classes: 0, or the number of labels of a conditional model (Sohn et al. 2015): encoder and
            decoder then see the label as well, and the encoder's rows are that much wider.
        beta: Weight of the KL term; above 1 it disentangles (Higgins et al. 2017).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        hidden: int,
        latent: int,
        *,
        classes: int = 0,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        if latent < 1 or classes < 0:
            raise ValueError(f"VAE: latent is {latent} and classes {classes}, expected >= 1 and 0")
        self.encoder, self.decoder = encoder, decoder
        self.to_mu, self.to_logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.latent, self.classes, self.beta = latent, classes, beta

    def _with_label(self, rows: Any, label: Any, op: str) -> Any:
        if self.classes == 0:
            if label is not None:
                raise ValueError(f"VAE.{op}: there is a label, but the model has no classes")
            return rows
        return ops.cat([rows, one_hot(label, self.classes, f"VAE.{op}", rows)], -1)

    def encode(self, x: Any, label: Any = None) -> tuple[Tensor, Tensor]:
        """x `(N, …)` → mean and log variance of z, `(N, latent)` each."""
        features = self.encoder(self._with_label(ops.flatten(x, 1), label, "encode"))
        return self.to_mu(features), self.to_logvar(features)

    def decode(self, z: Any, label: Any = None) -> Tensor:
        """z `(N, latent)` → logits.

        Raises:
            ValueError: z of another width.
        """
        shape = shape_of("VAE.decode", z, "z")
        if len(shape) != 2 or shape[1] != self.latent:
            raise ValueError(f"VAE.decode: z has shape {shape}, expected (N, {self.latent})")
        return self.decoder(self._with_label(z, label, "decode"))  # type: ignore[no-any-return]

    def forward(self, x: Any, label: Any = None) -> Guess:
        mu, logvar = self.encode(x, label)
        # The reparameterisation: z = μ + σ ε, so that the gradient reaches μ and σ.
        noise = ops.randn(*mu.shape, dtype=mu.dtype)
        z = mu + ops.exp(logvar * 0.5) * noise if self.training else mu
        return Guess(self.decode(z, label).reshape(*x.shape), mu, logvar)

    def loss(self, guess: Guess, target: Any) -> Tensor:
        """−ELBO of a batch, in nats a sample, with β before the KL term."""
        n = len(target)
        error = F.binary_cross_entropy_with_logits(guess.logits, target, reduction="sum") / n
        return error + F.gaussian_kl(guess.mu, guess.logvar, reduction="sum") * (self.beta / n)

    def elbo(self, x: Array, label: Any = None, samples: int = 1) -> Array:
        """ELBO (β = 1) of each row `(N,)`, in nats, its expectation by `samples` of z."""
        with no_grad():
            mu, logvar = (t.numpy() for t in self.encode(x, label))
            kl = -0.5 * (1 + logvar - mu * mu - np.exp(logvar)).sum(axis=1)
            flat = np.asarray(x).reshape(len(x), -1)
            total = np.zeros(len(x))
            for _ in range(samples):
                z = mu + np.exp(logvar / 2) * ops.randn(*mu.shape, dtype=mu.dtype).numpy()
                logits = self.decode(z, label).numpy().reshape(flat.shape)
                total += (flat * logits - np.logaddexp(0, logits)).sum(axis=1)
        return np.asarray(total / samples - kl)

    def sample(self, n: int, label: Any = None, *, z: Any = None) -> Array:
        """Returns pixels' probabilities for n codes, of chance or `z` `(n, latent)`."""
        with no_grad():
            codes = ops.randn(n, self.latent) if z is None else z
            return F.sigmoid(self.decode(codes, label)).numpy()


def one_hot(label: Any, classes: int, op: str, like: Any) -> Tensor:
    """Labels `(N,)` as rows of the dtype of `like`.

    Raises:
        ValueError: There is none, another number of them, or one that is out of range.
    """
    if label is None:
        raise ValueError(f"{op}: the model is conditional, expected labels")
    numbers = np.asarray(label)
    if numbers.shape != (len(like),) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"{op}: labels {numbers.dtype} {numbers.shape}, expected integers ({len(like)},)"
        )
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= classes):
        bad = numbers[(numbers < 0) | (numbers >= classes)][0]
        raise ValueError(f"{op}: label {bad}, expected 0 <= label < {classes}")
    return Tensor(np.eye(classes, dtype=like.dtype)[numbers])


def dense_vae(
    pixels: int,
    hidden: int,
    latent: int,
    *,
    classes: int = 0,
    beta: float = 1.0,
    dropout: float = 0,
) -> VAE:
    """Returns the VAE of Kingma and Welling: two layers of linear units and ReLUs each way."""
    encoder = nn.Sequential(
        nn.Linear(pixels + classes, hidden), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden, hidden), nn.ReLU(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(latent + classes, hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, pixels),
    )  # fmt: skip
    return VAE(encoder, decoder, hidden, latent, classes=classes, beta=beta)
