"""What the tasks of autoencoders share: training, principal components, and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import optim
from .._arrays import Array
from ..models import Autoencoder
from ..train import History, fit
from .task import Context


def train(
    context: Context,
    name: str,
    model: Any,
    data: Any,
    epochs: int,
    lr: float = 2e-3,
    batch_size: int = 32,
    decay: float = 0.0,
    validation: Any = None,
) -> History:
    """Fits a model that knows its own loss, and records that it fell."""
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    history = fit(
        model,
        data,
        loss=model.loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(name),
        seed=context.seed,
    )
    context.losses(name, history["loss"])
    return history


class Principal:
    """The best linear autoencoder: the first principal components."""

    def __init__(self, x: Array, components: int) -> None:
        self.mean = x.mean(axis=0)
        self.axes = np.linalg.svd(x - self.mean, full_matrices=False)[2][:components]

    def encode(self, x: Array) -> Array:
        return np.asarray((x - self.mean) @ self.axes.T)

    def reconstruct(self, x: Array) -> Array:
        return np.asarray(self.encode(x) @ self.axes + self.mean)


def error(a: Array, b: Array) -> float:
    """Mean squared error."""
    return float(np.mean(np.square(np.subtract(a, b, dtype=np.float64))))


def images(rows: Array, count: int = 10) -> Array:
    """The first rows as square pictures."""
    side = round(rows[0].size ** 0.5)
    return rows[:count].reshape(-1, side, side)


def latent_walk(model: Autoencoder, a: Array, b: Array, steps: int = 10) -> Array:
    """What lies between the codes of two rows, decoded."""
    from ..autograd import no_grad

    start, end = model.encode(np.stack([a, b]))
    share = np.linspace(0, 1, steps, dtype=start.dtype)[:, None]
    with no_grad():
        return model.decoder(start + share * (end - start)).numpy()  # type: ignore[no-any-return]
