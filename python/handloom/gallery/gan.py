"""The first GAN: two perceptrons, and digits of 8 by 8 pixels."""

from __future__ import annotations

from .. import optim
from .._arrays import Array
from ..models import DenseDiscriminator, DenseGenerator
from ..train import Adversarial
from .contest import SAMPLES, compete, judged
from .judge import Judge, digits
from .task import Context, Task


def players(
    shape: tuple[int, ...],
    kind: str = "non_saturating",
    classes: int = 0,
    lr: float = 1e-3,
    latent: int = 32,
) -> Adversarial:
    """Returns a trainer of two perceptrons in one of the games."""
    generator = DenseGenerator(latent, shape, (128, 256), classes)
    discriminator = DenseDiscriminator(shape, (256, 128), classes, dropout=0.3)
    betas = (0.5, 0.999)
    return Adversarial(
        generator,
        discriminator,
        kind=kind,
        generator_optimizer=optim.Adam(generator.parameters(), lr=lr, betas=betas),
        discriminator_optimizer=optim.Adam(discriminator.parameters(), lr=lr / 2, betas=betas),
        ema=0.995,
    )


def prepared(context: Context, size: int = 8) -> tuple[Judge, Array, Array]:
    """Returns a judge, and the training images and labels that it and the players see."""
    x, x_test, y, y_test = digits(size)
    judge = Judge(x, y, x_test, y_test, context.epochs(12, 3), context.seed)
    return judge, x, y


def _run(context: Context) -> None:
    judge, x, _ = prepared(context)
    trainer = players(x.shape[1:])
    compete(context, "gan", trainer, judge, x, epochs=context.epochs(300, 12))
    judged(context, "gan", judge, trainer.sample(SAMPLES), gaussian=(x, 0.5))
    context.save("gan-generator", trainer.generator)


TASK = Task("gan", ("H1", "H2", "C13"), "Generative adversarial network: digits from noise", _run)
