"""What the tasks of adversarial networks share: a run that is filmed, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import Array
from ..train import Adversarial
from .judge import SHARE, Judge, gaussian_samples
from .task import Context

SAMPLES = 2000


def compete(
    context: Context,
    name: str,
    trainer: Adversarial,
    judge: Judge,
    x: Array,
    y: Array | None = None,
    *,
    epochs: int,
    batch_size: int = 64,
    columns: int = 10,
    on_step: Callable[[Adversarial], object] | None = None,
) -> dict[str, list[float]]:
    """Trains, films, and records that the samples come nearer to the data.

    Returns:
        `distance` and `covered`, of samples at times from before the first epoch to the last, and
        `epoch`, when that was.
    """
    rng = np.random.default_rng(0)
    z = rng.standard_normal((6 * columns, trainer.generator.latent), np.float32)
    label = None if y is None else np.arange(6 * columns) % columns % 10
    many = None if y is None else np.arange(SAMPLES) % 10
    frames: list[tuple[int, Array]] = []
    found: dict[str, list[float]] = {"epoch": [], "distance": [], "covered": []}
    # Often at first, when much happens.
    when = sorted({0, *(round(epochs * (i / 12) ** 1.5) for i in range(1, 13))})

    def watch(run: Adversarial) -> None:
        if run.epoch in when:
            frames.append((run.epoch, run.sample(len(z), label, z=z)))
            samples = run.sample(500, None if many is None else many[:500])
            found["epoch"].append(run.epoch)
            found["distance"].append(judge.distance(_full(samples, x)))
            found["covered"].append(judge.covered(_full(samples, x)))

    watch(trainer)
    trainer.fit(x, y, epochs=epochs, batch_size=batch_size, on_epoch=watch, on_step=on_step)
    context.losses(f"{name}, distance from the data", found["distance"])
    side = x.shape[1]
    pictures_of = [(epoch, _images(_full(images, x), side)) for epoch, images in frames]

    from . import film, plots

    context.draw(
        f"{name}-samples", film.grid, pictures_of[-1][1], f"{name}: samples", columns=columns
    )
    context.draw(f"{name}-training", film.stages, pictures_of, f"{name}: the same codes by epoch")
    context.film(f"{name}-training", film.animation, pictures_of, columns)
    context.draw(
        f"{name}-players",
        plots.curves_by_epoch,
        {
            "loss": {
                "discriminator": [h["discriminator"] for h in trainer.history],
                "generator": [h["generator"] for h in trainer.history],
            },
            "score": {
                "of data": [h["real"] for h in trainer.history],
                "of samples": [h["fake"] for h in trainer.history],
            },
        },
        f"{name}: the two players",
    )
    return found


def _full(images: Array, x: Array) -> Array:
    """Images as large as the data: a network that is still growing makes smaller ones."""
    factor = x.shape[1] // images.shape[1]
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def _images(samples: Array, side: int) -> Array:
    return (samples.reshape(-1, side, side).clip(-1, 1) + 1) / 2


def judged(
    context: Context,
    name: str,
    judge: Judge,
    samples: Array,
    *,
    classes: int = 9,
    gaussian: tuple[Array, float] | None = None,
) -> dict[str, Any]:
    """Records how many classes the samples cover and, with `gaussian=(x, share)`, their distance.

    The distance is compared with that of a normal distribution of the data's pixels.
    """
    distance, shares = judge.distance(samples), judge.shares(samples)
    context.check(
        f"{name}: classes that are {SHARE:.0%} of {len(samples)} samples or more",
        int((shares >= SHARE).sum()),
        at_least=classes,
    )
    if gaussian is not None:
        x, share = gaussian
        plain = judge.distance(gaussian_samples(x, len(samples), context.seed))
        context.check(
            f"{name}: Fréchet distance, in parts of a Gaussian sampler's",
            distance / plain,
            at_most=share,
            baseline=1.0,
        )
    context.table(
        f"what a classifier ({judge.accuracy:.3f} right on real digits) sees in the samples",
        ("", *map(str, range(10)), "Fréchet distance"),
        [(name, *(f"{share:.0%}" for share in shares), f"{distance:.1f}")],
    )
    return {"distance": distance, "shares": shares}
