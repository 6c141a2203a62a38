"""Schedules by steps, powers and lines, by any function, and one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from handloom.optim.lr_scheduler.base import LRScheduler, positive
from handloom.optim.lr_scheduler.plateau import ReduceLROnPlateau
from handloom.optim.optimizer import Optimizer

Function = Callable[[int], float]


def _functions(
    op: str, given: Function | Sequence[Function], optimizer: Optimizer
) -> list[Function]:
    """One function for each parameter group."""
    groups = len(optimizer.param_groups)
    functions = [given] * groups if callable(given) else list(given)
    if len(functions) != groups:
        raise ValueError(f"{op}: {len(functions)} functions for {groups} parameter groups")
    return functions


class StepLR(LRScheduler):
    """lr·gammaⁿ, where n counts the full periods of `step_size` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        positive("StepLR", "step_size", step_size)
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
        positive("PolynomialLR", "total_iters", total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        left: float = (1.0 - min(t, self.total_iters) / self.total_iters) ** self.power
        return base * left


class LambdaLR(LRScheduler):
    """lr·f(t), for one function or one for each group."""

    follows = False

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Function | Sequence[Function],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = _functions("LambdaLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        return base * self.lr_lambdas[group](t)


class MultiplicativeLR(LRScheduler):
    """lr·f(1)·f(2)⋯f(t), for one function or one for each group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Function | Sequence[Function], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas = _functions("MultiplicativeLR", lr_lambda, optimizer)
        self.products = [(0, 1.0)] * len(self.lr_lambdas)  # up to which t, and how much
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, group: int, t: int) -> float:
        at, product = self.products[group]
        if at > t:
            at, product = 0, 1.0
        for i in range(at + 1, t + 1):
            product *= self.lr_lambdas[group](i)
        self.products[group] = t, product
        return base * product


class SequentialLR(LRScheduler):
    """One schedule after the other, each from its step 0 at its milestone."""

    follows = False

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


class ChainedScheduler:
    """Steps several schedules of one optimiser back to back: their factors multiply."""

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: schedulers is empty")
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        for s in schedulers:
            if not isinstance(s, LRScheduler):
                raise TypeError(
                    f"ChainedScheduler: a {type(s).__name__} is among the schedulers, expected "
                    "schedules"
                )
            if s.optimizer is not self.optimizer:
                raise ValueError(f"ChainedScheduler: {type(s).__name__} has another optimizer")
            if isinstance(s, ReduceLROnPlateau):
                raise ValueError("ChainedScheduler: ReduceLROnPlateau needs a metric, use it alone")
        self.schedulers = list(schedulers)

    def step(self) -> None:
        """Steps all of them, in their order."""
        for s in self.schedulers:
            s.step()

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The states of all of them."""
        return {"schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        for s, saved in zip(self.schedulers, state["schedulers"], strict=True):
            s.load_state_dict(saved)
