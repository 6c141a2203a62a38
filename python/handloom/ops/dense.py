"""Matrix products: matmul, the linear layer with its activation, einsum."""

from __future__ import annotations

from typing import Any

from handloom import _C
from handloom._tape import Function
from handloom.ops._common import TensorLike, dense
from handloom.tensor import Array, Tensor

_matmul = _C.matmul
_linear_forward = _C.linear_forward
_linear_backward = _C.linear_backward

ACTIVATIONS = _C.activations
_NO_ACTIVATION = ACTIVATIONS.get("none", ACTIVATIONS.get("identity", 0))
_NEEDS_Z = frozenset(
    code for name, code in ACTIVATIONS.items() if _C.unary_saves.get(name, "y") == "x"
)


class Matmul(Function):
    """y = a @ b; da = dy @ bᵀ, db = aᵀ @ dy, summed over the batch axes that were broadcast."""

    __slots__ = ()
    fresh = True

    def forward(ctx, a: Array, b: Array) -> Array:
        if ctx.need:
            ctx.saved = (a, b)
        return _matmul(a, b)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.saved
        # A vector is a matrix with one row (left) or one column (right).
        if a.ndim == 1:
            dy = dy[..., None, :] if b.ndim > 1 else dy[None]
        if b.ndim == 1:
            dy = dy[..., None]
        a2 = a[None, :] if a.ndim == 1 else a
        b2 = b[:, None] if b.ndim == 1 else b
        da = db = None
        if ctx.need & 1:
            da = _summed(_matmul(dy, b2.swapaxes(-1, -2)), a2.shape).reshape(a.shape)
        if ctx.need & 2:
            db = _summed(_matmul(a2.swapaxes(-1, -2), dy), b2.shape).reshape(b.shape)
        return da, db


class Linear(Function):
    """y = act(x wᵀ + b) over the last axis of x; x (…, I), w (O, I), b (O,)."""

    __slots__ = ("act",)
    fresh = True

    def forward(ctx, x: Array, w: Array, b: Array | None, act: int) -> Array:
        ctx.act = act
        if not ctx.need or act == _NO_ACTIVATION:
            ctx.saved = (x, w)
            return _linear_forward(x, w, b, act, False)
        if act in _NEEDS_Z:
            y, z = _linear_forward(x, w, b, act, True)
            ctx.saved = (x, w, z)
        else:
            y = _linear_forward(x, w, b, act, False)
            ctx.saved = (x, w, y)
        return y

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        saved = ctx.saved
        return _linear_backward(
            dense(dy), saved[0], saved[1], saved[2] if len(saved) == 3 else None, ctx.act, ctx.need
        )


def _summed(g: Array, shape: tuple[int, ...]) -> Array:
    return g if g.shape == shape else _C.sum_to(g, shape)


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """a @ b with NumPy's rules: vectors, matrices, broadcast batches of matrices."""
    out: Tensor = Matmul().run(a, b)
    return out


def linear(
    x: TensorLike, w: TensorLike, b: TensorLike | None = None, activation: str | None = None
) -> Tensor:
    """act(x wᵀ + b): x (…, I), w (O, I), b (O,) → (…, O). Keras' Dense, with w transposed.

    Raises:
        ValueError: Shapes that do not fit, or an activation that cannot be fused.
    """
    if activation is None:
        out: Tensor = Linear().run(x, w, b, _NO_ACTIVATION)
        return out
    try:
        act = ACTIVATIONS[activation]
    except KeyError:
        names = ", ".join(ACTIVATIONS)
        raise ValueError(
            f"linear: activation {activation!r} is unknown, expected one of {names}"
        ) from None
    out = Linear().run(x, w, b, act)
    return out


def outer(a: TensorLike, b: TensorLike) -> Any:
    """The matrix a[i]·b[j] of two vectors."""
    from handloom.ops.arithmetic import mul
    from handloom.ops.layout import unsqueeze

    return mul(unsqueeze(a, 1), unsqueeze(b, 0))
