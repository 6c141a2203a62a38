"""Learning rates that change: each schedule is a function of the step number.

Names, arguments, defaults and values are PyTorch's. `scheduler.step()` comes after
`optimizer.step()`; whether a step is an epoch or a batch is the caller's choice.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from handloom.optim.optimizer import Optimizer

_HIDDEN = ("optimizer", "schedulers", "lr_lambdas")


class LRScheduler:
    """The base: keeps each group's first rate and asks `rate(base, group, t)` for that of step t."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: optimizer is a {type(optimizer).__name__}, "
                "expected an Optimizer"
            )
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [float(g.get("initial_lr", g["lr"])) for g in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rate(self, base: float, group: int, t: int) -> float:
        """The learning rate of one group at step t."""
        raise NotImplementedError

    def step(self) -> None:
        """Goes on to the next step and sets every group's "lr"."""
        self.last_epoch += 1
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs)):
            group["lr"] = self.rate(base, i, self.last_epoch)

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions."""
        return {k: v for k, v in vars(self).items() if k not in _HIDDEN}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        vars(self).update({k: v for k, v in state.items() if k not in _HIDDEN})
        if self.last_epoch >= 0:
            self.last_epoch -= 1
            self.step()


def _positive(op: str, name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{op}: {name} is {value}, expected more than 0")


class StepLR(LRScheduler):
    """lr·gammaⁿ, where n counts the full periods of `step_size` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        _positive("StepLR", "step_size", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """lr·gammaⁿ, where n counts the milestones passed."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(LRScheduler):
    """lr·gammaᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return base * self.gamma**t


class ConstantLR(LRScheduler):
    """lr·factor for the first `total_iters` steps, then lr."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}, expected 0 to 1")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return base * (self.factor if t < self.total_iters else 1.0)


class LinearLR(LRScheduler):
    """From lr·start_factor to lr·end_factor along a line of `total_iters` steps: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor is {start_factor}, expected 0 to 1, not 0")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor is {end_factor}, expected 0 to 1")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        done = min(t, self.total_iters) / self.total_iters if self.total_iters else 1.0
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


class PolynomialLR(LRScheduler):
    """lr·(1 − t/total_iters)^power, then 0."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        _positive("PolynomialLR", "total_iters", total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        left: float = (1.0 - min(t, self.total_iters) / self.total_iters) ** self.power
        return base * left


class CosineAnnealingLR(LRScheduler):
    """eta_min + (lr − eta_min)·(1 + cos(πt/T_max))/2. Loshchilov & Hutter (2017)."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        _positive("CosineAnnealingLR", "T_max", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return _cosine(base, self.eta_min, t / self.T_max)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


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
        _positive("CosineAnnealingWarmRestarts", "T_0", T_0)
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
        return _cosine(base, self.eta_min, t / period)


class WarmupCosineLR(LRScheduler):
    """Up along a line for `warmup_steps`, then down a cosine to eta_min at `total_steps`.

    The transformer's usual schedule; PyTorch needs LinearLR and CosineAnnealingLR in a SequentialLR.
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
        return _cosine(base, self.eta_min, min(done, 1.0))


class LambdaLR(LRScheduler):
    """lr·f(t), for one function or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(
                f"LambdaLR: {len(self.lr_lambdas)} functions for {groups} parameter groups"
            )
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return base * self.lr_lambdas[group](t)


class SequentialLR(LRScheduler):
    """One schedule after the other, each from its step 0 at its milestone."""

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedulers for {len(milestones)} milestones, "
                "expected one more"
            )
        for s in schedulers:
            if s.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: {type(s).__name__} has another optimizer")
            if isinstance(s, ReduceLROnPlateau):
                raise ValueError("SequentialLR: ReduceLROnPlateau needs a metric, use it alone")
        self.schedulers, self.milestones = list(schedulers), sorted(milestones)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        i = bisect_right(self.milestones, t)
        return self.schedulers[i].rate(base, group, t - (self.milestones[i - 1] if i else 0))


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
        _positive("OneCycleLR", "total_steps", total_steps)
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
                return _cosine(a, b, done) if self.anneal_strategy == "cos" else a + (b - a) * done
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
        groups = len(optimizer.param_groups)
        self.min_lrs = (
            [float(min_lr)] * groups if isinstance(min_lr, (int, float)) else list(min_lr)
        )
        if len(self.min_lrs) != groups:
            raise ValueError(f"ReduceLROnPlateau: {len(self.min_lrs)} min_lr for {groups} groups")
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

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update({k: v for k, v in state.items() if k not in _HIDDEN})
