"""One number in, one number out: the mathematics is in `csrc/ops/elementwise.h`.

Every function takes float32 or float64 tensors (or arrays) of any shape and strides. `inplace` is
PyTorch's argument and changes nothing: results are new, from a pool of memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handloom import _C
from handloom._device_array import by_numpy
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of
from handloom.tensor import FLOATS, Array, Tensor, wrap

_OP = _C.unary_ops
_NAMES = {code: name for name, code in _OP.items()}
_SAVES_X = frozenset(_OP[name] for name, what in _C.unary_saves.items() if what == "x")
_SAVES_Y = frozenset(_OP[name] for name, what in _C.unary_saves.items() if what == "y")
_forward = _C.unary_forward
_backward = _C.unary_backward


class Unary(Function):
    """y = f(x); dx = dy·f'(x), from x or from y, whichever is cheaper."""

    __slots__ = ("op", "p0", "p1")
    fresh = True

    op: int
    p0: float
    p1: float

    @property
    def name(self) -> str:
        return _NAMES[self.op]

    def forward(ctx, x: Array, op: int, p0: float, p1: float) -> Array:
        y: Array = _forward(op, x, p0, p1, None)
        ctx.op = op
        if ctx.need:
            ctx.p0 = p0
            ctx.p1 = p1
            if op in _SAVES_Y:
                ctx.saved = (y,)
            elif op in _SAVES_X:
                ctx.saved = (x,)
        return y

    def backward(ctx, dy: Array) -> Array:
        op = ctx.op
        if not ctx.saved:
            return _backward(op, dy, None, None, ctx.p0, ctx.p1)
        if op in _SAVES_Y:
            return _backward(op, dy, None, ctx.saved[0], ctx.p0, ctx.p1)
        return _backward(op, dy, ctx.saved[0], None, ctx.p0, ctx.p1)


class Clamp(Function):
    """y = min(max(x, low), high); the gradient passes where x was kept, bounds included."""

    __slots__ = ()
    fresh = True

    def forward(ctx, x: Array, low: float, high: float) -> Array:
        y: Array = _forward(_HARDTANH, x, low, high, None)
        ctx.saved = (x, y)
        return y

    def backward(ctx, dy: Array) -> Array:
        x, y = ctx.saved
        kept = _C.compare(_C.compare_ops["eq"], x, y)
        dx, _ = _C.where_backward(dy, kept, dy.shape, None)
        assert dx is not None
        return dx


_HARDTANH = _OP["hardtanh"]
_INF = float("inf")


def clamp(x: TensorLike, min: float | None = None, max: float | None = None) -> Tensor:
    """Limits values to [min, max]; None is no limit. NumPy's `clip`.

    Integers limited by integers stay what they are, by a float they become float32.

    Raises:
        ValueError: Neither bound is given, or min is above max.
    """
    if min is None and max is None:
        raise ValueError("clamp: expects min, max or both, got neither")
    a = array_of(x)
    if a.dtype.kind in "iu" and not (isinstance(min, float) or isinstance(max, float)):
        if min is not None and max is not None and min > max:
            raise ValueError(f"clamp: min = {min} is not at most max = {max}")
        return wrap(by_numpy(np.clip, a, min, max))
    if a.dtype.kind in "biu":
        x = a.astype(FLOATS[0])
    low = -_INF if min is None else float(min)
    high = _INF if max is None else float(max)
    if not low <= high:
        raise ValueError(f"clamp: min = {low} is not at most max = {high}")
    out: Tensor = Clamp().run1(x, low, high)
    return out


def heaviside(x: TensorLike, value: float = 0.0) -> Tensor:
    """1 where x > 0, `value` at 0, else 0: the perceptron's step. It has no gradient."""
    return wrap(_forward(_OP["heaviside"], array_of(x), float(value), 0.0, None))


