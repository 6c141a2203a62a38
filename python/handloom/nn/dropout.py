"""Dropout in its kinds; the identity in evaluation mode."""

from __future__ import annotations

from typing import Any

from handloom.nn.module import Module
from handloom.ops.random import ALPHA, ELEMENT, FEATURE, FEATURE_ALPHA, dropout
from handloom.tensor import Tensor


class _Dropout(Module):
    kind = ELEMENT

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        # inplace is PyTorch's argument; the backward needs no input here, there is nothing to win.
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p is {p}, expected 0 to 1")
        self.p = p

    def forward(self, x: Any) -> Tensor:
        if not self.training:
            return x if isinstance(x, Tensor) else Tensor(x)
        return dropout(x, self.p, self.kind, type(self).__name__)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """Sets elements to 0 with probability p in training, and scales the rest by 1/(1 − p)."""


class Dropout1d(_Dropout):
    """Drops whole features of (N, T, C). Keras: SpatialDropout1D."""

    kind = FEATURE


class Dropout2d(_Dropout):
    """Drops whole feature maps of (N, H, W, C). Keras: SpatialDropout2D."""

    kind = FEATURE


class Dropout3d(_Dropout):
    """Drops whole feature maps of (N, D, H, W, C). Keras: SpatialDropout3D."""

    kind = FEATURE


class AlphaDropout(_Dropout):
    """Dropout that keeps the mean and variance of SELU's outputs. Klambauer et al. (2017)."""

    kind = ALPHA


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole features."""

    kind = FEATURE_ALPHA
