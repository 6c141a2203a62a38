"""Losses of single elements, averaged or added up.

``x`` and ``target`` are contiguous float32 or float64 arrays of one shape. ``reduction`` is
``"mean"``, ``"sum"`` (both give a 0-d array) or ``"none"``. Arguments and defaults are PyTorch's.

``weight`` multiplies each element's loss. It has the shape of ``x``, or repeats over it: its axes
other than 1, aligned at the end, are neighbours, like ``(C,)`` or ``(N, 1, 1)``. The mean is over
all elements nevertheless, except where a function says otherwise.

All raise ``TypeError`` for a wrong dtype and ``ValueError`` for shapes that do not fit, an unknown
reduction or an option out of range.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _C
from ._options import need_mask, require_arrays
from .elementwise import div
from .loss import reduction_code

Array = npt.NDArray[Any]
Grads = tuple[Array | None, Array | None]

_OPS = _C.pointwise_losses


def _forward(
    op: str,
    name: str,
    x: Array,
    target: Array,
    reduction: str,
    weight: Array | None = None,
    p0: float = 0.0,
    p1: float = 0.0,
    pos_weight: Array | None = None,
) -> Array:
    code = reduction_code(name, reduction)
    return _C.pointwise_loss_forward(_OPS[op], x, target, weight, pos_weight, p0, p1, code)


def _backward(
    op: str,
    name: str,
    dy: Array,
    x: Array,
    target: Array,
    reduction: str,
    need: tuple[str, ...],
    weight: Array | None = None,
    p0: float = 0.0,
    p1: float = 0.0,
    pos_weight: Array | None = None,
) -> Grads:
    code = reduction_code(name, reduction)
    wanted = need_mask(name, need, ("x", "target"))
    return _C.pointwise_loss_backward(
        _OPS[op], dy, x, target, weight, pos_weight, p0, p1, code, wanted
    )


def mse_loss(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """Squared difference ``(x - target)^2`` (Keras: ``MeanSquaredError``).

    With weights the mean divides by their sum, as in PyTorch.
    """
    return _forward("mse", "mse_loss", x, target, reduction, weight=weight)


def mse_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`mse_loss`, ``None`` where not in ``need``."""
    return _backward("mse", "mse_loss_backward", dy, x, target, reduction, need, weight=weight)


