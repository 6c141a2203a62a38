"""Augmentation: what each transform does to a series and to an image, and what it is worth.

67 days of demand for power to learn from: a day that is a little noisier, later or longer is still
a day of the same half of the year.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import data, manual_seed, optim
from ..data import augment
from ..nn import functional as F
from ..tensor import Array
from ..train import fit, metrics, predict
from .cnn_1d import build
from .task import Context, Task

SERIES: dict[str, Any] = {
    "jitter": augment.Jitter(0.1),
    "scaling": augment.Scaling(0.2),
    "shift": augment.Shift(1),
    "window slice": augment.WindowSlice(0.9),
    "time warp": augment.TimeWarp(4, 0.2),
    "permutation": augment.Permutation(4),
}
IMAGES: dict[str, Any] = {
    "flip": augment.RandomHorizontalFlip(1.0),
    "rotation": augment.RandomRotation(25),
    "zoom": augment.RandomZoom((0.7, 1.3)),
    "translation": augment.RandomTranslation((0.2, 0.2)),
    "shear": augment.RandomShear(25),
    "brightness, contrast": augment.ColorJitter(brightness=0.4, contrast=0.4),
    "noise": augment.GaussianNoise(0.0, 0.1),
    "crop": augment.RandomResizedCrop(96, scale=(0.3, 0.8)),
    "erasing": augment.RandomErasing(1.0),
    "mixup": augment.MixUp(1.0, num_classes=2),
    "cutmix": augment.CutMix(1.0, num_classes=2),
}


def learn(
    transform: Any, rows: tuple[Array, Array], epochs: int, seed: int
) -> tuple[Any, list[float]]:
    """Returns the network of `cnn_1d`, trained on rows that are transformed, and its losses."""
    manual_seed(seed)
    model = build()
    several = augment.Compose(transform, seed=seed)
    loader = data.DataLoader(
        data.TensorDataset(*rows), 16, shuffle=True, seed=seed, transform=several
    )
    history = fit(
        model,
        loader,
        loss=F.cross_entropy,
        optimizer=optim.Adam(model.parameters(), lr=1e-3),
        epochs=epochs,
        scheduler="cosine",
        progress=False,
        seed=seed,
    )
    return model, history["loss"]


def differing(rows: tuple[Array, Array], seed: int) -> int:
    """Returns how many numbers of two epochs depend on who loads the batches: none should."""
    everything = augment.Compose(list(SERIES.values()), seed=seed)
    epochs = []
    for workers in (0, 1, 3):
        loader = data.DataLoader(
            data.TensorDataset(*rows), 16, shuffle=True, seed=seed, num_workers=workers,
            transform=everything,
        )  # fmt: skip
        batches = [np.asarray(x) for _ in range(2) for x, _ in loader]
        epochs.append(np.concatenate(batches))
    return sum(int(np.sum(found != epochs[0])) for found in epochs[1:])


def _run(context: Context) -> None:
    days = data.load("italy_power_demand")
    cut = days.train_size
    rows, (x_test, y_test) = (days.x[:cut], days.y[:cut]), (days.x[cut:], days.y[cut:])
    gentle = [SERIES["jitter"], SERIES["scaling"], SERIES["time warp"]]
    kinds = {
        "nothing": [],
        **{name: [transform] for name, transform in SERIES.items()},
        "jitter, scaling, time warp": gentle,
    }
    found: dict[str, float] = {}
    for name, transforms in kinds.items():
        epochs = context.epochs(100, 5)
        model, losses = learn(transforms, rows, epochs, context.seed)
        context.losses(name, losses)
        found[name] = metrics.accuracy(y_test, predict(model, x_test))
    context.check(
        "italy_power_demand: accuracy with jitter, scaling and time warp",
        found["jitter, scaling, time warp"],
        at_least=0.94,
        baseline=found["nothing"],
    )
    context.check(
        "numbers that differ between 0, 1 and 3 loading threads",
        differing(rows, context.seed),
        at_most=0,
    )
    context.table(
        f"Augmentation of {cut} days, one transform at a time",
        ("transform", "test accuracy"),
        [(name, f"{score:.4f}") for name, score in found.items()],
    )
    from . import pictures, plots

    day = days.x[:1]
    context.draw(
        "augmentation-series",
        plots.before_after,
        day[0, :, 0],
        {name: _copies(t, day, 6)[..., 0] for name, t in SERIES.items()},
        "A day before (grey), and six times after each transform",
        "hour",
    )
    picture = _picture()
    context.draw(
        "augmentation-images",
        pictures.strips,
        {
            "before": np.repeat(picture[:1], 6, 0),
            **{name: _copies(t, picture, 6) for name, t in IMAGES.items()},
        },
        "A photograph before, and six times after each transform",
    )


def _copies(transform: Any, x: Array, count: int) -> Array:
    """What so many epochs make of the first sample; the others are there to be mixed with it."""
    both = augment.Compose([transform], seed=1)
    y = np.zeros(len(x), np.int64)
    made = [
        both(x, y, index=np.arange(len(x)), epoch=epoch)[0][:1]
        if transform.mixes_samples
        else both(x[:1], index=[0], epoch=epoch)
        for epoch in range(count)
    ]
    return np.concatenate(made)


def _picture() -> Array:
    """(2, 96, 96, 3): a face, and a turned copy of another part to be mixed with it."""
    whole = data.load("astronaut").x[:, ::2, ::2]
    face, other = whole[:, 8:104, 64:160], whole[:, 130:226, 120:216]
    return np.concatenate([face, other]).astype(np.float32)


TASK = Task(
    "augmentation",
    ("R8", "U1", "U2", "U3", "U4", "U5", "U6", "U7", "U8", "U9", "U14", "U15", "U16", "U17"),
    "Augmentation: series and images before and after, and what it is worth",
    _run,
)
