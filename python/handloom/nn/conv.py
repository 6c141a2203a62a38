"""Convolutional layers; the mathematics is in `handloom.kernels.conv`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from handloom import ops
from handloom._calls.window import Padding, Sizes, pad_pairs, per_axis
from handloom.nn import init
from handloom.nn.module import Module
from handloom.nn.parameter import Parameter
from handloom.ops.dense import Activation, Fusable, fusable
from handloom.tensor import DTypeLike, Tensor, as_dtype


class _ConvBase(Module):
    """Weights, their start, and the activation that a convolution can finish with.

    Weights start uniform in ±1/√fan_in (PyTorch's; Keras: Glorot and zero bias).
    """

    weight: Parameter
    bias: Parameter | None
    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        dilation: Sizes,
        groups: int,
        bias: bool,
        activation: str | None,
        dtype: DTypeLike,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.axes
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels < 1:
                raise ValueError(f"{name}: {what} is {channels}, expected at least 1")
            if groups < 1 or channels % groups:
                raise ValueError(f"{name}: groups is {groups}, which must divide {what} {channels}")
        fusable(name, activation)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, n)
        self.stride = per_axis(name, "stride", stride, n)
        self.dilation = per_axis(name, "dilation", dilation, n)
        self.groups = groups
        self.activation = activation
        kind = as_dtype(np.float32 if dtype is None else dtype, name)
        self.weight = Parameter(np.empty(self._weight_shape(), kind))
        self.bias = Parameter(np.empty(out_channels, kind)) if bias else None
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _run(self, x: Any, activation: Activation) -> Tensor:
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draws weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        return self._run(x, self.activation)

    @property
    def _fuses(self) -> bool:
        return self.activation is None

    def _forward_fused(self, x: Any, activation: Fusable) -> Tensor:
        return self._run(x, activation)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name in ("padding", "output_padding", "dilation", "groups", "padding_mode"):
            value = getattr(self, name, None)
            plain = {"dilation": (1,) * self.axes, "groups": 1, "padding_mode": "zeros"}
            if value is not None and value not in (0, (0,) * self.axes, plain.get(name)):
                text += f", {name}={value!r}"
        text += "" if self.bias is not None else ", bias=False"
        return text + (f", activation={self.activation!r}" if self.activation else "")


class _Conv(_ConvBase):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        activation: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, dilation, groups, bias, activation,
            dtype,
        )  # fmt: skip
        # Unknown names and forms are told here; what depends on the input's size, by the call.
        pad_pairs(
            type(self).__name__, padding, self.kernel_size, self.kernel_size, self.stride,
            self.dilation,
        )  # fmt: skip
        self.padding = padding
        self.padding_mode = padding_mode

    def _weight_shape(self) -> tuple[int, ...]:
        return self.out_channels, *self.kernel_size, self.in_channels // self.groups

    def _run(self, x: Any, activation: Activation) -> Tensor:
        return type(self).function(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            self.padding_mode, activation,
        )  # fmt: skip


class _ConvTranspose(_ConvBase):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        activation: str | None = None,
        dtype: DTypeLike = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f"{type(self).__name__}: padding_mode is {padding_mode!r}, expected 'zeros': a "
                "transposed convolution's padding is cut off its result"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, dilation, groups, bias, activation,
            dtype,
        )  # fmt: skip
        self.padding = padding
        self.output_padding = output_padding

    def _weight_shape(self) -> tuple[int, ...]:
        return self.in_channels, *self.kernel_size, self.out_channels // self.groups

    def _run(self, x: Any, activation: Activation) -> Tensor:
        return type(self).function(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups,
            self.dilation, activation,
        )  # fmt: skip


class Conv1d(_Conv):
    """Convolution of (N, W, C). Keras: Conv1D.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: An int, or one per axis.
        stride: An int, or one per axis.
        padding: An int, one per axis, a (before, after) pair per axis, or "valid", "same", "full",
            "causal".
        dilation: Distance between taps.
        groups: Groups of channels that do not see each other.
        bias: Whether there is b.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        activation: Computed together with the convolution, e.g. "relu"; PyTorch has no such
            argument.
        dtype: float32 or float64.

    Attributes:
        weight: (O, kW, C/groups).
        bias: (O,), or None.
    """

    axes = 1
    function = staticmethod(ops.conv1d)


class Conv2d(_Conv):
    """Convolution of (N, H, W, C). Keras: Conv2D.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: An int, or one per axis.
        stride: An int, or one per axis.
        padding: An int, one per axis, a (before, after) pair per axis, or "valid", "same", "full".
        dilation: Distance between taps.
        groups: Groups of channels that do not see each other.
        bias: Whether there is b.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        activation: Computed together with the convolution, e.g. "relu"; PyTorch has no such
            argument.
        dtype: float32 or float64.

    Attributes:
        weight: (O, kH, kW, C/groups).
        bias: (O,), or None.
    """

    axes = 2
    function = staticmethod(ops.conv2d)


class Conv3d(_Conv):
    """Convolution of (N, D, H, W, C). Keras: Conv3D.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: An int, or one per axis.
        stride: An int, or one per axis.
        padding: An int, one per axis, a (before, after) pair per axis, or "valid", "same", "full".
        dilation: Distance between taps.
        groups: Groups of channels that do not see each other.
        bias: Whether there is b.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        activation: Computed together with the convolution, e.g. "relu"; PyTorch has no such
            argument.
        dtype: float32 or float64.

    Attributes:
        weight: (O, kD, kH, kW, C/groups).
        bias: (O,), or None.
    """

    axes = 3
    function = staticmethod(ops.conv3d)


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of (N, W, C). Keras: Conv1DTranspose.

    Arguments as in `Conv1d`, but padding_mode is "zeros"; output_padding makes the result longer at
    its end.

    Attributes:
        weight: (C, kW, O/groups).
        bias: (O,), or None.
    """

    axes = 1
    function = staticmethod(ops.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution of (N, H, W, C). Keras: Conv2DTranspose.

    Arguments as in `Conv2d`, but padding_mode is "zeros"; output_padding makes the result longer at
    its end.

    Attributes:
        weight: (C, kH, kW, O/groups).
        bias: (O,), or None.
    """

    axes = 2
    function = staticmethod(ops.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of (N, D, H, W, C). Keras: Conv3DTranspose.

    Arguments as in `Conv3d`, but padding_mode is "zeros"; output_padding makes the result longer at
    its end.

    Attributes:
        weight: (C, kD, kH, kW, O/groups).
        bias: (O,), or None.
    """

    axes = 3
    function = staticmethod(ops.conv_transpose3d)