def _plain(name: str, doc: str, p0: float = 0.0, p1: float = 0.0) -> Callable[[TensorLike], Tensor]:
    """A function of x alone."""
    op = _OP[name]

    def function(input: TensorLike) -> Tensor:
        out: Tensor = Unary().run1(input, op, p0, p1)
        return out

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def _activation(name: str, doc: str) -> Callable[..., Tensor]:
    """As `_plain`, with PyTorch's `inplace`, which changes nothing: the result is a new tensor."""
    op = _OP[name]

    def function(input: TensorLike, inplace: bool = False) -> Tensor:
        out: Tensor = Unary().run1(input, op, 0.0, 0.0)
        return out

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


exp = _plain("exp", "eˣ.")
log = _plain("log", "Natural logarithm; −inf at 0, NaN below.")
log1p = _plain("log1p", "log(1 + x), exact near 0.")
expm1 = _plain("expm1", "eˣ − 1, exact near 0.")
sqrt = _plain("sqrt", "Square root; NaN below 0.")
rsqrt = _plain("rsqrt", "1/√x.")
square = _plain("square", "x².")
reciprocal = _plain("reciprocal", "1/x.")
sign = _plain("sign", "−1, 0 or 1; its gradient is 0.")
floor = _plain("floor", "The largest integer ≤ x; its gradient is 0.")
sin = _plain("sin", "Sine.")
cos = _plain("cos", "Cosine.")
erf = _plain("erf", "Error function, 2/√π ∫₀ˣ exp(−t²) dt.")
tanh = _plain("tanh", "Hyperbolic tangent.")
sigmoid = _plain("sigmoid", "1/(1 + e⁻ˣ).")
relu = _activation("relu", "max(x, 0); the gradient at 0 is 0.")
selu = _activation("selu", "λ·x for x > 0, λα(eˣ − 1) below (Klambauer et al., 2017).")
silu = _activation("silu", "x·sigmoid(x) (Elfwing et al., 2018; also Swish).")
mish = _activation("mish", "x·tanh(softplus(x)) (Misra, 2019).")
softsign = _plain("softsign", "x/(1 + |x|).")
hardsigmoid = _activation("hardsigmoid", "x/6 + 1/2, limited to [0, 1].")
hardswish = _activation("hardswish", "x·hardsigmoid(x) (Howard et al., 2019).")
relu6 = _activation("relu6", "x limited to [0, 6].")
logsigmoid = _plain("logsigmoid", "log(sigmoid(x)), without overflow.")
_gelu_erf = _plain("gelu", "x·Φ(x) (Hendrycks & Gimpel, 2016).")
_gelu_tanh = _plain("gelu_tanh", "GELU through tanh.")


def gelu(input: TensorLike, approximate: str = "none") -> Tensor:
    """x·Φ(x) (Hendrycks & Gimpel, 2016); `approximate="tanh"` is the form of GPT-2.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    if approximate == "none":
        return _gelu_erf(input)
    if approximate == "tanh":
        return _gelu_tanh(input)
    raise ValueError(f"gelu: approximate={approximate!r}, expected 'none' or 'tanh'")


def leaky_relu(input: TensorLike, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x for x > 0, negative_slope·x below. Keras' default slope is 0.3."""
    out: Tensor = Unary().run1(input, _OP["leaky_relu"], float(negative_slope), 0.0)
    return out


def elu(input: TensorLike, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x for x > 0, α(eˣ − 1) below (Clevert et al., 2015)."""
    out: Tensor = Unary().run1(input, _OP["elu"], float(alpha), 0.0)
    return out


def softplus(input: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(βx))/β; x itself where βx > threshold."""
    if beta == 0:
        raise ValueError("softplus: beta is 0, expected another number")
    out: Tensor = Unary().run1(input, _OP["softplus"], float(beta), float(threshold))
    return out


def hardtanh(
    input: TensorLike, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x limited to [min_val, max_val]; the gradient at the limits is 0."""
    if not min_val <= max_val:
        raise ValueError(f"hardtanh: min_val {min_val} is above max_val {max_val}")
    out: Tensor = Unary().run1(input, _HARDTANH, float(min_val), float(max_val))
    return out
