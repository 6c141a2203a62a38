"""Schedules along a cosine."""

from __future__ import annotations

import math

from handloom.optim.lr_scheduler.base import LRScheduler, positive
from handloom.optim.optimizer import Optimizer


def cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


class CosineAnnealingLR(LRScheduler):
    """eta_min + (lr − eta_min)·(1 + cos(πt/T_max))/2. Loshchilov & Hutter (2017)."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        positive("CosineAnnealingLR", "T_max", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return cosine(base, self.eta_min, t / self.T_max)

    def follow(self, held: float, before: float, now: float) -> float:
        low = self.eta_min
        return low + super().follow(held - low, before - low, now - low)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again after T_0 steps, then T_0·T_mult, and so on."""

    follows = False

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        positive("CosineAnnealingWarmRestarts", "T_0", T_0)
        if T_mult < 1 or T_mult != int(T_mult):
            raise ValueError(
                f"CosineAnnealingWarmRestarts: T_mult is {T_mult}, expected a whole number from 1"
            )
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        period = self.T_0
        if self.T_mult == 1:
            t %= period
        else:
            while t >= period:
                t -= period
                period *= self.T_mult
        return cosine(base, self.eta_min, t / period)


class WarmupCosineLR(LRScheduler):
    """Up along a line for `warmup_steps`, then down a cosine to eta_min at `total_steps`.

    The transformer's usual schedule; in PyTorch a SequentialLR of two.
    """

    follows = False

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"WarmupCosineLR: warmup_steps is {warmup_steps} and total_steps {total_steps}, "
                "expected 0 <= warmup_steps < total_steps"
            )
        self.warmup_steps, self.total_steps, self.eta_min = warmup_steps, total_steps, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        if t < self.warmup_steps:
            return base * (t + 1) / self.warmup_steps
        done = (t - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return cosine(base, self.eta_min, min(done, 1.0))
