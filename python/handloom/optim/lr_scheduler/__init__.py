"""Learning rates that change: each schedule is a function of the step number.

Names, arguments, defaults and values are PyTorch's. `scheduler.step()` comes after
`optimizer.step()`; whether a step is an epoch or a batch is the caller's choice.
"""

from handloom.optim.lr_scheduler.base import LRScheduler
from handloom.optim.lr_scheduler.cosine import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    WarmupCosineLR,
)
from handloom.optim.lr_scheduler.cyclic import CyclicLR, OneCycleLR
from handloom.optim.lr_scheduler.decay import (
    ChainedScheduler,
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)
from handloom.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupCosineLR",
]
