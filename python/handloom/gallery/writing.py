"""What the tasks share whose networks read something and write tokens about it."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn, optim
from ..tensor import Array, Tensor
from ..train import fit
from .task import Context


def learn(
    context: Context,
    label: str,
    model: nn.Module,
    read: Sequence[Array],
    target: Array,
    *,
    epochs: int,
    batch_size: int = 64,
    peak: float = 3e-3,
    progress: str = "",
) -> None:
    """Trains a writer on what it reads and the target (N, T), from `<bos>` to `<eos>` and padding.

    Each token is told from the true ones before it.
    """
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    steps = epochs * -(-len(target) // batch_size)
    history = fit(
        model,
        (*read, target[:, :-1], target[:, 1:]),
        loss=_loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        scheduler=optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps),
        clip_norm=1.0,
        progress=context.progress(progress),
        seed=context.seed,
    )
    context.losses(label, history["loss"])


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, target, ignore_index=0)  # 0 is padding
