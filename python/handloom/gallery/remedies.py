"""What helps against gradients that vanish or explode: every remedy on its own, measured.

The baseline of the first table is a network of ten sigmoid layers, of the second a recurrent one
whose weights are twice too large; each row changes one thing of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import data, manual_seed, nn, optim
from ..nn import functional as F
from ..tensor import Array
from ..train import diagnose, fit, metrics, predict
from . import clipping
from .depth import Residual
from .sequence import Reader, vowels
from .task import Context, Task

DEPTH, WIDTH = 10, 64


class Remedy(NamedTuple):
    """A network, and how it is trained."""

    build: Callable[[], nn.Module]
    optimizer: Callable[[Any], Any] = lambda p: optim.SGD(p, lr=0.1)
    clip_norm: float | None = None


def deep(
    activation: type[nn.Module] = nn.Sigmoid,
    initial: Callable[[Any], Any] | None = None,
    norm: bool = False,
    bridged: bool = False,
) -> nn.Sequential:
    """Returns ten hidden layers for 64 pixels and 10 classes."""
    layers: list[nn.Module] = []
    for i in range(DEPTH):
        linear = nn.Linear(64, WIDTH)
        if initial is not None:
            initial(linear.weight)
        block = nn.Sequential(linear, *([nn.BatchNorm1d(WIDTH)] if norm else []), activation())
        layers.append(Residual(block) if bridged and i > 0 else block)
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


VANISHING: dict[str, Remedy] = {
    "nothing: ten sigmoid layers, SGD": Remedy(deep),
    "an adaptive optimiser, Adam": Remedy(deep, lambda p: optim.Adam(p, lr=1e-3)),
    "Xavier's weights": Remedy(lambda: deep(initial=nn.init.xavier_uniform_)),
    "tanh, Xavier's weights": Remedy(lambda: deep(nn.Tanh, nn.init.xavier_uniform_)),
    "ReLU, He's weights": Remedy(lambda: deep(nn.ReLU, nn.init.kaiming_normal_)),
    "batch norm": Remedy(lambda: deep(norm=True)),
    "residual connections": Remedy(lambda: deep(bridged=True)),
    "clipping": Remedy(deep, clip_norm=1.0),
}


def _vanishing(context: Context) -> dict[str, tuple[float, float]]:
    """Gradient of the first layer over the last, and test accuracy, of each remedy."""
    digits = data.load("digits")
    flat = digits.x.reshape(-1, 64)
    x, x_test, y, y_test = data.train_test_split(flat, digits.y, test_size=0.2, stratify=digits.y)
    x, x_test = (v.reshape(len(v), 64) for v in data.standardize(x[..., None], x_test[..., None]))
    found = {}
    for name, remedy in VANISHING.items():
        manual_seed(context.seed)
        model = remedy.build()
        report = diagnose(model, (x[:256], y[:256]), F.cross_entropy, show=False)
        history = fit(
            model,
            (x, y),
            loss=F.cross_entropy,
            optimizer=remedy.optimizer(model.parameters()),
            epochs=context.epochs(15, 2),
            clip_norm=remedy.clip_norm,
            progress=context.progress(name),
            seed=context.seed,
        )
        if name == "batch norm":
            context.losses(name, history["loss"])
        accuracy = metrics.accuracy(y_test, predict(model, x_test))
        found[name] = (report.first_to_last, accuracy)
    return found


def smaller(inputs: int, classes: int) -> Reader:
    """The recurrent network with an orthogonal matrix as it should be."""
    model = clipping.build(inputs, classes)
    w = next(p for name, p in model.named_parameters() if name.endswith("weight_hh_l0"))
    nn.init.orthogonal_(w)
    return model


EXPLODING: dict[str, tuple[Callable[[int, int], Reader], float]] = {
    "nothing: too large weights, ReLU": (clipping.build, math.inf),
    "clipping by norm": (clipping.build, 1.0),
    "an orthogonal matrix": (smaller, math.inf),
    "LSTM": (lambda inputs, classes: Reader(nn.LSTM(inputs, 64), classes), math.inf),
    "GRU": (lambda inputs, classes: Reader(nn.GRU(inputs, 64), classes), math.inf),
}


def _exploding(context: Context) -> dict[str, tuple[float, float]]:
    """Largest norm of the gradient and test accuracy of each remedy."""
    rows, (x_test, lengths, y_test), names = vowels()
    found = {}
    for name, (build, limit) in EXPLODING.items():
        manual_seed(context.seed)
        model = build(12, len(names))
        losses, norms = clipping.train(model, rows, limit, context.epochs(30, 2), context.seed)
        logits: Array = predict(model, (x_test, lengths))
        alive = math.isfinite(losses[-1]) and bool(np.isfinite(logits).all())
        accuracy = metrics.accuracy(y_test, logits) if alive else 0.0
        found[name] = (max(norms, default=math.inf), accuracy)
    return found


def _run(context: Context) -> None:
    deep_ones, recurrent = _vanishing(context), _exploding(context)
    nothing, *others = deep_ones.values()
    context.check(
        "digits, ten layers: test accuracy of the best remedy",
        max(accuracy for _, accuracy in others),
        at_least=0.95,
        baseline=nothing[1],
    )
    context.check(
        "digits, ten sigmoid layers: gradient of the first over the last",
        nothing[0],
        at_most=1e-3,
        baseline=deep_ones["residual connections"][0],
    )
    context.check(
        "japanese_vowels: test accuracy, worst of clipping, LSTM, GRU",
        min(recurrent[name][1] for name in ("clipping by norm", "LSTM", "GRU")),
        at_least=0.90,
        baseline=recurrent["nothing: too large weights, ReLU"][1],
    )
    context.table(
        "Against vanishing: ten layers on digits, before training and after 15 epochs",
        ("one change", "gradient, first / last layer", "test accuracy"),
        [(name, f"{ratio:.0e}", f"{score:.1%}") for name, (ratio, score) in deep_ones.items()],
    )
    context.table(
        "Against exploding: recurrent networks on japanese_vowels, 30 epochs",
        ("one change", "largest gradient", "test accuracy"),
        [(name, f"{norm:.0e}", f"{score:.1%}") for name, (norm, score) in recurrent.items()],
    )
    from . import plots

    scores = {name: score for found in (deep_ones, recurrent) for name, (_, score) in found.items()}
    context.draw(
        "remedies-accuracy",
        plots.bars,
        scores,
        "Vanishing (above) and exploding gradients: one change at a time",
        "test accuracy",
    )


TASK = Task(
    "remedies",
    ("G1", "G2", "G3", "G5"),
    "Gradients that vanish or explode: every remedy, measured",
    _run,
)
