"""Weights kept small: penalties added to the gradient, and a limit to the norm of each unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._numbers import real
from ..autograd import no_grad
from .callbacks import Callback

if TYPE_CHECKING:
    from ..tensor import Tensor
    from .trainer import Run


class Penalty(Callback):
    """Adds l1·Σ|w| + l2·Σw² to what is minimised: L1, L2, or both (the elastic net).

    The sums go over weights, matrices and kernels, not over biases or the scales of norms. The
    losses that `fit` reports are without it. Keras: `regularizers.L1L2`, the same factors;
    optimisers' `weight_decay=w` is l2 = w/2 (in AdamW, apart from the gradient).

    Args:
        l1: Makes weights exactly useless ones small: few stay large.
        l2: Makes large weights costly.

    Raises:
        ValueError: A factor is below 0 or not finite.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        for name, value in (("l1", l1), ("l2", l2)):
            if not 0 <= real(value, "Penalty", name) < float("inf"):
                raise ValueError(f"Penalty: {name} is {value}, expected at least 0")
        self.l1, self.l2 = l1, l2

    def on_backward_end(self, run: Run) -> None:
        with no_grad():
            for p in _weights(run):
                if p.grad is None:
                    continue
                if self.l1:
                    p.grad = p.grad + p.sign() * self.l1
                if self.l2:
                    p.grad = p.grad + p * (2 * self.l2)


class MaxNorm(Callback):
    """Shortens, after each step, what leads into a unit to a largest norm.

    A row of a matrix, or a filter, is a unit's. Srivastava and others, "Dropout" (2014), who found
    it to go well with dropout. Keras: `constraints.MaxNorm`; PyTorch: `torch.renorm`.

    Args:
        limit: Largest Euclidean norm, above 0.

    Raises:
        ValueError: The limit is not above 0.
    """

    def __init__(self, limit: float = 3.0) -> None:
        if not real(limit, "MaxNorm", "limit") > 0:
            raise ValueError(f"MaxNorm: limit is {limit}, expected above 0")
        self.limit = limit

    def on_step_end(self, run: Run) -> None:
        for p in _weights(run):
            array = p.numpy()
            rows = array.reshape(len(array), -1)
            norms = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1))
            long = norms > self.limit
            if long.any():
                factor = np.where(long, self.limit / np.maximum(norms, 1e-30), 1.0)
                p.copy_((rows * factor[:, None]).astype(array.dtype).reshape(array.shape))


def _weights(run: Run) -> list[Tensor]:
    return [p for p in run.model.parameters() if p.ndim >= 2 and p.requires_grad]
