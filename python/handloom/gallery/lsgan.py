"""LSGAN: the same players as the first GAN's, in a game of squares."""

from __future__ import annotations

from .contest import SAMPLES, compete, judged
from .gan import players, prepared
from .task import Context, Task


def _run(context: Context) -> None:
    judge, x, _ = prepared(context)
    trainer = players(x.shape[1:], "least_squares")
    compete(context, "lsgan", trainer, judge, x, epochs=context.epochs(300, 12))
    judged(context, "lsgan", judge, trainer.sample(SAMPLES), gaussian=(x, 0.5))
    context.save("lsgan-generator", trainer.generator)


TASK = Task("lsgan", ("H7", "C15"), "Least-squares GAN: digits", _run)
