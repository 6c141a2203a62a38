"""The vision Transformer: sixteen patches of a digit as sixteen words."""

from __future__ import annotations

import numpy as np

from .. import data, nn, optim
from ..models import VisionTransformer
from ..train import fit, metrics, predict
from .task import Context, Task


def build() -> VisionTransformer:
    """Returns a network for images of 8 by 8 pixels, in patches of 2 by 2."""
    return VisionTransformer(8, 2, 1, 10, d_model=64, heads=4, layers=3, hidden=128, dropout=0.1)


def _run(context: Context) -> None:
    digits = data.load("digits")
    x, x_test, y, y_test = data.train_test_split(
        digits.x, digits.y, test_size=0.2, stratify=digits.y
    )
    epochs = context.epochs(60, 5)
    model = build()
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
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
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("digits", history["loss"])
    logits = predict(model, x_test)
    context.check(
        "digits: test accuracy",
        metrics.accuracy(y_test, logits),
        at_least=0.96,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    from . import pictures, plots

    context.draw(
        "vit-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        "vision Transformer on digits",
        low=0.8,
    )
    context.draw(
        "vit-mistakes", pictures.mistakes, x_test, y_test, logits, "the errors it was surest of"
    )
    context.save("vit", model)


TASK = Task("vit", ("N19", "F6", "F8"), "Vision Transformer: digits in patches", _run)
