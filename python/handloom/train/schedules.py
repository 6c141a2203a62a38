"""Learning-rate schedules as `fit` takes them: an object of `optim.lr_scheduler`, or a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..optim import Optimizer

NAMES = ("cosine", "linear", "one_cycle", "plateau")


def schedule(
    scheduler: Any, optimizer: Optimizer, epochs: int, steps: int | None
) -> tuple[Any, Callable[[dict[str, float]], None] | None, Callable[[], None] | None]:
    """Returns the schedule, and what to call after an epoch, with its figures, and after a step.

    Args:
        scheduler: None, a name of `NAMES`, or anything with `step()`.
        optimizer: Whose rate a named schedule sets.
        epochs: Of the whole run.
        steps: Of an epoch, None if they are not known.

    Raises:
        TypeError: It has no `step`.
        ValueError: An unknown name, or steps that are not known and needed.
    """
    if scheduler is None:
        return None, None, None
    from ..optim.lr_scheduler import CyclicLR, OneCycleLR, ReduceLROnPlateau

    if isinstance(scheduler, str):
        scheduler = _named(scheduler, optimizer, epochs, steps)
    if not callable(getattr(scheduler, "step", None)):
        raise TypeError(
            "fit: scheduler expects a schedule of optim.lr_scheduler or one of the names "
            f"{', '.join(NAMES)}, got {type(scheduler).__name__}"
        )
    if isinstance(scheduler, (CyclicLR, OneCycleLR)):
        return scheduler, None, scheduler.step
    if isinstance(scheduler, ReduceLROnPlateau):
        return scheduler, lambda logs: scheduler.step(logs.get("val_loss", logs["loss"])), None
    return scheduler, lambda logs: scheduler.step(), None


def _named(name: str, optimizer: Optimizer, epochs: int, steps: int | None) -> Any:
    from ..optim import lr_scheduler

    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    if name == "linear":
        return lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs)
    if name == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer)
    if name == "one_cycle":
        if steps is None:
            raise ValueError("fit: scheduler 'one_cycle' expects data that tell their length")
        rates = [group["lr"] for group in optimizer.param_groups]
        return lr_scheduler.OneCycleLR(optimizer, rates, total_steps=epochs * steps + 1)
    raise ValueError(f"fit: no schedule {name!r}, expected one of {', '.join(NAMES)}")
