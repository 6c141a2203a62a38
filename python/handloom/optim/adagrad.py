"""Steps scaled by the size of past gradients: Adagrad, RMSprop, Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from handloom.optim.optimizer import Optimizer, Params, require, rows_only
from handloom.tensor import Array


class Adagrad(Optimizer):
    """s += g²;  w −= lr/(1 + (t − 1)·lr_decay)·g/(√s + eps). Duchi et al. (2011).

    Keras starts s at 0.1 and has lr = 0.001.

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        lr_decay: How fast it falls.
        weight_decay: λ of the L2 term λw added to the gradient.
        initial_accumulator_value: s before the first step.
        eps: Keeps the division finite.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "adagrad"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        for name in ("lr_decay", "initial_accumulator_value"):
            require("Adagrad", name, group[name], at_least=0.0)

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            group["lr_decay"],
            group["eps"],
        )

    def new_state(self, name: str, like: Array, group: dict[str, Any]) -> Array:
        return np.full_like(like, group["initial_accumulator_value"], like.dtype, "C")

    def rows(self, group: dict[str, Any], gradient: Any) -> Any:
        return rows_only("Adagrad", group, gradient)


class RMSprop(Optimizer):
    """s = αs + (1 − α)g²;  w −= lr·g/(√s + eps). Tieleman & Hinton (2012).

    Keras calls α rho and has 0.9.

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        alpha: Weight of the past in s.
        eps: Keeps the division finite.
        weight_decay: λ of the L2 term λw added to the gradient.
        momentum: Weight of the past in the steps.
        centered: Subtract the squared mean of the gradient from s.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "rmsprop"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        require("RMSprop", "alpha", group["alpha"], at_least=0.0)
        require("RMSprop", "momentum", group["momentum"], at_least=0.0)

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            group["alpha"],
            group["eps"],
            group["momentum"],
            group["centered"],
        )

    def slots(self, group: dict[str, Any]) -> tuple[bool, ...]:
        return (True, group["momentum"] != 0, bool(group["centered"]))


class Adadelta(Optimizer):
    """s = ρs + (1 − ρ)g²;  d = g·√(u + eps)/√(s + eps);  u = ρu + (1 − ρ)d²;  w −= lr·d.

    Zeiler (2012).

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate; Keras' default is 0.001.
        rho: Weight of the past.
        eps: Keeps the division finite and starts the movement.
        weight_decay: λ of the L2 term λw added to the gradient.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "adadelta"

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize},
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        require("Adadelta", "rho", group["rho"], at_least=0.0, at_most=1.0)

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (group["lr"], group["weight_decay"], group["maximize"], group["rho"], group["eps"])
