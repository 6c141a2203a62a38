"""Adam and its kin: a running mean of the gradient over one of its size."""

from __future__ import annotations

from typing import Any, ClassVar

from handloom.optim.optimizer import Optimizer, Params, require

Betas = tuple[float, float]


class Adam(Optimizer):
    """m = β₁m + (1 − β₁)g;  s = β₂s + (1 − β₂)g²;  w −= lr·m̂/(√ŝ + eps). Kingma & Ba (2015).

    Keras' eps is 1e-7.

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        betas: β₁ and β₂.
        eps: Keeps the division finite.
        weight_decay: λ of the L2 term λw added to the gradient; `AdamW` decouples it.
        amsgrad: Use the largest s so far (Reddi et al., 2018).
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "adam"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            *group["betas"],
            group["eps"],
            group["amsgrad"],
        )

    def slots(self, group: dict[str, Any]) -> tuple[bool, ...]:
        return (True, True, bool(group["amsgrad"]))


class AdamW(Adam):
    """Adam with decoupled weight decay: w shrinks by lr·weight_decay. Loshchilov (2019)."""

    kind: ClassVar[str] = "adamw"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class Adamax(Optimizer):
    """Adam with u = max(β₂u, |g| + eps) in place of √s. Kingma & Ba (2015), section 7."""

    kind: ClassVar[str] = "adamax"

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            *group["betas"],
            group["eps"],
        )


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead and a warming momentum. Dozat (2016).

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        betas: β₁ and β₂.
        eps: Keeps the division finite.
        weight_decay: λ of the L2 term λw added to the gradient, or of the shrinking if decoupled.
        momentum_decay: ψ of μₜ = β₁(1 − ½·0.96^(tψ)).
        decoupled_weight_decay: Shrink w by lr·weight_decay instead.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "nadam"

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        require("NAdam", "momentum_decay", group["momentum_decay"], at_least=0.0)

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            *group["betas"],
            group["eps"],
            group["momentum_decay"],
            group["decoupled_weight_decay"],
        )


class RAdam(Optimizer):
    """Adam that trusts s only once it has seen enough. Liu et al. (2020).

    Args:
        params: Parameters, or dictionaries of "params" and options of their own.
        lr: Learning rate.
        betas: β₁ and β₂.
        eps: Keeps the division finite.
        weight_decay: λ of the L2 term λw added to the gradient, or of the shrinking if decoupled.
        decoupled_weight_decay: Shrink w by lr·weight_decay instead.
        maximize: Go up instead of down.
    """

    kind: ClassVar[str] = "radam"

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            group["lr"],
            group["weight_decay"],
            group["maximize"],
            *group["betas"],
            group["eps"],
            group["decoupled_weight_decay"],
        )
