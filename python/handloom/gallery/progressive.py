"""Progressive GAN: handwritten digits of 4 by 4, then 8 by 8, then 16 by 16 pixels."""

from __future__ import annotations

from .. import optim
from ..models import Growth, ProgressiveDiscriminator, ProgressiveGenerator, shrink
from ..nn import Module
from ..train import Adversarial
from .contest import SAMPLES, compete, judged
from .gan import prepared
from .task import Context, Task


def trainer_of(
    generator: Module, discriminator: Module, lr: float = 2e-3, critic_lr: float = 2e-3
) -> Adversarial:
    """Returns a trainer with the optimisers of Progressive GAN and StyleGAN: Adam, β₁ = 0."""
    betas = (0.0, 0.99)
    return Adversarial(
        generator,
        discriminator,
        generator_optimizer=optim.Adam(generator.parameters(), lr=lr, betas=betas),
        discriminator_optimizer=optim.Adam(discriminator.parameters(), lr=critic_lr, betas=betas),
        ema=0.995,
    )


def _run(context: Context) -> None:
    judge, x, _ = prepared(context, 16)
    if context.quick:
        x = x[:416]
    batch = 32
    generator = ProgressiveGenerator(64, 16, 64)
    trainer = trainer_of(generator, ProgressiveDiscriminator(16, 64))
    fade, rest = (1, 1) if context.quick else (4, 6)
    growth = Growth(generator.top, fade, rest, len(x) // batch)
    epochs = context.override or growth.epochs + (0 if context.quick else 8)

    def real(images: object) -> object:
        at = trainer.options
        return shrink(images, at["level"], generator.top, at["alpha"])

    trainer.prepare = real
    growth(trainer)
    compete(
        context, "progressive", trainer, judge, x, epochs=epochs, batch_size=batch, on_step=growth
    )
    judged(context, "progressive", judge, trainer.sample(SAMPLES), classes=8, gaussian=(x, 0.5))
    context.save("progressive-generator", generator)


TASK = Task(
    "progressive", ("H9", "M5", "M7", "I9"), "Progressive GAN: digits that grow to 16 by 16", _run
)
