"""Matrix products: matmul, the linear layer with its activation, einsum."""

from __future__ import annotations

from typing import Union

from handloom import _C
from handloom._calls.products import matmul_gradients
from handloom._tape import Function
from handloom.ops._common import TensorLike, dense
from handloom.tensor import Array, Tensor

_matmul = _C.matmul
_linear_forward = _C.linear_forward
_linear_backward = _C.linear_backward

# What a product can finish with while its result is in the cache: (name, two parameters).
Fusable = tuple[str, float, float]
Activation = Union[str, Fusable, None]  # noqa: UP007  evaluated at run time on Python 3.10
ACTIVATIONS = (
    "relu", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu", "mish", "leaky_relu", "elu", "selu",
    "softplus", "softsign", "hardtanh", "hardsigmoid", "hardswish", "relu6", "logsigmoid",
)  # fmt: skip
CODES = {name: _C.unary_ops[name] for name in ACTIVATIONS}
DEFAULTS = {name: _C.unary_defaults[name] for name in ACTIVATIONS}
NEEDS_Z = frozenset(CODES[name] for name in ACTIVATIONS if _C.unary_saves[name] == "x")


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
        return matmul_gradients(dy, a, b, bool(ctx.need & 1), bool(ctx.need & 2))


class Linear(Function):
    """y = x wᵀ + b over the last axis of x; x (…, I), w (O, I), b (O,)."""

    __slots__ = ()
    fresh = True

    def forward(ctx, x: Array, w: Array, b: Array | None) -> Array:
        try:
            if not (x.flags.c_contiguous and w.flags.c_contiguous):
                x, w = dense(x), dense(w)
        except AttributeError:
            pass  # no array: the kernel says so
        ctx.saved = (x, w)
        y: Array = _linear_forward(x, w, b)
        return y

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w = ctx.saved
        if not dy.flags.c_contiguous:
            dy = dense(dy)
        return _linear_backward(dy, x, w, None, -1, ctx.need)


class LinearAct(Function):
    """y = act(x wᵀ + b); saves z = x wᵀ + b for the activations that y does not determine."""

    __slots__ = ("act",)
    fresh = True

    @property
    def name(self) -> str:
        return "linear"

    def forward(ctx, x: Array, w: Array, b: Array | None, act: int, p0: float, p1: float) -> Array:
        try:
            if not (x.flags.c_contiguous and w.flags.c_contiguous):
                x, w = dense(x), dense(w)
        except AttributeError:
            pass  # no array: the kernel says so
        ctx.act = act, p0, p1
        y: Array
        if ctx.need and act in NEEDS_Z:
            y, z = _linear_forward(x, w, b, act, True, p0, p1)
            ctx.saved = (x, w, z)
        else:
            y = _linear_forward(x, w, b, act, False, p0, p1)
            ctx.saved = (x, w, y)
        return y

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w, saved = ctx.saved
        if not dy.flags.c_contiguous:
            dy = dense(dy)
        act, p0, p1 = ctx.act
        return _linear_backward(dy, x, w, saved, act, ctx.need, p0, p1)


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """a @ b with NumPy's rules: vectors, matrices, broadcast batches of matrices."""
    out: Tensor = Matmul().run((a, b))
    return out


def linear(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    activation: Activation = None,
) -> Tensor:
    """act(x wᵀ + b): x (…, I), w (O, I), b (O,) → (…, O). Keras' Dense, with w transposed.

    Raises:
        ValueError: Shapes that do not fit, or an activation that cannot be fused.
    """
    act = fusable("linear", activation)
    if act is None:
        out: Tensor = Linear().run((input, weight, bias))
    else:
        out = LinearAct().run((input, weight, bias), CODES[act[0]], act[1], act[2])
    return out


def fusable(op: str, activation: Activation) -> Fusable | None:
    """An activation by name, with its default parameters; those that are given stay."""
    if not isinstance(activation, str):
        return activation
    try:
        return activation, *DEFAULTS[activation]
    except KeyError:
        names = ", ".join(ACTIVATIONS)
        raise ValueError(
            f"{op}: activation {activation!r} is unknown, expected one of {names}"
        ) from None
