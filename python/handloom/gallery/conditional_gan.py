"""The conditional GAN: it draws the digit that it is asked for."""

from __future__ import annotations

import numpy as np

from .contest import SAMPLES, compete, judged
from .gan import players, prepared
from .task import Context, Task


def _run(context: Context) -> None:
    judge, x, y = prepared(context)
    trainer = players(x.shape[1:], classes=10)
    compete(context, "conditional-gan", trainer, judge, x, y, epochs=context.epochs(200, 12))
    asked = np.arange(SAMPLES) % 10
    samples = trainer.sample(SAMPLES, asked)
    context.check(
        f"conditional GAN: {SAMPLES} samples that are the digit asked for",
        (judge.called(samples) == asked).mean(),
        at_least=0.90,
        baseline=0.1,
    )
    judged(context, "conditional GAN", judge, samples, gaussian=(x, 0.5))
    context.save("conditional-gan-generator", trainer.generator)


TASK = Task("conditional_gan", ("H3",), "Conditional GAN: the digit that is asked for", _run)
