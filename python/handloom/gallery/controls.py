"""Negative controls: what must not learn does not, so that the other figures mean something."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..train import fit, metrics, predict
from .task import Context, Task


def _run(context: Context) -> None:
    digits = data.load("digits")
    # A large test part: the figures to be told from chance are shares of it.
    x, x_test, y, y_test = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.5, stratify=digits.y
    )
    chance = np.bincount(y_test).max() / len(y_test)
    shuffled = np.random.default_rng(context.seed).permutation(y)

    sane, sane_test, curve = _train(context, "as it should be", _network(), x, y, x_test, y_test)
    context.losses("as it should be", curve)
    zero, zero_test, _ = _train(context, "zero weights", _zeroed(), x, y, x_test, y_test)
    blind, blind_test, curve = _train(
        context, "shuffled labels", _network(), x, shuffled, x_test, y_test
    )
    context.losses("shuffled labels", curve)

    # 15 %: five standard deviations of a guess on 899 rows above 10 %.
    context.check(
        "zero initial weights: test accuracy", zero_test, at_most=0.15, baseline=sane_test
    )
    context.check("shuffled labels: test accuracy", blind_test, at_most=0.15, baseline=sane_test)
    context.check(
        "shuffled labels, learnt by heart: training accuracy", blind, at_least=0.80, baseline=chance
    )
    context.check("the same network untouched: test accuracy", sane_test, at_least=0.95)
    context.table(
        "Negative controls on digits",
        ("network", "training accuracy", "test accuracy"),
        [
            ("as it should be", f"{sane:.1%}", f"{sane_test:.1%}"),
            ("all weights zero to begin with", f"{zero:.1%}", f"{zero_test:.1%}"),
            ("labels shuffled", f"{blind:.1%}", f"{blind_test:.1%}"),
        ],
    )
    from . import plots

    context.draw(
        "controls-accuracy",
        plots.bars,
        {
            "untouched, training": sane,
            "untouched, test": sane_test,
            "zero weights, training": zero,
            "zero weights, test": zero_test,
            "shuffled labels, training": blind,
            "shuffled labels, test": blind_test,
        },
        "Negative controls: 10 % is chance",
        "accuracy",
    )


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))


def _zeroed() -> nn.Module:
    """Returns the network with all weights zero: no unit ever differs from its neighbour."""
    model = _network()
    for p in model.parameters():
        nn.init.zeros_(p)
    return model


def _train(
    context: Context,
    name: str,
    model: nn.Module,
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
) -> tuple[float, float, list[float]]:
    """Returns accuracy on the rows trained with and on the test rows, and the losses."""
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optim.Adam(model.parameters(), lr=3e-3),
        epochs=context.epochs(100, 8),
        batch_size=32,
        progress=context.progress(name),
        seed=context.seed,
    )
    return (
        metrics.accuracy(y, predict(model, x)),
        metrics.accuracy(y_test, predict(model, x_test)),
        history["loss"],
    )


TASK = Task(
    "controls",
    ("I1",),
    "Negative controls: zero initial weights and shuffled labels stay at chance",
    _run,
)
