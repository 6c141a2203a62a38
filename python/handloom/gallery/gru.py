"""The gated recurrent unit: who speaks? Two vowels, series of 7 to 29 steps."""

from __future__ import annotations

import numpy as np

from .. import nn, optim
from ..nn import functional as F
from ..train import fit, metrics, predict
from .sequence import Reader, vowels
from .task import Context, Task


def _run(context: Context) -> None:
    train, (x_test, lengths, y_test), names = vowels()
    epochs = context.epochs(60, 5)
    model = Reader(nn.GRU(12, 64), len(names))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    history = fit(
        model,
        train,
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=16,
        metrics="accuracy",
        validation=(x_test, lengths, y_test),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        clip_norm=1.0,
        progress=context.progress(),
        seed=context.seed,
    )
    context.losses("japanese_vowels", history["loss"])
    logits = predict(model, (x_test, lengths))
    context.check(
        "japanese_vowels: test accuracy",
        metrics.accuracy(y_test, logits),
        at_least=0.94,
        baseline=np.bincount(y_test).max() / len(y_test),
    )
    from . import plots

    context.draw(
        "gru-curves",
        plots.learning,
        {"training": history["loss"], "test": history["val_loss"]},
        {"training": history["accuracy"], "test": history["val_accuracy"]},
        "GRU on japanese_vowels",
        low=0.7,
    )
    context.draw(
        "gru-confusion",
        plots.confusion,
        metrics.confusion_matrix(y_test, logits),
        names,
        f"{len(y_test)} utterances of nine speakers",
    )
    context.save("gru", model)


TASK = Task("gru", ("N11", "X6", "X8"), "GRU: nine speakers from two vowels", _run)
