"""WGAN: a critic whose loss measures a distance, and its weights kept small by clipping."""

from __future__ import annotations

from .. import optim
from ..models import DenseDiscriminator, DenseGenerator
from ..train import Adversarial
from .contest import SAMPLES, compete, judged
from .gan import prepared
from .task import Context, Task


def _run(context: Context) -> None:
    judge, x, _ = prepared(context)
    generator = DenseGenerator(32, x.shape[1:])
    critic = DenseDiscriminator(x.shape[1:])
    trainer = Adversarial(
        generator,
        critic,
        kind="wasserstein",
        generator_optimizer=optim.RMSprop(generator.parameters(), lr=5e-4),
        discriminator_optimizer=optim.RMSprop(critic.parameters(), lr=5e-4),
        n_critic=5,
        clip=0.03,
        ema=0.99,
    )
    compete(context, "wgan", trainer, judge, x, epochs=context.epochs(600, 30))
    judged(context, "wgan", judge, trainer.sample(SAMPLES), gaussian=(x, 0.5))
    distance = [-one["discriminator"] for one in trainer.history]
    last = distance[-max(1, len(distance) // 20) :]
    context.check(
        "wgan: the critic's distance at the end, in parts of its peak",
        sum(last) / len(last) / max(distance),
        at_most=0.5,
        baseline=1.0,
    )
    from . import plots

    context.draw(
        "wgan-distance",
        plots.curves_by_epoch,
        {"distance": {"between data and samples": distance}},
        "WGAN: the distance that its critic finds",
    )
    context.save("wgan-generator", generator)


TASK = Task("wgan", ("H5", "C14"), "Wasserstein GAN: digits, weights clipped", _run)
