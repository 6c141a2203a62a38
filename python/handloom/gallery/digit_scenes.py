"""Digits on textures, for the tasks that find and name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..data.scenes import Scenes
from ..data.scenes import digit_scenes as make
from ..train import metrics
from .nuclei import trained

if TYPE_CHECKING:
    from ..vision import Objects
    from .task import Context

NAMES = tuple("0123456789")


def parts(context: Context, count: int, seen: int = 250) -> tuple[Scenes, Scenes]:
    """Scenes for training and for testing; those for testing are the same for every seed."""
    if context.quick:
        count, seen = 48, 16
    return make(count, seed=context.seed), make(seen, train=False)


def detected(
    context: Context,
    name: str,
    model: Any,
    target: float,
    *,
    epochs: int,
    count: int = 2000,
    lr: float = 3e-3,
    masks: bool = False,
) -> None:
    """Trains a detector on scenes, and records and draws what it finds in others."""
    from ..vision import ObjectLoader
    from . import found, plots

    train, test = parts(context, count)
    loader = ObjectLoader(train.x, train.objects, 16, seed=context.seed)
    history = trained(context, name, model, loader, context.epochs(epochs, 2), lr)
    context.losses(f"{name} on scenes", history["loss"])
    guess = detect(model, test)
    scores = metrics.mean_average_precision(test.objects, guess)
    rows = [("boxes", *(f"{scores[k]:.3f}" for k in ("ap50", "ap75", "map")))]
    if masks:
        of_masks = metrics.mean_average_precision(test.objects, guess, masks=True)
        rows.append(("masks", *(f"{of_masks[k]:.3f}" for k in ("ap50", "ap75", "map"))))
        context.check(f"{name} on scenes: AP50 of masks", of_masks["ap50"], at_least=target)
    else:
        context.check(f"{name} on scenes: AP50", scores["ap50"], at_least=target)
    context.table(f"{name} on {len(test.x)} scenes", ("", "AP50", "AP75", "AP"), rows)
    file = context_name(name)
    context.draw(f"{file}-curve", plots.learning, {"training": history["loss"]}, None, name)
    context.draw(
        f"{file}-scenes",
        found.boxes,
        test.x[:18, ..., 0],
        test.objects[:18],
        guess[:18],
        "found (orange, named) and true (dashed) boxes of scenes that were not trained on",
        names=NAMES,
    )
    context.save(file, model)


def detect(model: Any, test: Scenes, batch: int = 50) -> list[Objects]:
    """What a detector finds in all scenes."""
    return [o for i in range(0, len(test.x), batch) for o in model.detect(test.x[i : i + batch])]


def context_name(name: str) -> str:
    """The beginning of the names of a detector's files."""
    return name.lower().replace(" ", "-")
