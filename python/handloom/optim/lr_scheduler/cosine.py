"""Schedules along a cosine, and the cycle of Smith."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again after T_0 steps, then T_0·T_mult, and so on."""

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


class OneCycleLR(LRScheduler):
    """Up to max_lr and down again, momentum the other way. Smith & Topin (2018).

    Args:
        optimizer: What is scheduled; momentum or betas[0] is cycled where it has them.
        max_lr: The top, one number or one for each group.
        total_steps: Length of the cycle, or else epochs · steps_per_epoch.
        epochs: See total_steps.
        steps_per_epoch: See total_steps.
        pct_start: Share of the steps that go up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: Whether momentum moves.
        base_momentum: Momentum at the top.
        max_momentum: Momentum at both ends.
        div_factor: The start is max_lr/div_factor.
        final_div_factor: The end is the start/final_div_factor.
        three_phase: Down to the start as fast as up, then to the end.
        last_epoch: −1, or the step to go on from.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: expects total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        positive("OneCycleLR", "total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start is {pct_start}, expected 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy {anneal_strategy!r}, expected 'cos' or 'linear'"
            )
        groups = optimizer.param_groups
        tops = [max_lr] * len(groups) if isinstance(max_lr, (int, float)) else list(max_lr)
        if len(tops) != len(groups):
            raise ValueError(f"OneCycleLR: {len(tops)} max_lr for {len(groups)} parameter groups")
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.max_lrs = [float(top) for top in tops]
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        up = float(pct_start * total_steps) - 1
        self.ends = [up, 2 * up, total_steps - 1] if three_phase else [up, total_steps - 1]
        self.momenta = (base_momentum, max_momentum)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum and not ("momentum" in groups[0] or "betas" in groups[0]):
            raise ValueError("OneCycleLR: cycle_momentum needs an optimizer with momentum or betas")
        for group, top in zip(groups, self.max_lrs):
            group["initial_lr"] = top / div_factor
        super().__init__(optimizer, last_epoch)

    def _between(self, t: int, marks: Sequence[float]) -> float:
        """The value at step t of the path from marks[0] over marks[1] … to the last."""
        start = 0.0
        for i, end in enumerate(self.ends):
            if t <= end or i == len(self.ends) - 1:
                done = (t - start) / (end - start) if end != start else 1.0
                a, b = marks[i], marks[i + 1]
                return cosine(a, b, done) if self.anneal_strategy == "cos" else a + (b - a) * done
            start = end
        raise AssertionError("unreachable")

    def rate(self, base: float, group: int, t: int) -> float:
        if t >= self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t + 1} of a schedule of total_steps = {self.total_steps}"
            )
        top = self.max_lrs[group]
        first = top / self.div_factor
        last = first / self.final_div_factor
        path = [first, top, first, last] if len(self.ends) == 3 else [first, top, last]
        if self.cycle_momentum:
            low, high = self.momenta
            way = [high, low, high, high] if len(self.ends) == 3 else [high, low, high]
            self._set_momentum(self.optimizer.param_groups[group], self._between(t, way))
        return self._between(t, path)

    @staticmethod
    def _set_momentum(group: dict[str, Any], value: float) -> None:
        if "betas" in group:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
