"""The restricted Boltzmann machine: features of digits that it finds without labels.

The set-up of scikit-learn's example "RBM features for digit classification": every digit is moved
by one pixel in each direction, and a logistic regression reads either pixels or hidden units. There
the moved copies of a test digit are in the training set; here the digits are split before.
"""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from .._arrays import Array
from ..models import RBM
from ..train import fit, metrics, predict
from .task import Context, Task

_MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))


def nudged(images: Array, y: Array) -> tuple[Array, Array]:
    """Returns images (N, H, W) and their four neighbours, moved by a pixel, as rows; and labels."""
    h, w = images.shape[1:]
    around = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moved = [around[:, 1 - i : 1 - i + h, 1 - j : 1 - j + w] for i, j in _MOVES]
    return np.concatenate(moved).reshape(-1, h * w), np.tile(y, len(_MOVES))


def _logistic(context: Context, name: str, x: Array, y: Array, lr: float) -> nn.Linear:
    """A logistic regression, trained until nothing changes any more."""
    epochs = context.epochs(150, 5)
    model = nn.Linear(x.shape[1], 10)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=64,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(name),
        seed=context.seed,
    )
    context.losses(f"logistic regression on {name}", history["loss"])
    return model


def _run(context: Context) -> None:
    digits = data.load("digits")
    images, images_test, y, y_test = data.train_test_split(
        digits.x[..., 0], digits.y, test_size=0.2, stratify=digits.y
    )
    x, y = nudged(images, y)
    x_test, y_test = nudged(images_test, y_test)
    low, high = x.min(axis=0), x.max(axis=0)
    x, x_test = (
        np.ascontiguousarray(((a - low) / (high - low + 1e-4)).clip(0, 1)) for a in (x, x_test)
    )

    machine = RBM(256, learning_rate=0.06, n_iter=context.epochs(60, 3), random_state=context.seed)
    machine.fit(x)
    context.losses("RBM", [-score for score in machine.history_])
    features, features_test = machine.transform(x), machine.transform(x_test)
    raw = _logistic(context, "pixels", x, y, 3e-3)
    learned = _logistic(context, "features", features, y, 2e-2)
    by_pixels = metrics.accuracy(y_test, predict(raw, x_test))
    logits = predict(learned, features_test)
    by_features = metrics.accuracy(y_test, logits)
    context.check(
        "nudged digits: test accuracy of a logistic regression on features",
        by_features,
        at_least=0.92,
        baseline=by_pixels,
    )
    context.check("the same, less that on pixels", by_features - by_pixels, at_least=0.10)
    noise = np.random.default_rng(context.seed).random(x_test.shape, np.float32)
    gap = machine.free_energy(noise).mean() - machine.free_energy(x_test).mean()
    context.check("free energy of noise less that of test digits", gap, at_least=20.0)

    from . import pictures, plots

    context.draw(
        "rbm-history",
        plots.learning,
        {"pseudo-likelihood": [-score for score in machine.history_]},
        None,
        "RBM of 256 hidden units: minus the pseudo-likelihood, in nats",
    )
    order = np.argsort(-np.abs(machine.components_).sum(axis=1))[:48]
    context.draw(
        "rbm-filters",
        pictures.fields,
        machine.components_[order].reshape(-1, 8, 8),
        "what its hidden units look for",
        columns=12,
    )
    rows = np.searchsorted(np.sort(y_test), np.arange(10))
    seen = x_test[np.argsort(y_test, kind="stable")[rows]]
    chains = [seen]
    for steps in (1, 9, 90):
        chains.append(machine.gibbs(chains[-1], steps))
    shown = [machine.inverse_transform(machine.transform(c)) for c in chains]
    context.draw(
        "rbm-gibbs",
        pictures.strips,
        {
            "data": seen.reshape(-1, 8, 8),
            "its mean": shown[0].reshape(-1, 8, 8),
            "after 1 step": shown[1].reshape(-1, 8, 8),
            "10 steps": shown[2].reshape(-1, 8, 8),
            "100 steps": shown[3].reshape(-1, 8, 8),
        },
        "Gibbs sampling that begins with test digits",
    )


TASK = Task("rbm", ("N21", "K1"), "Restricted Boltzmann machine: features of digits", _run)
