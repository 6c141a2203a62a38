"""DCGAN: convolutions both ways, digits of 16 by 16 pixels, beside a GAN of perceptrons."""

from __future__ import annotations

from .. import optim
from ..models import DCDiscriminator, DCGenerator
from ..train import Adversarial
from .contest import SAMPLES, compete, judged
from .gan import players, prepared
from .judge import gaussian_samples
from .task import Context, Task


def build(size: int = 16, latent: int = 64, width: int = 32) -> Adversarial:
    """Returns the trainer of the two players."""
    generator, discriminator = DCGenerator(latent, size, width), DCDiscriminator(size, width)
    betas = (0.5, 0.999)
    return Adversarial(
        generator,
        discriminator,
        generator_optimizer=optim.Adam(generator.parameters(), lr=1e-3, betas=betas),
        discriminator_optimizer=optim.Adam(discriminator.parameters(), lr=2e-4, betas=betas),
        ema=0.99,
    )


def _run(context: Context) -> None:
    judge, x, _ = prepared(context, 16)
    if context.quick:
        x = x[:1000]
    plain = players(x.shape[1:])
    compete(context, "mlp-gan", plain, judge, x, epochs=context.epochs(60, 3))
    trainer = build()
    compete(context, "dcgan", trainer, judge, x, epochs=context.epochs(30, 3))
    found = judged(context, "dcgan", judge, trainer.sample(SAMPLES))
    by_mlp = judge.distance(plain.sample(SAMPLES))
    context.check(
        "dcgan: Fréchet distance, in parts of that of a GAN of perceptrons",
        found["distance"] / by_mlp,
        at_most=1.0,
        baseline=judge.distance(gaussian_samples(x, SAMPLES, context.seed)) / by_mlp,
    )
    context.save("dcgan-generator", trainer.generator)


TASK = Task("dcgan", ("H4",), "DCGAN: handwritten digits by convolutions", _run)
