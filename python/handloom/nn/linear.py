"""The fully connected layer, and layers that only reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from handloom.nn import init
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.ops.dense import Fusable, fusable, linear
from handloom.ops.layout import flatten, unflatten
from handloom.tensor import DTypeLike, Tensor, as_dtype


class Linear(Module):
    """y = act(x wᵀ + b) over the last axis: (…, in_features) → (…, out_features). Keras: Dense.

    Weights start uniform in ±1/√in_features (PyTorch's; Keras: Glorot and zero bias).

    Args:
        in_features: Size of the last axis of x.
        out_features: Size of the last axis of y.
        bias: Whether there is b.
        activation: Computed together with the product, e.g. "relu", "tanh", "gelu"; PyTorch has no
            such argument.
        dtype: float32 or float64.

    Attributes:
        weight: (out_features, in_features).
        bias: (out_features,), or None.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__()
        for name, n in (("in_features", in_features), ("out_features", out_features)):
            if not hasattr(n, "__index__"):
                raise TypeError(f"Linear: {name} is {n!r}, expected an integer")
            if n < 0:
                raise ValueError(f"Linear: {name} is {n}, expected at least 0")
        fusable("Linear", activation)
        self.in_features = in_features
        self.out_features = out_features
        self.activation = activation
        kind = as_dtype(np.float32 if dtype is None else dtype, "Linear")
        self.weight = Parameter(np.empty((out_features, in_features), kind))
        self.bias = Parameter(np.empty(out_features, kind)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        return linear(x, self.weight, self.bias, self.activation)

    @property
    def _fuses(self) -> bool:
        return self.activation is None

    def _forward_fused(self, x: Any, activation: Fusable) -> Tensor:
        return linear(x, self.weight, self.bias, activation)

    def extra_repr(self) -> str:
        text = f"in_features={self.in_features}, out_features={self.out_features}"
        text += f", bias={self.bias is not None}"
        return text + (f", activation={self.activation!r}" if self.activation else "")


class EqualizedLinear(Module):
    """A linear layer with weights drawn from N(0, 1) and scaled at run time. Karras et al. (2018).

    Every weight learns at the same pace whatever its fan-in, which progressive GANs and StyleGAN
    need.

    Args:
        in_features: Size of the last axis of x.
        out_features: Size of the last axis of y.
        bias: Whether there is b, which starts at 0.
        gain: The scale is gain·lr_multiplier/√in_features.
        lr_multiplier: Scales the effective learning rate (StyleGAN's mapping network: 0.01).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        gain: float = math.sqrt(2.0),
        lr_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.lr_multiplier = lr_multiplier
        self.scale = gain * lr_multiplier / math.sqrt(in_features)
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None
        init.normal_(self.weight, 0.0, 1.0 / lr_multiplier)

    def forward(self, x: Any) -> Tensor:
        bias = None if self.bias is None else self.bias * self.lr_multiplier
        return linear(x, self.weight * self.scale, bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """Returns its input; takes and ignores any arguments."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Joins the axes from start_dim to end_dim; by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        return flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one axis into several. Keras: Reshape."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Any) -> Tensor:
        return unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
