"""Convolution and transposed convolution on tensors."""

from __future__ import annotations

from handloom import _C
from handloom._calls.convolve import Convolution, convolution, transposed
from handloom._calls.window import Padding, Sizes
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense
from handloom.ops.dense import CODES, NEEDS_Z, Activation, Fusable, fusable
from handloom.tensor import Array, Tensor

Gradients = tuple[Array | None, Array | None, Array | None]


class _Conv(Function):
    """What both directions share: the activation on top of a convolution."""

    __slots__ = ("act", "conv")
    fresh = True

    conv: Convolution
    act: tuple[int, float, float]

    @property
    def name(self) -> str:
        return self.conv.op

    def _finish(ctx, activation: Fusable | None) -> tuple[int, bool, float, float]:
        name, p0, p1 = activation or ("", 0.0, 0.0)
        code = CODES[name] if name else -1
        ctx.act = code, p0, p1
        return code, bool(ctx.need) and code in NEEDS_Z, p0, p1

    def _dz(ctx, dy: Array, saved: Array | None) -> Array:
        code, p0, p1 = ctx.act
        dy = dense(dy)
        if code < 0:
            return dy
        if code in NEEDS_Z:
            return _C.unary_backward(code, dy, saved, None, p0, p1)
        return _C.unary_backward(code, dy, None, saved, p0, p1)


class Conv(_Conv):
    """y = act(w ⋆ x + b), ⋆ the correlation over the spatial axes."""

    __slots__ = ()

    def forward(
        ctx, x: Array, w: Array, b: Array | None, conv: Convolution, activation: Fusable | None
    ) -> Array:
        x, w = dense(x), dense(w)
        ctx.conv = conv
        act = ctx._finish(activation)
        y = z = conv.forward(x, w, b, act)
        if act[1]:
            y, z = y
        if ctx.need:
            ctx.saved = (x, w) if act[0] < 0 else (x, w, z)
        return y

    def backward(ctx, dy: Array) -> Gradients:
        x, w, *saved = ctx.saved
        dz = ctx._dz(dy, saved[0] if saved else None)
        dw = db = None
        if ctx.need & 6:
            dw, db = ctx.conv.backward_weight(dz, x, w, bool(ctx.need & 2), bool(ctx.need & 4))
        return (ctx.conv.backward_data(dz, w) if ctx.need & 1 else None), dw, db


class ConvTranspose(_Conv):
    """y = act(wᵀ ⋆ x + b): the gradient of a convolution by its input, as a layer."""

    __slots__ = ()

    def forward(
        ctx, x: Array, w: Array, b: Array | None, conv: Convolution, activation: Fusable | None
    ) -> Array:
        x, w = dense(x), dense(w)
        ctx.conv = conv
        act = ctx._finish(activation)
        y = z = conv.backward_data(x, w, b, act, "x")
        if act[1]:
            y, z = y
        if ctx.need:
            ctx.saved = (x, w) if act[0] < 0 else (x, w, z)
        return y

    def backward(ctx, dy: Array) -> Gradients:
        x, w, *saved = ctx.saved
        dz = ctx._dz(dy, saved[0] if saved else None)
        dx = ctx.conv.forward(dz, w, None, (-1, False, 0.0, 0.0)) if ctx.need & 1 else None
        dw = ctx.conv.backward_weight(x, dz, w, True, False)[0] if ctx.need & 2 else None
        return dx, dw, _C.sum_to(dz, (dz.shape[-1],)) if ctx.need & 4 else None


def _conv(
    n: int,
    x: TensorLike,
    w: TensorLike,
    b: TensorLike | None,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
    padding_mode: str,
    activation: Activation,
) -> Tensor:
    c = convolution(
        f"conv{n}d", n, array_of(x), array_of(w), stride, padding, dilation, groups, padding_mode
    )
    out: Tensor = Conv().run((x, w, b), c, fusable(c.op, activation))
    return out


def _conv_transpose(
    n: int,
    x: TensorLike,
    w: TensorLike,
    b: TensorLike | None,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
    activation: Activation,
) -> Tensor:
    op = f"conv_transpose{n}d"
    c = transposed(
        op, n, array_of(x), array_of(w), stride, padding, output_padding, dilation, groups
    )
    out: Tensor = ConvTranspose().run((x, w, b), c, fusable(c.op, activation))
    return out


def conv1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: Activation = None,
) -> Tensor:
    """input (N, W, C), weight (O, kW, C/groups), bias (O,); see `kernels.conv1d`."""
    return _conv(
        1, input, weight, bias, stride, padding, dilation, groups, padding_mode, activation
    )


def conv2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: Activation = None,
) -> Tensor:
    """input (N, H, W, C), weight (O, kH, kW, C/groups), bias (O,); see `kernels.conv2d`."""
    return _conv(
        2, input, weight, bias, stride, padding, dilation, groups, padding_mode, activation
    )


def conv3d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    activation: Activation = None,
) -> Tensor:
    """input (N, D, H, W, C), weight (O, kD, kH, kW, C/groups), bias (O,); see `kernels.conv3d`."""
    return _conv(
        3, input, weight, bias, stride, padding, dilation, groups, padding_mode, activation
    )


def conv_transpose1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    activation: Activation = None,
) -> Tensor:
    """input (N, W, C), weight (C, kW, O/groups), bias (O,); see `kernels.conv_transpose1d`."""
    return _conv_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation, activation
    )


def conv_transpose2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    activation: Activation = None,
) -> Tensor:
    """input (N, H, W, C), weight (C, kH, kW, O/groups), bias (O,).

    See `kernels.conv_transpose2d`.
    """
    return _conv_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation, activation
    )


def conv_transpose3d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    activation: Activation = None,
) -> Tensor:
    """input (N, D, H, W, C), weight (C, kD, kH, kW, O/groups), bias (O,).

    See `kernels.conv_transpose3d`.
    """
    return _conv_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation, activation
    )
