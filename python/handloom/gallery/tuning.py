"""Tuning: a network for breast cancer by random search, each trial measured by cross-validation.

J. Bergstra and Y. Bengio, "Random search for hyper-parameter optimization" (2012). The rows that
the last figure is measured on play no part in the search.
"""

from __future__ import annotations

from typing import Any

from .. import data, manual_seed, nn, optim, tune
from ..nn import functional as F
from ..tensor import Array
from ..train import evaluate, fit
from .task import Context, Task

SPACE: dict[str, Any] = {
    "layers": tune.Integers(0, 3),
    "width": tune.Integers(8, 128, log=True),
    "lr": tune.Uniform(3e-4, 3e-2, log=True),
    "weight_decay": tune.Uniform(1e-4, 1.0, log=True),
    "dropout": [0.0, 0.2, 0.5],
}
DEFAULT = {"layers": 1, "width": 100, "lr": 1e-3, "weight_decay": 0.0, "dropout": 0.0}
Rows = tuple[Array, ...]


def build(values: dict[str, Any], features: int = 30) -> nn.Sequential:
    """Returns the network that the values describe: layers, width, dropout."""
    layers: list[nn.Module] = []
    for _ in range(values["layers"]):
        layers += [nn.Linear(features, values["width"]), nn.ReLU(), nn.Dropout(values["dropout"])]
        features = values["width"]
    return nn.Sequential(*layers, nn.Linear(features, 2))


def learn(
    values: dict[str, Any], train: Rows, test: Rows, epochs: int, seed: int
) -> tuple[float, list[float]]:
    """Returns the accuracy on the test rows, and the training losses."""
    x, x_test = data.standardize(train[0], test[0])
    manual_seed(seed)
    model = build(values)
    history = fit(
        model,
        (x, train[1]),
        loss=F.cross_entropy,
        optimizer=optim.AdamW(
            model.parameters(), lr=values["lr"], weight_decay=values["weight_decay"]
        ),
        epochs=epochs,
        batch_size=32,
        scheduler="cosine",
        progress=False,
        seed=seed,
    )
    return evaluate(model, (x_test, test[1]), metrics="accuracy")["accuracy"], history["loss"]


def _run(context: Context) -> None:
    cancer = data.load("breast_cancer")
    x, x_test, y, y_test = data.train_test_split(
        cancer.x, cancer.y, test_size=0.2, stratify=cancer.y
    )
    epochs, k = context.epochs(30, 2), 5
    trials = 3 if context.quick else 12

    def score(values: dict[str, Any]) -> float:
        def one(train: Rows, held_out: Rows) -> float:
            return learn(values, train, held_out, epochs, context.seed)[0]

        return tune.cross_validate(one, (x, y), k, stratify=True, seed=context.seed).mean()

    found = tune.random_search(score, SPACE, trials, seed=context.seed)
    default = score(DEFAULT)
    best, losses = learn(found.best_params, (x, y), (x_test, y_test), epochs, context.seed)
    context.losses("the best network", losses)
    context.check(
        f"breast cancer: mean accuracy of {k} folds, best of {trials} trials",
        found.best_value,
        at_least=0.965,
        baseline=default,
    )
    untuned, _ = learn(DEFAULT, (x, y), (x_test, y_test), epochs, context.seed)
    context.check(
        "breast cancer: accuracy of that network on rows apart", best, at_least=0.95,
        baseline=untuned,
    )  # fmt: skip
    context.table(
        f"{trials} random trials, {k} folds each",
        (*SPACE, "mean accuracy"),
        [
            (
                *(f"{v:.2g}" if isinstance(v, float) else str(v) for v in t.params.values()),
                f"{t.value:.2%}",
            )
            for t in found.ranked
        ],
    )
    from . import plots

    panels = {
        name: [(t.params[name], t.value) for t in found.trials]
        for name in ("lr", "weight_decay", "width")
    }
    context.draw(
        "tuning-trials",
        plots.points,
        panels,
        f"{trials} random trials: what a choice alone tells of the accuracy",
        f"mean accuracy of {k} folds",
    )


TASK = Task(
    "tuning",
    ("W4", "W5", "W6", "R11"),
    "Tuning: random search and cross-validation on breast cancer",
    _run,
)
