"""Activation functions, with their derivatives.

Conventions, dtypes, ``out=`` and errors are those of :mod:`handloom.kernels.elementwise`: each is
elementwise on a float32 or float64 array of any shape and strides, and ``<name>_backward(dy, x, *,
y=None)`` returns ``dx``. Where the derivative follows from y alone (relu, relu6, hardtanh, selu,
sigmoid, tanh) ``x`` may be None if ``y`` is given. Names and defaults are PyTorch's.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C
from ._options import need_mask

Array = npt.NDArray[Any]

_ELU = _C.unary_ops["elu"]
_HARDSIGMOID = _C.unary_ops["hardsigmoid"]
_HARDSWISH = _C.unary_ops["hardswish"]
_HARDTANH = _C.unary_ops["hardtanh"]
_LEAKY_RELU = _C.unary_ops["leaky_relu"]
_LOGSIGMOID = _C.unary_ops["logsigmoid"]
_MISH = _C.unary_ops["mish"]
_RELU = _C.unary_ops["relu"]
_RELU6 = _C.unary_ops["relu6"]
_SELU = _C.unary_ops["selu"]
_SIGMOID = _C.unary_ops["sigmoid"]
_SILU = _C.unary_ops["silu"]
_SOFTPLUS = _C.unary_ops["softplus"]
_SOFTSIGN = _C.unary_ops["softsign"]
_TANH = _C.unary_ops["tanh"]
_GELU = _C.unary_ops["gelu"]
_GELU_TANH = _C.unary_ops["gelu_tanh"]
_HEAVISIDE = _C.unary_ops["heaviside"]
_PRELU = _C.binary_ops["prelu"]


def elu(x: Array, alpha: float = 1.0, *, out: Array | None = None) -> Array:
    """``x > 0 ? x : alpha (eˣ - 1)`` (Clevert et al. 2015)."""
    return _C.unary_forward(_ELU, x, alpha, 0.0, out)


def elu_backward(
    dy: Array, x: Array | None, alpha: float = 1.0, *, y: Array | None = None
) -> Array:
    """Gradient of :func:`elu`."""
    return _C.unary_backward(_ELU, dy, x, y, alpha)


def hardsigmoid(x: Array, *, out: Array | None = None) -> Array:
    """``clip(x / 6 + 1/2, 0, 1)``. Keras: ``hard_sigmoid``."""
    return _C.unary_forward(_HARDSIGMOID, x, 0.0, 0.0, out)


def hardsigmoid_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`hardsigmoid`."""
    return _C.unary_backward(_HARDSIGMOID, dy, x, y)


def hardswish(x: Array, *, out: Array | None = None) -> Array:
    """``x · clip(x / 6 + 1/2, 0, 1)`` (Howard et al. 2019). Keras: ``hard_silu``."""
    return _C.unary_forward(_HARDSWISH, x, 0.0, 0.0, out)


def hardswish_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`hardswish`."""
    return _C.unary_backward(_HARDSWISH, dy, x, y)


def hardtanh(
    x: Array, min_val: float = -1.0, max_val: float = 1.0, *, out: Array | None = None
) -> Array:
    """``clip(x, min_val, max_val)``; gradient 0 at both ends. Keras: ``hard_tanh``."""
    return _C.unary_forward(_HARDTANH, x, min_val, max_val, out)


def hardtanh_backward(
    dy: Array,
    x: Array | None,
    min_val: float = -1.0,
    max_val: float = 1.0,
    *,
    y: Array | None = None,
) -> Array:
    """Gradient of :func:`hardtanh`."""
    return _C.unary_backward(_HARDTANH, dy, x, y, min_val, max_val)


def leaky_relu(x: Array, negative_slope: float = 0.01, *, out: Array | None = None) -> Array:
    """``x > 0 ? x : negative_slope · x`` (Maas et al. 2013)."""
    return _C.unary_forward(_LEAKY_RELU, x, negative_slope, 0.0, out)


def leaky_relu_backward(
    dy: Array, x: Array | None, negative_slope: float = 0.01, *, y: Array | None = None
) -> Array:
    """Gradient of :func:`leaky_relu`."""
    return _C.unary_backward(_LEAKY_RELU, dy, x, y, negative_slope)


def logsigmoid(x: Array, *, out: Array | None = None) -> Array:
    """``-log(1 + e⁻ˣ)`` without overflow. Keras: ``log_sigmoid``."""
    return _C.unary_forward(_LOGSIGMOID, x, 0.0, 0.0, out)


def logsigmoid_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`logsigmoid`."""
    return _C.unary_backward(_LOGSIGMOID, dy, x, y)


def mish(x: Array, *, out: Array | None = None) -> Array:
    """``x · tanh(log(1 + eˣ))`` (Misra 2019)."""
    return _C.unary_forward(_MISH, x, 0.0, 0.0, out)


