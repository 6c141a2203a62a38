"""Batch, mini-batch and stochastic gradient descent: one network, one rule, three batch sizes.

`w -= lr · gradient`, where the gradient is the mean over all training rows, over 32 of them, or of
a single one. The more rows, the truer the gradient and the fewer the steps for one pass.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from .. import data, manual_seed, nn, optim
from ..train import History, LambdaCallback, fit, metrics, predict
from .task import Context, Task


class _Kind(NamedTuple):
    rows: int | None  # in a batch; None is all
    lr: float
    epochs: int
    quick: int


# The rate falls with the noise of the gradient; batch descent gets more passes, as each of them is
# a single step.
_KINDS = {
    "batch": _Kind(None, 0.3, 600, 30),
    "mini-batch of 32": _Kind(32, 0.3, 20, 3),
    "stochastic": _Kind(1, 0.03, 10, 1),
}


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x.reshape(-1, 64), digits.y, test_size=0.2, stratify=digits.y
    )
    histories: dict[str, History] = {}
    accuracy: dict[str, float] = {}
    rising: dict[str, float] = {}
    for name, kind in _KINDS.items():
        manual_seed(context.seed)  # the same weights to begin with
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        steps: list[float] = []
        histories[name] = fit(
            model,
            (x, y),
            loss=nn.functional.cross_entropy,
            optimizer=optim.SGD(model.parameters(), lr=kind.lr),
            epochs=context.epochs(kind.epochs, kind.quick),
            batch_size=kind.rows or len(x),
            callbacks=[_recorder(steps)],
            progress=context.progress(name),
            seed=context.seed,
        )
        accuracy[name] = metrics.accuracy(y_test, predict(model, x_test))
        rising[name] = sum(b > a for a, b in pairwise(steps)) / max(1, len(steps) - 1)
        context.losses(name, steps if kind.rows is None else histories[name]["loss"])

    for name in ("mini-batch of 32", "stochastic", "batch"):
        context.check(
            f"digits, {name}, {len(histories[name])} passes: test accuracy",
            accuracy[name],
            at_least=0.95,
            baseline=0.1,
        )
    context.check(
        "batch: share of the steps after which the loss is higher",
        rising["batch"],
        at_most=0.0,
        baseline=rising["stochastic"],
    )
    context.table(
        "Gradient descent on digits",
        ("kind", "rows a step", "passes", "steps", "loss rises after", "test accuracy", "seconds"),
        [
            (
                name,
                str(kind.rows or len(x)),
                str(len(histories[name])),
                str(len(histories[name]) * -(-len(x) // (kind.rows or len(x)))),
                f"{rising[name]:.0%} of steps",
                f"{accuracy[name]:.1%}",
                f"{histories[name].seconds:.2f}",
            )
            for name, kind in _KINDS.items()
        ],
    )
    from . import plots

    context.draw(
        "descent-loss",
        plots.paths,
        {
            "passes over the data": {
                name: (range(1, len(h) + 1), h["loss"]) for name, h in histories.items()
            },
            "seconds": {name: (_elapsed(h), h["loss"]) for name, h in histories.items()},
        },
        "The same network, three kinds of gradient descent",
        "training loss",
    )


def _recorder(losses: list[float]) -> LambdaCallback:
    return LambdaCallback(on_step_end=lambda run: losses.append(run.logs["loss"]))


def _elapsed(history: History) -> list[float]:
    total, seconds = 0.0, []
    for epoch in history["seconds"]:
        total += epoch
        seconds.append(total)
    return seconds


TASK = Task(
    "descent",
    ("O1", "O2", "O3", "O4"),
    "Batch, mini-batch and stochastic gradient descent side by side",
    _run,
)
