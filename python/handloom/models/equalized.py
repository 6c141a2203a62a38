"""Layers with an equalised learning rate: what Progressive GAN and StyleGAN are made of.

Karras et al.: "Progressive growing of GANs" (ICLR 2018), section 4.1: weights are drawn from
N(0, 1) and scaled by He's constant in every forward, so that Adam's steps are as long, relatively,
in every layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn, ops
from ..tensor import Tensor

F = nn.functional


class EqualLinear(nn.Module):
    """A linear layer whose weight is scaled by gain · lr_mul/√inputs when it is used.

    Args:
        inputs, outputs: Features.
        gain: √2 in front of ReLUs, 1 elsewhere.
        bias: What all biases begin with.
        lr_mul: Makes the layer learn so much more slowly (0.01 in StyleGAN's mapping).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        gain: float = 2**0.5,
        bias: float = 0.0,
        lr_mul: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(ops.randn(outputs, inputs) * (1 / lr_mul))
        self.bias = nn.Parameter(np.full(outputs, bias / lr_mul, np.float32))
        self.scale = gain * lr_mul * inputs**-0.5
        self.lr_mul = lr_mul

    def forward(self, x: Any) -> Tensor:
        bias = self.bias if self.lr_mul == 1 else self.bias * self.lr_mul
        return F.linear(x, self.weight * self.scale, bias)


class EqualConv2d(nn.Module):
    """A convolution that keeps the size, its weight scaled by gain/√(kernel² · inputs).

    Args:
        inputs, outputs: Channels.
        kernel: Odd side of the filters.
        gain: √2 in front of ReLUs, 1 elsewhere.
        bias: Whether there is one.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, gain: float = 2**0.5, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(ops.randn(outputs, kernel, kernel, inputs))
        self.bias = nn.Parameter(np.zeros(outputs, np.float32)) if bias else None
        self.scale = gain * (kernel * kernel * inputs) ** -0.5
        self.padding = kernel // 2

    def forward(self, x: Any) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def double(x: Tensor) -> Tensor:
    """Each pixel four times."""
    return F.interpolate(x, scale_factor=2)


def halve(x: Tensor) -> Tensor:
    """The mean of each four pixels."""
    return F.avg_pool2d(x, 2)
