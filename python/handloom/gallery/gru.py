"""The gated recurrent unit: who speaks? Two vowels, series of 7 to 29 steps."""

from __future__ import annotations

from .. import nn
from ..train import metrics
from .sequence import Reader, learn_vowels
from .task import Context, Task


def _run(context: Context) -> None:
    model, history, logits, y_test, names = learn_vowels(
        context,
        "japanese_vowels",
        lambda speakers: Reader(nn.GRU(12, 64), speakers),
        lr=3e-3,
        at_least=0.94,
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
