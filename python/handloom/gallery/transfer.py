"""Transfer learning: a network that has learned the digits 0 to 4 reads 5 to 9 from ten of each."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np

from .. import data, nn, optim
from ..models.vision import conv_block
from ..tensor import Array, Tensor
from ..train import (
    GradualUnfreezing,
    extract_features,
    fit,
    freeze_batch_norm,
    layer_rates,
    metrics,
    predict,
)
from .task import Context, Task

F = nn.functional

FEWEST = (3, 5)  # examples of each digit, besides ten


class Network(nn.Module):
    """Three stages of convolutions that see, and a head that names."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(conv_block(1, 16, 5), nn.MaxPool2d(2)),
            nn.Sequential(conv_block(16, 32), conv_block(32, 32), nn.MaxPool2d(2)),
            nn.Sequential(conv_block(32, 64), nn.MaxPool2d(2), nn.Flatten()),
        )
        self.head = nn.Linear(64 * 9, classes)

    def forward(self, x: Any) -> Tensor:
        scores: Tensor = self.head(self.features(x))
        return scores


def _run(context: Context) -> None:
    digits = data.load("mnist_5k")
    old = digits.y < 5
    x, x_held, y, y_held = data.train_test_split(
        digits.x[old], digits.y[old], test_size=0.2, stratify=digits.y[old]
    )
    teacher = _teacher(context, x, y)
    known = metrics.accuracy(y_held, predict(teacher, x_held)[:, :5])

    few, rest = _few(digits.y, 10, np.random.default_rng(context.seed))
    x, y, x_test, y_test = digits.x[few], digits.y[few] - 5, digits.x[rest], digits.y[rest] - 5

    def score(model: nn.Module) -> float:
        return float(metrics.accuracy(y_test, predict(model, x_test)))

    long = context.epochs(60, 4)
    scratch = score(_trained(context, Network(), x, y, long, "from scratch"))
    frozen = _head_only(context, teacher, x, y, long)
    head_only = score(frozen)
    tuned = score(_tuned(context, frozen, x, y, context.epochs(30, 3)))
    gradual = score(_gradual(context, teacher, x, y, context.epochs(45, 3)))
    fewer = _by_count(context, digits.x, digits.y, teacher, long)
    full, skipped, cached = _seconds(teacher, x, y, 3 if context.quick else 15)
    context.check(
        "frozen layers and a new head: test accuracy", head_only, at_least=0.85, baseline=scratch
    )
    context.check(
        "frozen layers: points above the same network from scratch",
        100 * (head_only - scratch),
        at_least=3.5,
    )
    context.check(
        "five of each: points of frozen layers above from scratch",
        100 * (fewer[FEWEST[-1]][1] - fewer[FEWEST[-1]][0]),
        at_least=5,
    )
    context.check("fine-tuned: points above frozen layers", 100 * (tuned - head_only), at_least=-1)
    context.check("a step with frozen layers: times faster", full / skipped, at_least=1.5)
    context.table(
        f"Digits 5 to 9 from ten of each (0 to 4 were learned to {known:.3f})",
        ("what learns", "test accuracy", "a step, ms"),
        [
            ("everything, from scratch", f"{scratch:.3f}", f"{1e3 * full:.2f}"),
            ("transfer: a new head", f"{head_only:.3f}", f"{1e3 * skipped:.2f}"),
            ("the same, features computed once", f"{head_only:.3f}", f"{1e3 * cached:.2f}"),
            ("fine-tuning: then all, slower layer by layer", f"{tuned:.3f}", f"{1e3 * full:.2f}"),
            ("gradual unfreezing from the head down", f"{gradual:.3f}", ""),
        ],
    )
    context.table(
        "With fewer examples: test accuracy",
        ("of each digit", "from scratch", "a new head", "points"),
        [
            (str(count), f"{a:.3f}", f"{b:.3f}", f"{100 * (b - a):.1f}")
            for count, (a, b) in {**fewer, 10: (scratch, head_only)}.items()
        ],
    )
    from . import plots

    context.draw(
        "transfer-accuracy",
        plots.bars,
        {
            "from scratch": scratch,
            "new head": head_only,
            "fine-tuned": tuned,
            "unfrozen gradually": gradual,
        },
        "digits 5 to 9 from ten examples of each",
        "test accuracy",
    )
    context.save("transfer", frozen)


def _by_count(
    context: Context, images: Array, labels: Array, teacher: Network, epochs: int
) -> dict[int, tuple[float, float]]:
    """Test accuracy from scratch and of a new head, for fewer examples of each digit."""
    found = {}
    for count in FEWEST:
        few, rest = _few(labels, count, np.random.default_rng(context.seed))
        x, y = images[few], labels[few] - 5
        models = (
            _trained(context, Network(), x, y, epochs, f"from scratch, {count} of each"),
            _head_only(context, teacher, x, y, epochs),
        )
        a, b = (
            float(metrics.accuracy(labels[rest] - 5, predict(model, images[rest])))
            for model in models
        )
        found[count] = (a, b)
    return found


