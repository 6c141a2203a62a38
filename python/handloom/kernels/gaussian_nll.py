"""The loss of a network that predicts a mean and a variance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from .loss import need_mask, reduction_code

Array = npt.NDArray[Any]

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def _variances(op: str, var: Array, x: Array) -> Array:
    """``var`` with the axes of ``x``, not yet repeated."""
    if not isinstance(var, np.ndarray) or not isinstance(x, np.ndarray) or var.shape == x.shape:
        return var
    if x.ndim and var.shape == x.shape[:-1]:
        return var[..., None]
    if x.ndim and var.shape == (*x.shape[:-1], 1):
        return var
    raise ValueError(
        f"{op}: var has shape {var.shape}, expected {x.shape}, or one variance a row: "
        f"{(*x.shape[:-1], 1)} or {x.shape[:-1]}"
    )


def _repeated(var: Array, x: Array) -> Array:
    if not isinstance(var, np.ndarray) or var.shape == x.shape:
        return var
    return _C.copy(np.broadcast_to(var, x.shape), None)


def gaussian_nll_loss(
    x: Array,
    target: Array,
    var: Array,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Array:
    """Negative log likelihood of ``target`` under normal distributions: Nix and Weigend (1994).

    ``(log u + (x - target)^2 / u) / 2`` with ``u = max(var, eps)``.

    Args:
        x: Means, contiguous float32 or float64.
        target: What was seen, of the same shape and dtype.
        var: Variances, of the same shape, or one a row: ``(..., 1)`` or ``(...)``.
        full: Whether to add the constant ``log(2 pi) / 2``.
        eps: Smallest variance.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        TypeError: Another dtype.
        ValueError: Shapes that do not fit, a negative variance, ``eps <= 0``.
    """
    name = "gaussian_nll_loss"
    var = _repeated(_variances(name, var, x), x)
    constant = _HALF_LOG_2PI if full else 0.0
    code = reduction_code(name, reduction)
    return _C.gaussian_nll_forward(x, target, var, eps, constant, code)


def gaussian_nll_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    var: Array,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x", "var"),
) -> tuple[Array | None, Array | None, Array | None]:
    """``(dx, dtarget, dvar)`` of :func:`gaussian_nll_loss`, ``None`` where not in ``need``.

    A variance below ``eps`` gets the gradient of ``eps``, as in PyTorch, so that it can grow.
    ``full`` changes nothing here.
    """
    name = "gaussian_nll_loss_backward"
    narrow = _variances(name, var, x)
    wanted = need_mask(name, need, ("x", "target", "var"))
    code = reduction_code(name, reduction)
    dx, dtarget, dvar = _C.gaussian_nll_backward(
        dy, x, target, _repeated(narrow, x), eps, code, wanted
    )
    if dvar is not None and narrow.shape != x.shape:
        dvar = _C.sum_to(dvar, narrow.shape).reshape(var.shape)
    return dx, dtarget, dvar
