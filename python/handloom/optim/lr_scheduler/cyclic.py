"""Learning rates that go up and down again, and momentum against them: the cycles of Smith."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from handloom.optim.lr_scheduler.base import LRScheduler, per_group, positive
from handloom.optim.lr_scheduler.cosine import cosine
from handloom.optim.optimizer import Optimizer


def require_momentum(op: str, optimizer: Optimizer) -> None:
    group = optimizer.param_groups[0]
    if not ("momentum" in group or "betas" in group):
        raise ValueError(f"{op}: cycle_momentum needs an optimizer with momentum or betas")


def set_momentum(group: dict[str, Any], value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


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

    follows = False

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
        tops = per_group("OneCycleLR", "max_lr", max_lr, optimizer)
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.max_lrs = tops
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        up = float(pct_start * total_steps) - 1
        self.ends = [up, 2 * up, total_steps - 1] if three_phase else [up, total_steps - 1]
        self.momenta = (base_momentum, max_momentum)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            require_momentum("OneCycleLR", optimizer)
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
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t} of a schedule of total_steps = {self.total_steps}"
            )
        top = self.max_lrs[group]
        first = top / self.div_factor
        last = first / self.final_div_factor
        path = [first, top, first, last] if len(self.ends) == 3 else [first, top, last]
        if self.cycle_momentum:
            low, high = self.momenta
            way = [high, low, high, high] if len(self.ends) == 3 else [high, low, high]
            set_momentum(self.optimizer.param_groups[group], self._between(t, way))
        return self._between(t, path)


class CyclicLR(LRScheduler):
    """Up from base_lr to max_lr and down again, over and over. Smith (2017).

    Args:
        optimizer: What is scheduled; momentum or betas[0] is cycled where it has them.
        base_lr: The bottom, one number or one for each group.
        max_lr: The top of the first cycle, one number or one for each group.
        step_size_up: Steps on the way up.
        step_size_down: Steps on the way down; None: as many.
        mode: "triangular"; "triangular2": each cycle is half as high as the last; "exp_range": the
            height shrinks by `gamma` with each step.
        gamma: See mode.
        scale_fn: The height instead of mode: a function of the cycle's number, from 1, or the
            step's.
        scale_mode: Which of the two scale_fn takes, "cycle" or "iterations".
        cycle_momentum: Whether momentum moves, from the top down and up again.
        base_momentum: Momentum where the rate is highest.
        max_momentum: Momentum where the rate is lowest.
        last_epoch: −1, or the step to go on from.
    """

    follows = False

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        op = "CyclicLR"
        down = step_size_up if step_size_down is None else step_size_down
        positive(op, "step_size_up", step_size_up)
        positive(op, "step_size_down", down)
        heights: dict[str, tuple[str, Callable[[float], float]]] = {
            "triangular": ("cycle", lambda cycle: 1.0),
            "triangular2": ("cycle", lambda cycle: 0.5 ** (cycle - 1)),
            "exp_range": ("iterations", lambda step: gamma**step),
        }
        if scale_fn is None and mode not in heights:
            raise ValueError(f"{op}: mode is {mode!r}, expected one of {', '.join(heights)}")
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(
                f"{op}: scale_mode is {scale_mode!r}, expected 'cycle' or 'iterations'"
            )
        self.scale_mode, self.scale_fn = (
            heights[mode] if scale_fn is None else (scale_mode, scale_fn)
        )
        self.up, self.period = step_size_up, step_size_up + down
        self.max_lrs = per_group(op, "max_lr", max_lr, optimizer)
        self.momenta = (base_momentum, max_momentum)
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            require_momentum(op, optimizer)
        for group, low in zip(optimizer.param_groups, per_group(op, "base_lr", base_lr, optimizer)):
            group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        cycle, at = divmod(t, self.period)
        rise = at / self.up if at <= self.up else (self.period - at) / (self.period - self.up)
        rise *= self.scale_fn(cycle + 1 if self.scale_mode == "cycle" else t)
        if self.cycle_momentum:
            low, high = self.momenta
            set_momentum(self.optimizer.param_groups[group], high - (high - low) * rise)
        return base + (self.max_lrs[group] - base) * rise
