"""Regularisation: thirty images of each digit, a network that learns them by heart, and what helps.

Every row of the table changes one thing of the first. Three networks each, from three seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import data, manual_seed, nn, optim
from ..data import augment
from ..nn import functional as F
from ..tensor import Array
from ..train import Callback, EarlyStopping, MaxNorm, Penalty, evaluate, fit, metrics, predict
from .cnn import shaken
from .task import Context, Task

ROWS, SIZE = 300, 28


class Remedy(NamedTuple):
    """A network, and what is done while it learns.

    Attributes:
        network: Makes it.
        callbacks: Of `fit`.
        transform: Of the images.
        smoothing: Of the labels.
        rows: Training images.
        held_out: Whether a fifth of them is kept to tell when to stop.
    """

    network: Callable[[], nn.Module]
    callbacks: Callable[[], Sequence[Callback]] = lambda: ()
    transform: Callable[[int], Any] | None = None
    smoothing: float = 0.0
    rows: int = ROWS
    held_out: bool = False


def dense(
    width: int = 256, layers: int = 2, dropout: float = 0.0, noise: float = 0.0, norm: bool = False
) -> nn.Sequential:
    """Returns a network for 28 × 28 pixels and 10 classes, far too large for 300 images."""
    parts: list[nn.Module] = [nn.Flatten(), nn.GaussianNoise(noise)]
    inputs = SIZE * SIZE
    for _ in range(layers):
        parts += [nn.Linear(inputs, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
        parts += [nn.Dropout(dropout)] if dropout else []
        inputs = width
    return nn.Sequential(*parts, nn.Linear(inputs, 10))


def convolutional(spatial: float = 0.0) -> nn.Sequential:
    """Returns two convolutions; `spatial` is the share of whole maps that are dropped."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding="same"),
        nn.ReLU(),
        nn.Dropout2d(spatial),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding="same"),
        nn.ReLU(),
        nn.Dropout2d(spatial),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 9, 10),
    )


def _mixed(kind: Any) -> Callable[[int], Any]:
    return lambda seed: augment.Compose([kind(0.2, num_classes=10)], seed=seed)


REMEDIES: dict[str, Remedy] = {
    "nothing": Remedy(dense),
    "L2": Remedy(dense, lambda: [Penalty(l2=1e-3)]),
    "L1": Remedy(dense, lambda: [Penalty(l1=1e-4)]),
    "elastic net": Remedy(dense, lambda: [Penalty(l1=5e-5, l2=5e-4)]),
    "max norm": Remedy(dense, lambda: [MaxNorm(0.7)]),
    "dropout": Remedy(lambda: dense(dropout=0.5)),
    "Gaussian noise": Remedy(lambda: dense(noise=0.3)),
    "label smoothing": Remedy(dense, smoothing=0.1),
    "batch norm": Remedy(lambda: dense(norm=True)),
    "early stopping": Remedy(dense, lambda: [EarlyStopping("val_loss", 5)], held_out=True),
    "a smaller network": Remedy(lambda: dense(32, 1)),
    "mixup": Remedy(dense, transform=_mixed(augment.MixUp)),
    "cutmix": Remedy(dense, transform=_mixed(augment.CutMix)),
    "augmentation": Remedy(dense, transform=shaken),
    "augmentation, dropout": Remedy(lambda: dense(dropout=0.3), transform=shaken),
    "four times the data": Remedy(dense, rows=4 * ROWS),
    "a convolutional network": Remedy(convolutional),
    "and spatial dropout": Remedy(lambda: convolutional(0.2)),
}


class _Found(NamedTuple):
    training: float
    test: float
    test_loss: float


def learn(
    remedy: Remedy, train: tuple[Array, Array], test: tuple[Array, Array], epochs: int, seed: int
) -> tuple[_Found, list[float]]:
    """Trains one network; returns its figures and the losses of its epochs."""
    manual_seed(seed)
    model = remedy.network()
    rows = tuple(a[: remedy.rows] for a in train)
    validation = None
    if remedy.held_out:
        parts = data.split(rows, [0.8, 0.2], stratify=rows[1])
        rows, validation = parts[0], parts[1]
    transform = None if remedy.transform is None else remedy.transform(seed)
    loader = data.DataLoader(
        data.TensorDataset(*rows), 32, shuffle=True, seed=seed, transform=transform
    )
    history = fit(
        model,
        loader,
        loss=lambda out, y: F.cross_entropy(out, y, label_smoothing=remedy.smoothing),
        optimizer=optim.Adam(model.parameters(), lr=1e-3),
        epochs=epochs,
        validation=validation,
        callbacks=remedy.callbacks(),
        progress=False,
        seed=seed,
    )
    logits = predict(model, test[0])
    loss = evaluate(model, test, loss=F.cross_entropy)["loss"]
    training = metrics.accuracy(train[1][:ROWS], predict(model, train[0][:ROWS]))
    return _Found(training, metrics.accuracy(test[1], logits), loss), history["loss"]


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=2000, stratify=digits.y
    )
    if context.quick:
        x_test, y_test = x_test[:400], y_test[:400]
    order = np.argsort(_turns(y), kind="stable")
    train, test = (x[order], y[order]), (x_test, y_test)
    seeds = [3 * context.seed + i for i in range(1 if context.quick else 3)]
    epochs = context.epochs(50, 2)
    found: dict[str, _Found] = {}
    spread: dict[str, float] = {}
    for name, remedy in REMEDIES.items():
        runs = [learn(remedy, train, test, epochs, seed) for seed in seeds]
        means = np.mean([run for run, _ in runs], axis=0)
        found[name] = _Found(*means.tolist())
        spread[name] = max(run.test for run, _ in runs) - min(run.test for run, _ in runs)
        if name in ("nothing", "dropout", "augmentation"):
            context.losses(name, runs[0][1])
    nothing = found["nothing"]
    context.check(
        "mnist_5k, 300 images: gap of nothing, training over test accuracy",
        nothing.training - nothing.test,
        at_least=0.10,
    )
    context.check(
        "mnist_5k, 300 images: test loss with L2",
        found["L2"].test_loss,
        at_most=nothing.test_loss,
        baseline=nothing.test_loss,
    )
    for name, gain in (("augmentation", 0.03), ("four times the data", 0.04)):
        context.check(
            f"mnist_5k, 300 images: test accuracy with {name}",
            found[name].test,
            at_least=nothing.test + gain,
            baseline=nothing.test,
        )
    context.table(
        f"Against overfitting: {ROWS} images of mnist_5k, means of {len(seeds)} seeds",
        ("one change", "training", "test", "± seeds", "gain", "test loss"),
        [
            (
                name,
                f"{f.training:.1%}",
                f"{f.test:.1%}",
                f"{spread[name] / 2:.1%}",
                f"{100 * (f.test - nothing.test):+.1f}",
                f"{f.test_loss:.3f}",
            )
            for name, f in found.items()
        ],
    )
    from . import plots

    context.draw(
        "regularisation-accuracy",
        plots.bars,
        {name: f.test for name, f in found.items()},
        "300 images, one change at a time",
        "test accuracy",
        low=0.8,
    )


def _turns(y: Array) -> Array:
    """How many of its class came before each row: sorted by it, the classes take turns."""
    turns = np.empty(len(y), np.int64)
    for c in np.unique(y):
        own = np.flatnonzero(y == c)
        turns[own] = np.arange(len(own))
    return turns


TASK = Task(
    "regularisation",
    ("R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R12", "U9", "C20"),
    "Regularisation: every remedy against overfitting, measured",
    _run,
)
