"""What all schedules share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from handloom._replay import each_replay
from handloom.optim.optimizer import Optimizer

HIDDEN = ("optimizer", "schedulers", "lr_lambdas", "scale_fn")  # not part of a state


class LRScheduler:
    """The base: keeps each group's first rate, and asks `rate` for that of each step.

    Where someone else has changed a group's "lr" meanwhile, another schedule or the user, the step
    is taken from there: by the factor from the last rate to this one. So schedules can be stepped
    back to back, as in PyTorch.
    """

    follows: ClassVar[bool] = True  # False: sets the rate whatever it was

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
        self.rates = list(self.base_lrs) if last_epoch == -1 else self.get_last_lr()
        self.step()

    def rate(self, base: float, group: int, t: int) -> float:
        """The learning rate of one group at step t."""
        raise NotImplementedError

    def follow(self, held: float, before: float, now: float) -> float:
        """The rate after `held` where by itself it would go from `before` to `now`."""
        if before == now:
            return held
        return held * (now / before) if before else now

    def step(self) -> None:
        """Goes on to the next step and sets every group's "lr"."""
        if each_replay(self, self.step):
            return
        self.last_epoch += 1
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs)):
            now = self.rate(base, i, self.last_epoch)
            held, before = group["lr"], self.rates[i]
            touched = self.follows and held != before
            group["lr"] = self.follow(held, before, now) if touched else now
            self.rates[i] = now

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions."""
        state = {k: v for k, v in vars(self).items() if k not in HIDDEN}
        return {**state, "rates": list(self.rates), "last_lr": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned, with the rates that the groups had then."""
        vars(self).update({k: v for k, v in state.items() if k not in (*HIDDEN, "last_lr")})
        self.rates = list(self.rates)
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs)):
            self.rate(base, i, self.last_epoch)  # sets the momentum that belongs to it
            group["lr"] = state["last_lr"][i]


def per_group(
    op: str, name: str, value: float | Sequence[float], optimizer: Optimizer
) -> list[float]:
    """One number for each parameter group."""
    groups = len(optimizer.param_groups)
    values = [float(value)] * groups if isinstance(value, (int, float)) else list(map(float, value))
    if len(values) != groups:
        raise ValueError(f"{op}: {len(values)} {name} for {groups} parameter groups")
    return values


def positive(op: str, name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{op}: {name} is {value}, expected more than 0")
