"""A schedule that listens to a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from handloom.optim.lr_scheduler.base import HIDDEN, LRScheduler, per_group
from handloom.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """lr·factor when a metric has not become better for more than `patience` steps.

    Args:
        optimizer: What is scheduled.
        mode: "min" if smaller is better, "max" if larger.
        factor: Below 1.
        patience: Steps without a gain that are put up with.
        threshold: What counts as a gain.
        threshold_mode: "rel": by this share of the best, "abs": by this much.
        cooldown: Steps after a cut in which nothing is counted.
        min_lr: Lower limit, one number or one for each group.
        eps: A cut by less than this is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not factor < 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}, expected below 1")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode {mode!r}, expected 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: threshold_mode {threshold_mode!r}, expected 'rel' or 'abs'"
            )
        self.min_lrs = per_group("ReduceLROnPlateau", "min_lr", min_lr, optimizer)
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self.optimizer = optimizer
        self.last_epoch = 0

    def step(self, metrics: Any = None) -> None:
        """Takes the newest value of the metric."""
        if metrics is None:
            raise TypeError("ReduceLROnPlateau: step expects the metric")
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * value < sign * self.best * (1 - sign * self.threshold)
        return sign * value < sign * self.best - self.threshold

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in HIDDEN}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update({k: v for k, v in state.items() if k not in HIDDEN})