def _teacher(context: Context, x: Array, y: Array) -> Network:
    """Learns which digit it is and by how many quarter turns it is turned: 20 classes.

    The turns, which cost no labels, make it look at more than what tells five digits apart
    (Gidaris, Singh and Komodakis, 2018).
    """
    if context.quick:
        x, y = x[:400], y[:400]
    turned = np.concatenate([np.rot90(x, k, (1, 2)) for k in range(4)])
    labels = np.concatenate([y + 5 * k for k in range(4)])
    teacher = Network(20)
    epochs = context.epochs(15, 2)
    optimizer = optim.Adam(teacher.parameters(), lr=2e-3)
    history = fit(
        teacher,
        data.DataLoader(
            data.TensorDataset(turned, labels),
            64,
            shuffle=True,
            seed=context.seed,
            transform=data.augment.Compose(
                [data.augment.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), 12)], seed=context.seed
            ),
        ),
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress("digits 0 to 4"),
        seed=context.seed,
    )
    context.losses("digits 0 to 4", history["loss"])
    return teacher


def _few(labels: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions of so many of each digit from 5 on, and of all others of these digits."""
    few = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c))[:count] for c in range(5, 10)]
    )
    return few, np.setdiff1d(np.flatnonzero(labels >= 5), few)


def _trained(
    context: Context, model: Network, x: Array, y: Array, epochs: int, name: str
) -> Network:
    history = fit(
        model,
        (x, y),
        loss=F.cross_entropy,
        optimizer=optim.Adam(model.parameters(), lr=2e-3),
        epochs=epochs,
        batch_size=25,
        progress=context.progress(name),
        seed=context.seed,
    )
    context.losses(name, history["loss"])
    return model


def _head_only(context: Context, teacher: Network, x: Array, y: Array, epochs: int) -> Network:
    """The frozen layers see each image once; the head learns from what they saw."""
    model = copy.deepcopy(teacher)
    model.head = nn.Linear(64 * 9, 5)
    model.features.freeze()
    freeze_batch_norm(model.features)
    seen = extract_features(model.features, x)
    history = fit(
        model.head,
        (seen, y),
        loss=F.cross_entropy,
        optimizer=optim.AdamW(model.head.parameters(), lr=2e-3, weight_decay=0.1),
        epochs=epochs,
        batch_size=25,
        progress=context.progress("a new head"),
        seed=context.seed,
    )
    context.losses("a new head", history["loss"])
    return model


def _tuned(context: Context, frozen: Network, x: Array, y: Array, epochs: int) -> Network:
    """Everything learns on from there, the first layers slowest, batch norm as it was."""
    model = copy.deepcopy(frozen)
    model.unfreeze()
    optimizer = optim.AdamW(layer_rates([*model.features, model.head], 5e-4), lr=5e-4)
    history = fit(
        model,
        (x, y),
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=25,
        progress=context.progress("fine-tuning"),
        seed=context.seed,
    )
    context.losses("fine-tuning", history["loss"])
    return model


def _gradual(context: Context, teacher: Network, x: Array, y: Array, epochs: int) -> Network:
    model = copy.deepcopy(teacher)
    model.head = nn.Linear(64 * 9, 5)
    stages = [*model.features, model.head]
    history = fit(
        model,
        (x, y),
        loss=F.cross_entropy,
        optimizer=optim.AdamW(layer_rates(stages, 2e-3), lr=2e-3, weight_decay=0.05),
        epochs=epochs,
        batch_size=25,
        callbacks=[GradualUnfreezing(stages, every=max(1, epochs // len(stages)))],
        progress=context.progress("gradually"),
        seed=context.seed,
    )
    context.losses("gradual unfreezing", history["loss"])
    return model


def _seconds(teacher: Network, x: Array, y: Array, rounds: int) -> tuple[float, float, float]:
    """Of a training step: everything learns; only the head; only the head, features at hand.

    The shortest of some rounds, in turn, so that all three had the machine for themselves.
    """
    whole, frozen = copy.deepcopy(teacher), copy.deepcopy(teacher)
    frozen.features.freeze()
    freeze_batch_norm(frozen.features)
    head = copy.deepcopy(teacher.head)
    seen = extract_features(frozen.features, x)
    runs = []
    for model, inputs in ((whole, x), (frozen, x), (head, seen)):
        learning = [p for p in model.parameters() if p.requires_grad]
        runs.append((model, inputs, optim.Adam(learning, lr=1e-4)))
    best = [float("inf")] * 3
    for _ in range(rounds):
        for i, (model, inputs, optimizer) in enumerate(runs):
            begin = time.perf_counter()
            F.cross_entropy(model(inputs), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            best[i] = min(best[i], time.perf_counter() - begin)
    return best[0], best[1], best[2]


TASK = Task(
    "transfer",
    ("Y1", "Y2", "Y3", "Y4", "Y5", "Y6"),
    "Transfer learning and fine-tuning: from digits 0 to 4 to 5 to 9",
    _run,
)
