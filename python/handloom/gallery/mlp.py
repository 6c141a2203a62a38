"""The multilayer perceptron: handwritten digits of 8 by 8 and of 28 by 28 pixels."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..train import fit, metrics, predict
from .task import Context, Task


def build(pixels: int, hidden: int, classes: int = 10, dropout: float = 0.0) -> nn.Module:
    """Returns the network: images flattened, one hidden layer, logits."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


def _run(context: Context) -> None:
    _train(context, "digits", 64, context.epochs(40, 5), 0.97)
    _train(context, "mnist_5k", 128, context.epochs(15, 2), 0.93)


def _train(context: Context, name: str, hidden: int, epochs: int, target: float) -> None:
    digits = data.load(name)
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    model = build(x[0].size, hidden, dropout=0.2)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=32,
        metrics="accuracy",
        validation=(x_test, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        progress=context.progress(name),
        seed=context.seed,
    )
    context.losses(name, history["loss"])
    logits = predict(model, x_test)
    context.check(
        f"{name}: test accuracy",
        metrics.accuracy(y_test, logits),
        at_least=target,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    from . import pictures, plots

    context.draw(
        f"mlp-{name}-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        f"{x[0].size}-{hidden}-10 network on {name}",
    )
    context.draw(
        f"mlp-{name}-confusion",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        digits.target_names,
        f"{name}: {len(y_test)} test images",
    )
    context.draw(
        f"mlp-{name}-mistakes",
        pictures.mistakes,
        x_test,
        y_test,
        logits,
        f"{name}: the mistakes it was surest of",
    )
    context.save(f"mlp-{name}", model)


TASK = Task(
    "mlp",
    ("N4", "A2", "C3", "R5"),
    "Multilayer perceptron for classification: digits and mnist_5k",
    _run,
)
