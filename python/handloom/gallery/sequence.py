"""What the recurrent tasks share: a network that reads a series and says one thing about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import data, nn, optim
from ..tensor import Array, Tensor
from ..train import History, fit, metrics, predict
from .task import Context


class Reader(nn.Module):
    """Many to one: the state in which a recurrent network ends, and one layer on it."""

    def __init__(self, cell: nn.RNN | nn.GRU | nn.LSTM, outputs: int) -> None:
        super().__init__()
        self.cell = cell
        self.last = nn.Linear(cell.directions * cell.hidden_size, outputs)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Returns (N, outputs) for series (N, T, C) of so many steps."""
        _, state = self.cell(x, None, lengths)
        h = state[0] if isinstance(state, tuple) else state
        # The last layer's; of two directions each has ended at another end.
        h = h[-self.cell.directions :].permute(1, 0, 2)
        found: Tensor = self.last(h.reshape(len(x), self.last.in_features))
        return found


def learn_vowels(
    context: Context,
    label: str,
    build: Callable[[int], Reader],
    *,
    lr: float,
    at_least: float,
    progress: str = "",
) -> tuple[Reader, History, Array, Array, tuple[str, ...]]:
    """Trains a reader to tell who spoke, and checks it on speakers' other utterances.

    Args:
        context: Of the task.
        label: Of the promise.
        build: Called with the number of speakers.
        lr: Of AdamW.
        at_least: The accuracy promised.
        progress: What tells this network apart in a progress bar.

    Returns:
        The reader, its history, logits and classes of the test rows, the speakers' names.
    """
    train, (x_test, lengths, y_test), names = vowels()
    epochs = context.epochs(60, 5)
    model = build(len(names))
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    history = fit(
        model,
        train,
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=16,
        metrics="accuracy",
        validation=(x_test, lengths, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        clip_norm=1.0,
        progress=context.progress(progress),
        seed=context.seed,
    )
    context.losses(label, history["loss"])
    logits = predict(model, (x_test, lengths))
    context.check(
        f"{label}: test accuracy",
        metrics.accuracy(y_test, logits),
        at_least=at_least,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    return model, history, logits, y_test, names


def parameters(model: nn.Module) -> int:
    """Returns how many numbers a model learns."""
    return sum(int(np.prod(p.shape)) for p in model.parameters())


def vowels() -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array], tuple[str, ...]]:
    """Returns series, lengths and speakers of japanese_vowels to train and to test with, names."""
    spoken = data.load("japanese_vowels")
    if spoken.lengths is None:
        raise ValueError("japanese_vowels: expected lengths")
    n, at = spoken.train_size, np.arange(spoken.x.shape[1])
    inside = at < spoken.lengths[:, None]
    scale = data.Standardizer().fit(spoken.x[:n][inside[:n]])
    # What is behind a series stays 0.
    x = scale.transform(spoken.x) * inside[..., None]
    parts = [(x[part], spoken.lengths[part], spoken.y[part]) for part in (slice(n), slice(n, None))]
    return parts[0], parts[1], tuple(name.split()[-1] for name in spoken.target_names)