def l1_loss(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """Absolute difference ``|x - target|`` (Keras: ``MeanAbsoluteError``).

    With weights the mean divides by their sum, as in PyTorch.
    """
    return _forward("l1", "l1_loss", x, target, reduction, weight=weight)


def l1_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`l1_loss`, ``None`` where not in ``need``."""
    return _backward("l1", "l1_loss_backward", dy, x, target, reduction, need, weight=weight)


def smooth_l1_loss(
    x: Array,
    target: Array,
    *,
    beta: float = 1.0,
    reduction: str = "mean",
) -> Array:
    """``d^2 / (2 beta)`` where ``d = |x - target| < beta``, else ``d - beta / 2`` (Girshick)."""
    return _forward("smooth_l1", "smooth_l1_loss", x, target, reduction, p0=beta)


def smooth_l1_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    beta: float = 1.0,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`smooth_l1_loss`, ``None`` where not in ``need``."""
    return _backward(
        "smooth_l1", "smooth_l1_loss_backward", dy, x, target, reduction, need, p0=beta
    )


def huber_loss(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    delta: float = 1.0,
    reduction: str = "mean",
) -> Array:
    """``d^2 / 2`` where ``d = |x - target| <= delta``, else ``delta (d - delta / 2)``."""
    return _forward("huber", "huber_loss", x, target, reduction, weight=weight, p0=delta)


def huber_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    delta: float = 1.0,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`huber_loss`, ``None`` where not in ``need``."""
    return _backward(
        "huber", "huber_loss_backward", dy, x, target, reduction, need, weight=weight, p0=delta
    )


def binary_cross_entropy(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """``-(t log x + (1 - t) log(1 - x))`` of probabilities ``x``.

    Logarithms stop at -100, as in PyTorch; ``x`` outside ``[0, 1]`` is a ``ValueError``.
    """
    return _forward("bce", "binary_cross_entropy", x, target, reduction, weight=weight)


def binary_cross_entropy_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`binary_cross_entropy`, ``None`` where not in ``need``."""
    return _backward(
        "bce", "binary_cross_entropy_backward", dy, x, target, reduction, need, weight=weight
    )


def binary_cross_entropy_with_logits(
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """Binary cross-entropy of ``sigmoid(x)`` (Keras: ``BinaryCrossentropy(from_logits=True)``).

    ``pos_weight`` scales the part of ``t = 1``.
    """
    return _forward(
        "bce_with_logits",
        "binary_cross_entropy_with_logits",
        x,
        target,
        reduction,
        weight=weight,
        pos_weight=pos_weight,
    )


def binary_cross_entropy_with_logits_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of the forward function, ``None`` where not in ``need``."""
    return _backward(
        "bce_with_logits",
        "binary_cross_entropy_with_logits_backward",
        dy,
        x,
        target,
        reduction,
        need,
        weight=weight,
        pos_weight=pos_weight,
    )


def kl_div(
    x: Array,
    target: Array,
    *,
    log_target: bool = False,
    reduction: str = "mean",
) -> Array:
    """``t (log t - x)`` of log-probabilities ``x``, 0 where ``t`` is 0 (Keras: ``KLDivergence``).

    With ``log_target`` the target is a logarithm too. ``reduction="batchmean"`` divides the sum by
    the first axis, which is the divergence proper.
    """
    require_arrays("kl_div", x=x)
    if reduction == "batchmean":
        total = kl_div(x, target, log_target=log_target, reduction="sum")
        return div(total, x.shape[0])
    return _forward("kl_div", "kl_div", x, target, reduction, p0=float(log_target))


def kl_div_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    log_target: bool = False,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`kl_div`, ``None`` where not in ``need``."""
    require_arrays("kl_div_backward", dy=dy, x=x)
    if reduction == "batchmean":
        reduction, dy = "sum", div(dy, x.shape[0])
    return _backward(
        "kl_div", "kl_div_backward", dy, x, target, reduction, need, p0=float(log_target)
    )


def hinge_embedding_loss(
    x: Array,
    target: Array,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Array:
    """``x`` where ``t = 1``, ``max(0, margin - x)`` where ``t = -1``."""
    return _forward("hinge_embedding", "hinge_embedding_loss", x, target, reduction, p0=margin)


def hinge_embedding_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`hinge_embedding_loss`, ``None`` where not in ``need``."""
    return _backward(
        "hinge_embedding",
        "hinge_embedding_loss_backward",
        dy,
        x,
        target,
        reduction,
        need,
        p0=margin,
    )


def hinge_loss(
    x: Array,
    target: Array,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Array:
    """``max(0, margin - t x)`` with ``t`` of -1 and 1 (Keras: ``Hinge``); PyTorch has none."""
    return _forward("hinge", "hinge_loss", x, target, reduction, p0=margin)


def hinge_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    margin: float = 1.0,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`hinge_loss`, ``None`` where not in ``need``."""
    return _backward("hinge", "hinge_loss_backward", dy, x, target, reduction, need, p0=margin)


def focal_loss(
    x: Array,
    target: Array,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> Array:
    """``alpha_t (1 - p_t)^gamma`` times the binary cross-entropy of logits; Lin et al. (2017).

    torchvision's ``sigmoid_focal_loss``, whose reduction is ``"none"`` by default. A negative
    ``alpha`` means no ``alpha_t``.
    """
    return _forward("focal", "focal_loss", x, target, reduction, p0=alpha, p1=gamma)


def focal_loss_backward(
    dy: Array,
    x: Array,
    target: Array,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
    need: tuple[str, ...] = ("x",),
) -> Grads:
    """``(dx, dtarget)`` of :func:`focal_loss`, ``None`` where not in ``need``."""
    return _backward(
        "focal", "focal_loss_backward", dy, x, target, reduction, need, p0=alpha, p1=gamma
    )
