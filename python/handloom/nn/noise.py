"""Noise in training, nothing in evaluation mode."""

from __future__ import annotations

from typing import Any

from handloom._numbers import real
from handloom.nn.module import Module
from handloom.ops.random import randn
from handloom.tensor import Tensor


class GaussianNoise(Module):
    """Adds normal noise in training, new in each call. Keras: GaussianNoise.

    On the input it makes more data of what there is; between layers it keeps them from relying on
    exact values (Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995).

    Args:
        std: Standard deviation, at least 0.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not 0 <= real(std, "GaussianNoise", "std") < float("inf"):
            raise ValueError(f"GaussianNoise: std is {std}, expected at least 0")
        self.std = std

    def forward(self, x: Any) -> Tensor:
        """Returns x, or x with noise, of the same shape and dtype."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        if not self.training or self.std == 0:
            return x
        return x + randn(*x.shape, dtype=x.dtype) * self.std

    def extra_repr(self) -> str:
        return f"std={self.std}"
