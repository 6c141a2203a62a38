"""Clipping: a recurrent network with too large weights, with and without a limit to the gradient.

R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks"
(2013): where the error surface has a wall, one step throws the weights far away; a step of the
same direction and of limited length does not.
"""

from __future__ import annotations

import math

import numpy as np

from .. import manual_seed, nn, optim
from ..data import DataLoader, TensorDataset
from ..nn import functional as F
from ..tensor import Array
from ..train import metrics, predict
from .sequence import Reader, vowels
from .task import Context, Task

FAR = 1e6  # how far a loss is followed; beyond lie Inf and NaN
GAIN = 2.0  # a state may grow by this factor in each step


def build(inputs: int, classes: int) -> Reader:
    """Returns a network with ReLU, which bounds nothing, whose recurrent weights are too large."""
    cell = nn.RNN(inputs, 64, nonlinearity="relu")
    w = next(p for name, p in cell.named_parameters() if name == "weight_hh_l0")
    nn.init.orthogonal_(w, gain=GAIN)
    return Reader(cell, classes)


def train(
    model: Reader, rows: tuple[Array, ...], limit: float, epochs: int, seed: int
) -> tuple[list[float], list[float]]:
    """Returns loss and norm of the gradient in each step; a loss that is not finite ends it.

    Args:
        model: Is changed.
        rows: Series, lengths, classes.
        limit: Largest norm of all gradients together; infinity does not clip.
        epochs: Passes over the rows.
        seed: Of their order.
    """
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(TensorDataset(*rows), 16, shuffle=True, seed=seed)
    decay = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    losses: list[float] = []
    norms: list[float] = []
    for _ in range(epochs):
        for x, lengths, y in loader:
            loss = F.cross_entropy(model(x, lengths), y)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                return losses, norms
            loss.backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), limit)))
            optimizer.step()
            optimizer.zero_grad()
            decay.step()
    return losses, norms


def _run(context: Context) -> None:
    rows, (x_test, lengths, y_test), names = vowels()
    losses: dict[str, list[float]] = {}
    norms: dict[str, list[float]] = {}
    found: dict[str, float] = {}
    for name, limit in (("without", math.inf), ("with", 1.0)):
        manual_seed(context.seed)
        model = build(12, len(names))
        losses[name], norms[name] = train(model, rows, limit, context.epochs(40, 4), context.seed)
        logits = predict(model, (x_test, lengths))
        alive = bool(np.isfinite(logits).all())
        found[name] = metrics.accuracy(y_test, logits) if alive else 0.0
    finite = [loss for loss in losses["without"] if math.isfinite(loss)]
    exploded = len(finite) < len(losses["without"])
    growth = FAR if exploded else min(FAR, max(finite) / finite[0])
    steps = np.array_split(losses["with"], 4)
    context.losses("with clipping", [float(part.mean()) for part in steps])
    context.check(
        f"without clipping: largest loss over the first, up to {FAR:.0e}",
        growth,
        at_least=10,
        baseline=max(losses["with"]) / losses["with"][0],
    )
    context.check(
        "japanese_vowels, with clipping: test accuracy",
        found["with"],
        at_least=0.94,
        baseline=found["without"],
    )
    from . import plots

    context.draw(
        "clipping-norms",
        plots.steps,
        {f"{name} clipping": values for name, values in norms.items()},
        f"Recurrent weights of {GAIN:g} times an orthogonal matrix",
        "training step",
        "norm of the gradient, before clipping",
    )


TASK = Task("clipping", ("G3", "G4"), "Clipping: exploding gradients, with and without", _run)