def mish_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`mish`."""
    return _C.unary_backward(_MISH, dy, x, y)


def relu(x: Array, *, out: Array | None = None) -> Array:
    """``max(x, 0)``; gradient 0 at 0."""
    return _C.unary_forward(_RELU, x, 0.0, 0.0, out)


def relu_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`relu`."""
    return _C.unary_backward(_RELU, dy, x, y)


def relu6(x: Array, *, out: Array | None = None) -> Array:
    """``clip(x, 0, 6)``; gradient 0 at both ends."""
    return _C.unary_forward(_RELU6, x, 0.0, 0.0, out)


def relu6_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`relu6`."""
    return _C.unary_backward(_RELU6, dy, x, y)


def selu(x: Array, *, out: Array | None = None) -> Array:
    """``λ · elu(x, α)``, λ and α such that mean 0 and variance 1 last (Klambauer et al. 2017)."""
    return _C.unary_forward(_SELU, x, 0.0, 0.0, out)


def selu_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`selu`."""
    return _C.unary_backward(_SELU, dy, x, y)


def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """``1 / (1 + e⁻ˣ)``."""
    return _C.unary_forward(_SIGMOID, x, 0.0, 0.0, out)


def sigmoid_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`sigmoid`."""
    return _C.unary_backward(_SIGMOID, dy, x, y)


def silu(x: Array, *, out: Array | None = None) -> Array:
    """``x · sigmoid(x)``, also called swish (Ramachandran et al. 2017)."""
    return _C.unary_forward(_SILU, x, 0.0, 0.0, out)


def silu_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`silu`."""
    return _C.unary_backward(_SILU, dy, x, y)


def softplus(
    x: Array, beta: float = 1.0, threshold: float = 20.0, *, out: Array | None = None
) -> Array:
    """``log(1 + e^(beta x)) / beta``, and x itself where ``beta x > threshold``."""
    return _C.unary_forward(_SOFTPLUS, x, beta, threshold, out)


def softplus_backward(
    dy: Array,
    x: Array | None,
    beta: float = 1.0,
    threshold: float = 20.0,
    *,
    y: Array | None = None,
) -> Array:
    """Gradient of :func:`softplus`."""
    return _C.unary_backward(_SOFTPLUS, dy, x, y, beta, threshold)


def softsign(x: Array, *, out: Array | None = None) -> Array:
    """``x / (1 + |x|)``."""
    return _C.unary_forward(_SOFTSIGN, x, 0.0, 0.0, out)


def softsign_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`softsign`."""
    return _C.unary_backward(_SOFTSIGN, dy, x, y)


def tanh(x: Array, *, out: Array | None = None) -> Array:
    """Hyperbolic tangent."""
    return _C.unary_forward(_TANH, x, 0.0, 0.0, out)


def tanh_backward(dy: Array, x: Array | None, *, y: Array | None = None) -> Array:
    """Gradient of :func:`tanh`."""
    return _C.unary_backward(_TANH, dy, x, y)


def gelu(x: Array, *, approximate: str = "none", out: Array | None = None) -> Array:
    """``x · Φ(x)``, Φ the integral of the normal distribution (Hendrycks and Gimpel 2016).

    Args:
        x: Any shape.
        approximate: ``"none"`` for Φ itself, to a few units of the last place even far to the left;
            ``"tanh"`` for ``x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``.
        out: Where the result goes; may be ``x``.
    """
    return _C.unary_forward(_gelu_op("gelu", approximate), x, 0.0, 0.0, out)


def gelu_backward(
    dy: Array, x: Array, *, approximate: str = "none", y: Array | None = None
) -> Array:
    """Gradient of :func:`gelu`."""
    return _C.unary_backward(_gelu_op("gelu_backward", approximate), dy, x, y)


def _gelu_op(op: str, approximate: str) -> int:
    if approximate == "none":
        return _GELU
    if approximate == "tanh":
        return _GELU_TANH
    raise ValueError(f"{op}: approximate is {approximate!r}, choose from 'none', 'tanh'")


def heaviside(x: Array, value: float = 1.0, *, out: Array | None = None) -> Array:
    """Step: 0 below 0, ``value`` at 0, 1 above; NaN stays NaN. It has no useful gradient."""
    return _C.unary_forward(_HEAVISIDE, x, value, 0.0, out)


def prelu(x: Array, weight: Array | float, *, out: Array | None = None) -> Array:
    """``x > 0 ? x : weight · x`` (He et al. 2015).

    Args:
        x: ``(..., C)``.
        weight: Slopes, ``(C,)`` or any shape that broadcasts with x, or a number.
        out: Where the result goes; may be ``x``.
    """
    return _C.binary_forward(_PRELU, x, weight, out)


def prelu_backward(
    dy: Array,
    x: Array,
    weight: Array | float,
    *,
    need: tuple[str, ...] = ("x", "weight"),
) -> tuple[Array | None, Array | None]:
    """Gradients ``(dx, dweight)`` of :func:`prelu`, None where not in ``need``."""
    mask = need_mask("prelu_backward", need, ("x", "weight"))
    return _C.binary_backward(_PRELU, dy, x, weight, None, mask)
