"""Gradient descent with momentum, and the sign of the momentum."""

from __future__ import annotations

from typing import Any, ClassVar

from handloom.optim.optimizer import Optimizer, Params, require, rows_only


class SGD(Optimizer):
    """v = momentum·v + (1 − dampening)·g;  w −= lr·v. With Nesterov: w −= lr·(g + momentum·v).

    Polyak (1964), Nesterov (1983). Keras' form is v = momentum·v − lr·g, w += v: the two differ
    when lr changes on the way.

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        momentum: Weight of the past, 0 for plain gradient descent.
        dampening: How much less of the gradient enters v.
        weight_decay: λ of the L2 term λw added to the gradient.
        nesterov: Look ahead; needs momentum and no dampening.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "sgd"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        require("SGD", "momentum", group["momentum"], at_least=0.0)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs momentum above 0 and dampening 0")

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            group["momentum"],
            group["dampening"],
            group["nesterov"],
        )

    def slots(self, group: dict[str, Any]) -> tuple[bool, ...]:
        return (group["momentum"] != 0,)

    def rows(self, group: dict[str, Any], gradient: Any) -> Any:
        """Momentum goes on moving rows that are not read any more: it needs the whole array."""
        pair = rows_only("SGD", group, gradient)
        return pair if group["momentum"] == 0 else gradient.spread()


class Lion(Optimizer):
    """w −= lr·sign(β₁m + (1 − β₁)g);  m = β₂m + (1 − β₂)g. Chen et al. (2023).

    The steps are larger than Adam's: lr is usually 3 to 10 times smaller, weight_decay as much
    larger.

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        betas: β₁ and β₂.
        weight_decay: Decoupled: w shrinks by lr·weight_decay.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "lion"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (group["lr"], group["weight_decay"], group["maximize"], *group["betas"])
