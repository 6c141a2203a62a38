"""What all schedules share."""

from __future__ import annotations

from typing import Any

from handloom.optim.optimizer import Optimizer

HIDDEN = ("optimizer", "schedulers", "lr_lambdas")  # not part of a state


class LRScheduler:
    """The base: keeps each group's first rate, and asks `rate` for that of each step."""

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
        return {k: v for k, v in vars(self).items() if k not in HIDDEN}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""
        vars(self).update({k: v for k, v in state.items() if k not in HIDDEN})
        if self.last_epoch >= 0:
            self.last_epoch -= 1
            self.step()


def positive(op: str, name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{op}: {name} is {value}, expected more than 0")
