"""Shallow against deep: why thirty sigmoid layers do not learn, and what makes them.

The gradient of a sigmoid is 1/4 at most, so each layer shrinks what passes back through it
(S. Hochreiter, 1991). ReLU with He's initial weights keeps the variance (K. He and others, 2015a),
a residual connection gives the gradient a way around the layer (K. He and others, 2015b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import data, nn, optim
from ..train import diagnose, fit, metrics, predict
from .task import Context, Task

if TYPE_CHECKING:
    from .._arrays import Array

_DEPTHS = (1, 10, 30)
_WIDTH = 64


class Residual(nn.Module):
    """`x + f(x)` around a layer that keeps the shape."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Any) -> Any:
        """Returns `x + body(x)`, `(N, F)`."""
        return x + self.body(x)


def build(kind: str, depth: int, width: int = _WIDTH) -> nn.Module:
    """Returns a network of `depth` hidden layers for 64 pixels and 10 classes.

    Args:
        kind: `"sigmoid"` with the default weights, `"tanh"` with Xavier's, `"relu"` with He's, or
            `"residual"`: ReLU with He's weights, each hidden layer after the first bridged.
        depth: Hidden layers, at least 1.
        width: Units in each.
    """
    layers: list[nn.Module] = []
    for i in range(depth):
        linear = nn.Linear(64 if i == 0 else width, width)
        if kind == "sigmoid":
            layers += [linear, nn.Sigmoid()]
        elif kind == "tanh":
            nn.init.xavier_uniform_(linear.weight)
            layers += [linear, nn.Tanh()]
        else:
            bridged = kind == "residual" and i > 0
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            if bridged:
                # Each block adds its share of the variance, so that depth does not blow it up.
                nn.init.normal_(linear.weight, std=(2 / (width * depth)) ** 0.5)
            block = nn.Sequential(linear, nn.ReLU())
            layers.append(Residual(block) if bridged else block)
    return nn.Sequential(*layers, nn.Linear(width, 10))


class _Found(NamedTuple):
    accuracy: float
    first_to_last: float
    norms: tuple[float, ...]


def _run(context: Context) -> None:
    digits = data.load("digits")
    x = digits.x.reshape(-1, 64)
    x, x_test, y, y_test = data.train_test_split(x, digits.y, test_size=0.2, stratify=digits.y)
    # One mean and deviation for all pixels: some are always empty, some nearly so.
    x, x_test = (v.reshape(len(v), 64) for v in data.standardize(x[..., None], x_test[..., None]))
    sets = (x, y), (x_test, y_test)
    found: dict[tuple[str, int], _Found] = {}
    for kind in ("sigmoid", "tanh", "relu", "residual"):
        for depth in _DEPTHS:
            found[kind, depth] = _train(context, kind, depth, *sets)

    chance = np.bincount(y_test).max() / len(y_test)
    context.check(
        "digits, 10 layers of ReLU with He's weights: test accuracy",
        found["relu", 10].accuracy,
        at_least=0.95,
        baseline=found["sigmoid", 10].accuracy,
    )
    context.check(
        "30 layers of sigmoid: gradient of the first over the last layer",
        found["sigmoid", 30].first_to_last,
        at_most=1e-6,
        baseline=found["residual", 30].first_to_last,
    )
    context.check(
        "digits, 30 layers of sigmoid: test accuracy",
        found["sigmoid", 30].accuracy,
        at_most=0.30,
        baseline=chance,
    )
    context.check(
        "digits, 30 layers, residual: test accuracy",
        found["residual", 30].accuracy,
        at_least=0.95,
        baseline=found["sigmoid", 30].accuracy,
    )
    context.table(
        "Depth and its remedies on digits",
        ("layers", "hidden layers", "gradient, first / last layer", "test accuracy"),
        [
            (_NAMES[kind], str(depth), f"{f.first_to_last:.1e}", f"{f.accuracy:.1%}")
            for (kind, depth), f in found.items()
        ],
    )
    from . import plots

    context.draw(
        "depth-gradients",
        plots.layers,
        {_NAMES[kind]: found[kind, 30].norms for kind in _NAMES},
        "Thirty layers before training: the way back of the gradient",
    )
    context.draw(
        "depth-accuracy",
        plots.bars,
        {f"{_NAMES[kind]}, {depth}": f.accuracy for (kind, depth), f in found.items()},
        "Test accuracy on digits, by hidden layers",
        "test accuracy",
    )


_NAMES = {
    "sigmoid": "sigmoid",
    "tanh": "tanh, Xavier",
    "relu": "ReLU, He",
    "residual": "residual, He",
}


def _train(
    context: Context,
    kind: str,
    depth: int,
    train: tuple[Array, Array],
    test: tuple[Array, Array],
) -> _Found:
    model = build(kind, depth)
    loss = nn.functional.cross_entropy
    report = diagnose(model, (train[0][:256], train[1][:256]), loss, show=False)
    epochs = context.epochs(20, 2)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    history = fit(
        model,
        train,
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        clip_norm=1.0,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(f"{kind} {depth}"),
        seed=context.seed,
    )
    # Thirty sigmoids are here to fail.
    if kind != "sigmoid":
        context.losses(f"{kind} {depth}", history["loss"])
    accuracy = metrics.accuracy(test[1], predict(model, test[0]))
    return _Found(accuracy, report.first_to_last, report.norms)


TASK = Task(
    "depth",
    ("N5", "G1", "G5", "I3", "I4", "L8"),
    "Shallow against deep: vanishing gradients and their remedies",
    _run,
)
