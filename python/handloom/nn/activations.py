"""Activations as modules; the mathematics is in `handloom.ops.elementwise` and `.softmax`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from handloom import ops
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.ops.dense import Fusable
from handloom.tensor import Tensor


class _Plain(Module):
    """An activation without options."""

    function: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "function" in cls.__dict__:  # not a user's subclass, which may compute something else
            cls._fusable = (cls.function.__name__, 0.0, 0.0)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        # PyTorch's argument; our kernels write to pooled memory, there is nothing to win.

    def forward(self, x: Any) -> Tensor:
        return type(self).function(x)


class Sigmoid(_Plain):
    """1/(1 + e⁻ˣ)."""

    function = staticmethod(ops.sigmoid)


class Tanh(_Plain):
    """Hyperbolic tangent."""

    function = staticmethod(ops.tanh)


class ReLU(_Plain):
    """max(x, 0)."""

    function = staticmethod(ops.relu)


class ReLU6(_Plain):
    """x limited to [0, 6]."""

    function = staticmethod(ops.relu6)


class SELU(_Plain):
    """λ·x for x > 0, λα(eˣ − 1) below."""

    function = staticmethod(ops.selu)


class SiLU(_Plain):
    """x·sigmoid(x); also Swish."""

    function = staticmethod(ops.silu)


class Mish(_Plain):
    """x·tanh(softplus(x))."""

    function = staticmethod(ops.mish)


class Softsign(_Plain):
    """x/(1 + |x|)."""

    function = staticmethod(ops.softsign)


class Hardsigmoid(_Plain):
    """x/6 + 1/2, limited to [0, 1]."""

    function = staticmethod(ops.hardsigmoid)


class Hardswish(_Plain):
    """x·hardsigmoid(x)."""

    function = staticmethod(ops.hardswish)


class LogSigmoid(_Plain):
    """log(sigmoid(x))."""

    function = staticmethod(ops.logsigmoid)


class LeakyReLU(Module):
    """x for x > 0, negative_slope·x below. Keras' default slope is 0.3."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    @property
    def _fusable(self) -> Fusable:  # type: ignore[override]
        return "leaky_relu", self.negative_slope, 0.0

    def forward(self, x: Any) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x for x > 0, α(eˣ − 1) below."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    @property
    def _fusable(self) -> Fusable:  # type: ignore[override]
        return "elu", self.alpha, 0.0

    def forward(self, x: Any) -> Tensor:
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x·Φ(x); approximate="tanh" for the form of GPT-2."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate={approximate!r}, expected 'none' or 'tanh'")
        self.approximate = approximate

    @property
    def _fusable(self) -> Fusable:  # type: ignore[override]
        return "gelu" if self.approximate == "none" else "gelu_tanh", 0.0, 0.0

    def forward(self, x: Any) -> Tensor:
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + exp(βx))/β; x where βx > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    @property
    def _fusable(self) -> Fusable:  # type: ignore[override]
        return "softplus", self.beta, self.threshold

    def forward(self, x: Any) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """x limited to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val {min_val} is not below max_val {max_val}")
        self.min_val = min_val
        self.max_val = max_val

    @property
    def _fusable(self) -> Fusable:  # type: ignore[override]
        return "hardtanh", self.min_val, self.max_val

    def forward(self, x: Any) -> Tensor:
        return ops.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class PReLU(Module):
    """x for x > 0, weight·x below; one learned slope, or one for each feature (last axis)."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Any) -> Tensor:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class _AlongAxis(Module):
    """A function along one axis."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return type(self).function(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """exp(x)/Σexp(x) along dim, the last by default."""

    function = staticmethod(ops.softmax)


class LogSoftmax(_AlongAxis):
    """log(softmax(x)) along dim, the last by default."""

    function = staticmethod(ops.log_softmax)


class GLU(_AlongAxis):
    """a·sigmoid(b) for the halves of x along dim, the last by default."""

    function = staticmethod(ops.glu)


class SwiGLU(Module):
    """silu(a)·b for the halves of x along dim. Shazeer (2020)."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        a, b = ops.chunk(x, 2, self.dim)
        return ops.silu(a) * b

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Heaviside(Module):
    """1 where x > 0, `value` at 0, else 0: the perceptron's step, without a gradient."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Any) -> Tensor:
        return ops.heaviside(x, self.value)

    def extra_repr(self) -> str:
        return f"value={self.value}"
