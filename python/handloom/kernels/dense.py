"""Matrix products and fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import _C
from .._calls.packed import PackedWeight, unpacked
from .._calls.products import matmul_gradients
from ._options import need_mask, require_arrays

Array = npt.NDArray[Any]


def matmul(
    a: Array, b: Array, *, out: Array | None = None, alpha: float = 1.0, beta: float = 0.0
) -> Array:
    """Matrix product ``alpha * a @ b + beta * out``.

    Any strides are welcome, so that a transposed view costs no copy. Batch axes broadcast and a
    vector is a row on the left and a column on the right, as in :func:`numpy.matmul`.

    Args:
        a: ``(..., M, K)`` or ``(K,)``, float32 or float64.
        b: ``(..., K, N)`` or ``(K,)``, the same dtype.
        out: Where the result goes, ``(..., M, N)``; read as well where ``beta`` is not 0.
        alpha: Factor of the product.
        beta: Factor of what ``out`` held before.

    Returns:
        ``(..., M, N)``: ``out`` if given, else a new array.

    Raises:
        TypeError: Not arrays, not float32 or float64, or two different dtypes.
        ValueError: Shapes that do not match, or an ``out`` that is read-only, misshapen or
            overlaps an operand.
    """
    return _C.matmul(a, b, out, alpha, beta)


def matmul_backward(
    dy: Array, a: Array, b: Array, *, need: tuple[str, ...] = ("a", "b")
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`matmul`: ``da = dy @ bᵀ`` and ``db = aᵀ @ dy``.

    Summed over the batch axes along which an operand was broadcast.

    Args:
        dy: Of the product's shape.
        a, b: As given to :func:`matmul`.
        need: Which gradients to compute.

    Returns:
        ``(da, db)``, None for what was not wanted.

    Raises:
        TypeError: Not arrays, or another dtype.
        ValueError: Shapes that do not go together.
    """
    name = "matmul_backward"
    mask = need_mask(name, need, ("a", "b"))
    require_arrays(name, dy=dy, a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"{name}: a has shape {a.shape} and b {b.shape}, expected vectors at least"
        )
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.ndim > 1 else ()
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        inner = -1
        batch = ()
    if a.shape[-1] != inner:
        raise ValueError(f"{name}: a has shape {a.shape} and b {b.shape}, which do not match")
    if dy.shape != (*batch, *rows, *columns):
        raise ValueError(f"{name}: dy has shape {dy.shape}, expected {(*batch, *rows, *columns)}")
    return matmul_gradients(dy, a, b, bool(mask & 1), bool(mask & 2))


# Activations that a product can finish with: op code, parameters, whether the gradient needs z.
class Activation(NamedTuple):
    code: int
    p0: float
    p1: float
    needs_z: bool


_NONE = Activation(-1, 0.0, 0.0, False)
_FUSABLE = [
    "elu",
    "gelu",
    "gelu_tanh",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "tanh",
]
_DEFAULTS = {
    "elu": (1.0, 0.0),
    "hardtanh": (-1.0, 1.0),
    "leaky_relu": (0.01, 0.0),
    "softplus": (1.0, 20.0),
}
_ACTIVATIONS: dict[str | None, Activation] = {
    name: Activation(
        _C.unary_ops[name], *_DEFAULTS.get(name, (0.0, 0.0)), _C.unary_saves[name] == "x"
    )
    for name in _FUSABLE
}
_ACTIVATIONS[None] = _NONE


def activation_of(op: str, name: str | None) -> Activation:
    """How the kernels know an activation by name; ValueError for an unknown one."""
    found = _ACTIVATIONS.get(name) if name is None or isinstance(name, str) else None
    if found is None:
        names = ", ".join(_FUSABLE)
        raise ValueError(f"{op}: unknown activation {name!r}; choose from None, {names}")
    return found


def pack(w: Array, *, groups: int = 1) -> PackedWeight:
    """Weights in the order in which the kernels read them, for many calls with few rows each.

    A product of 3 to 64 rows spends a good part of its time on packing its weights, and so does a
    convolution of one small image. Where the weights stay the same, as when a trained network
    answers one question after the other, this is done once. Backward takes the plain weights. On a
    GPU nothing is packed: its kernels read the weights as they are.

    Args:
        w: ``(O, I)`` or ``(O, …, I/groups)``, float32 or float64, contiguous. It is copied: what is
            written to it later does not count.
        groups: Of the convolution that will use it.

    Returns:
        What :func:`linear` and :func:`conv1d`, :func:`conv2d`, :func:`conv3d` take for ``w``. It
        belongs to the instruction set in use: after ``hl.use_isa`` pack again.

    Raises:
        TypeError: Not an array, or not float32 or float64.
        ValueError: Fewer than two axes, not contiguous, or groups that do not divide O.
    """
    return PackedWeight(w, groups)


def linear(
    x: Array,
    w: Array | PackedWeight,
    b: Array | None = None,
    *,
    activation: str | None = None,
    return_saved: bool = False,
) -> Any:
    """Fully connected layer ``act(x @ w.T + b)`` in one pass over the result.

    Args:
        x: ``(..., I)``, float32 or float64, contiguous.
        w: ``(O, I)``, the same dtype, contiguous (Keras keeps the transpose, ``(I, O)``); or what
            :func:`pack` made of it.
        b: ``(O,)`` or None.
        activation: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"gelu"``, … with their default
            parameters, or None.
        return_saved: Return ``(y, saved)``, where ``saved`` is what the gradient needs: ``y``
            itself, or ``x @ w.T + b`` for activations that y does not determine (GELU, SiLU, Mish,
            …).

    Returns:
        ``(..., O)``, or ``(y, saved)``.

    Raises:
        TypeError: Not arrays, not float32 or float64, or different dtypes.
        ValueError: Shapes that do not match, operands that are not contiguous, or an unknown
            activation.
    """
    act = activation_of("linear", activation)
    plain, panels = unpacked(w)
    if return_saved:
        if act.needs_z:
            return _C.linear_forward(x, plain, b, act.code, True, act.p0, act.p1, panels)
        y = _C.linear_forward(x, plain, b, act.code, False, act.p0, act.p1, panels)
        return y, y
    return _C.linear_forward(x, plain, b, act.code, False, act.p0, act.p1, panels)


def linear_backward(
    dy: Array,
    x: Array,
    w: Array,
    *,
    y: Array | None = None,
    saved: Array | None = None,
    activation: str | None = None,
    need: Sequence[str] = ("x", "w", "b"),
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of :func:`linear`.

    With ``dz = dy * act'``: ``dx = dz @ w``, ``dw = dz.T @ x``, ``db = dz.sum(0)``.

    Args:
        dy: Gradient of the result, ``(..., O)``.
        x: As given to :func:`linear`.
        w: As given to :func:`linear`.
        y: The result, for activations whose gradient it determines (ReLU, tanh, sigmoid, …).
        saved: What ``linear(..., return_saved=True)`` returned; needed for the others.
        activation: As given to :func:`linear`.
        need: Which gradients to compute, of ``"x"``, ``"w"``, ``"b"``.

    Returns:
        ``(dx, dw, db)``, None for those not in ``need``.
    """
    act = activation_of("linear_backward", activation)
    bits = need_mask("linear_backward", need, ("x", "w", "b"))
    if saved is None:
        if act.needs_z and y is not None:
            raise ValueError(
                f"linear_backward: y does not determine the gradient of {activation}; pass saved= "
                "from linear(..., return_saved=True)"
            )
        saved = y
    return _C.linear_backward(dy, x, w, saved, act.code, bits, act.p0, act.p1)
