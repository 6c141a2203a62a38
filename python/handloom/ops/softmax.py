"""Softmax, log-softmax and the gated linear unit, along one axis."""

from __future__ import annotations

from handloom import _C
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, axis_of, dense
from handloom.tensor import Array, Tensor


class Softmax(Function):
    """y = exp(x)/Σexp(x), or its logarithm; backward needs y alone."""

    __slots__ = ("axis", "log")
    fresh = True

    def forward(ctx, x: Array, axis: int, log: bool) -> Array:
        y: Array = _C.softmax_forward(dense(x), axis, log)
        ctx.axis, ctx.log, ctx.saved = axis, log, (y,)
        return y

    def backward(ctx, dy: Array) -> Array:
        return _C.softmax_backward(dense(dy), ctx.saved[0], ctx.axis, ctx.log)


class Glu(Function):
    """y = a·sigmoid(b), where a and b are the halves of x along the axis."""

    __slots__ = ("axis",)
    fresh = True

    def forward(ctx, x: Array, axis: int) -> Array:
        x = dense(x)
        ctx.axis, ctx.saved = axis, (x,)
        return _C.glu_forward(x, axis)

    def backward(ctx, dy: Array) -> Array:
        return _C.glu_backward(dense(dy), ctx.saved[0], ctx.axis)


def softmax(input: TensorLike, dim: int = -1) -> Tensor:
    """exp(x)/Σexp(x) along dim: probabilities that sum to 1."""
    out: Tensor = Softmax().run1(input, axis_of(dim, array_of(input).ndim, "softmax"), False)
    return out


def log_softmax(input: TensorLike, dim: int = -1) -> Tensor:
    """log(softmax(x)) along dim, without overflow or underflow."""
    out: Tensor = Softmax().run1(input, axis_of(dim, array_of(input).ndim, "log_softmax"), True)
    return out


def glu(input: TensorLike, dim: int = -1) -> Tensor:
    """a·sigmoid(b) for the halves a, b of x along dim (Dauphin et al., 2017).

    Raises:
        ValueError: That axis has an odd size.
    """
    a = array_of(input)
    axis = axis_of(dim, a.ndim, "glu")
    if a.ndim == 0 or a.shape[axis] % 2:
        raise ValueError(f"glu: x has shape {a.shape}, expected an even size at dim {dim}")
    out: Tensor = Glu().run1(input, axis)
    return out
