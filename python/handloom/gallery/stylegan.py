"""StyleGAN: handwritten digits drawn by styles, coarse ones and fine ones."""

from __future__ import annotations

import numpy as np

from .._arrays import Array
from ..models import StyleGenerator, spectral_critic
from .contest import SAMPLES, compete, judged
from .gan import prepared
from .judge import Judge
from .progressive import trainer_of
from .task import Context, Task

PAIRS = 1000


def changed(generator: StyleGenerator, judge: Judge, coarse: bool, seed: int) -> float:
    """How often another z's coarse styles, up to 8 by 8, or its fine ones change the digit."""
    rng = np.random.default_rng(seed)
    one, two = rng.standard_normal((2, PAIRS, generator.latent), np.float32)
    middle = generator.layers - 2  # the last side has two styles
    before = generator(one).numpy()
    after = generator(*((two, one) if coarse else (one, two)), crossover=middle).numpy()
    return float((judge.called(before) != judge.called(after)).mean())


def mixed(generator: StyleGenerator, rows: Array, columns: Array, crossover: int) -> Array:
    """The style-mixing grid: coarse styles of the rows, fine ones of the columns."""
    left = generator(rows).numpy()
    top = generator(columns).numpy()
    blank = np.full_like(top[:1], -1)
    page = [np.concatenate([blank, top])]
    for z, image in zip(rows, left):
        coarse = np.repeat(z[None], len(columns), axis=0)
        inside = generator(coarse, columns, crossover=crossover).numpy()
        page.append(np.concatenate([image[None], inside]))
    return np.concatenate(page)


def _run(context: Context) -> None:
    judge, x, _ = prepared(context, 16)
    if context.quick:
        x = x[:320]
    generator = StyleGenerator(64, 16, 64)
    trainer = trainer_of(generator, spectral_critic(16, 32), 2e-3, 1e-3)
    compete(context, "stylegan", trainer, judge, x, epochs=context.epochs(20, 3), batch_size=32)
    judged(context, "stylegan", judge, trainer.sample(SAMPLES), classes=8, gaussian=(x, 0.5))
    rng = np.random.default_rng(0)
    rows, columns = rng.standard_normal((2, 8, generator.latent), np.float32)
    with trainer.averaged():
        coarse = changed(generator, judge, True, 1)
        fine = changed(generator, judge, False, 1)
        grid = mixed(generator, rows[:5], columns, generator.layers - 2)
        drawn = {
            f"ψ = {psi}": generator(columns, truncation=psi).numpy()[..., 0]
            for psi in (1.0, 0.7, 0.4, 0.0)
        }
    context.check(
        "stylegan: the digit changes with coarse styles, less with fine ones",
        coarse - fine,
        at_least=0.20,
        baseline=0.0,
    )
    context.table(
        "how often another z's styles change the digit",
        ("styles", "changed"),
        [("coarse: 4 and 8 pixels", f"{coarse:.2f}"), ("fine: 16", f"{fine:.2f}")],
    )
    from . import film, pictures

    context.draw(
        "stylegan-mixing",
        film.grid,
        (grid[..., 0].clip(-1, 1) + 1) / 2,
        "coarse styles of the left, fine styles of the top",
        columns=len(columns) + 1,
    )
    context.draw(
        "stylegan-truncation",
        pictures.strips,
        {name: (images.clip(-1, 1) + 1) / 2 for name, images in drawn.items()},
        "truncation: towards the mean style",
    )
    context.save("stylegan-generator", generator)


TASK = Task(
    "stylegan", ("H10", "H11", "H12", "H13", "M4"), "StyleGAN: digits drawn by styles", _run
)
