"""Losses over classes and over whole samples.

Arrays are contiguous float32 or float64, classes on the last axis. ``reduction`` is ``"mean"``,
``"sum"`` (both give a 0-d array) or ``"none"``. Arguments and defaults are PyTorch's. A backward
function takes the gradient ``dy`` of the loss first and then what its forward took.

All raise ``TypeError`` for a wrong dtype and ``ValueError`` for shapes that do not fit, an unknown
reduction or an option out of range. Losses of single elements are in ``pointwise_loss.py``, short
formulas of those in ``gan_loss.py``.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]
Grads = tuple[Array | None, Array | None]

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def reduction_code(op: str, reduction: str) -> int:
    """The number of a reduction; ValueError for an unknown one."""
    code = _REDUCTIONS.get(reduction)
    if code is None:
        names = ", ".join(map(repr, _REDUCTIONS))
        raise ValueError(f"{op}: reduction is {reduction!r}, expected one of {names}")
    return code


def need_mask(op: str, need: tuple[str, ...], names: tuple[str, ...]) -> int:
    """Bits of the wanted gradients: 1 for the first name, 2 for the second, and so on."""
    mask = 0
    for name in need:
        if name not in names:
            raise ValueError(f"{op}: need names {name!r}, expected some of {names}")
        mask |= 1 << names.index(name)
    return mask


# ---- classes ------------------------------------------------------------------------------------


@overload
def cross_entropy(
    logits: Array,
    target: Array,
    *,
    weight: Array | None = ...,
    ignore_index: int = ...,
    label_smoothing: float = ...,
    reduction: str = ...,
    return_saved: Literal[False] = ...,
) -> Array: ...
@overload
def cross_entropy(
    logits: Array,
    target: Array,
    *,
    weight: Array | None = ...,
    ignore_index: int = ...,
    label_smoothing: float = ...,
    reduction: str = ...,
    return_saved: Literal[True],
) -> tuple[Array, Array]: ...
def cross_entropy(
    logits: Array,
    target: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    return_saved: bool = False,
) -> Array | tuple[Array, Array]:
    """Softmax and negative log likelihood in one (Keras: ``[Sparse]CategoricalCrossentropy``).

    The mean over labels is ``sum(losses) / sum(weight[target])`` over the rows that are not ignored
    and NaN if there is none, as in PyTorch; over soft targets it is a plain mean of the rows.

    Args:
        logits: ``(..., C)``, scores before softmax.
        target: Labels ``(...)``, int64 or int32, or class probabilities ``(..., C)``.
        weight: ``(C,)``, a weight per class.
        ignore_index: Label of rows that do not count.
        label_smoothing: ``e``: the target becomes ``(1 - e) target + e / C`` (Szegedy et al. 2016).
        reduction: ``"mean"``, ``"sum"`` or ``"none"``: ``(...)``.
        return_saved: Whether to return also what the backward function can use.

    Returns:
        The loss, or ``(loss, saved)``.

    Raises:
        ValueError: A label that is neither in ``[0, C)`` nor ``ignore_index``, named with its
            position, before anything is computed.
    """
    code = reduction_code("cross_entropy", reduction)
    loss, saved = _C.cross_entropy_forward(
        logits, target, weight, ignore_index, label_smoothing, code
    )
    return (loss, saved) if return_saved else loss


def cross_entropy_backward(
    dy: Array,
    logits: Array,
    target: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    saved: Array | None = None,
) -> Array:
    """Gradient of :func:`cross_entropy` with respect to ``logits``.

    Without ``saved`` it is computed again.
    """
    code = reduction_code("cross_entropy_backward", reduction)
    options = (weight, ignore_index, label_smoothing, code)
    if saved is None:
        saved = _C.cross_entropy_forward(logits, target, *options)[1]
    return _C.cross_entropy_backward(dy, logits, target, *options, saved)


def nll_loss(
    log_probs: Array,
    target: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """``-weight[target] * log_probs[target]``: :func:`cross_entropy` of given log-probabilities.

    Args:
        log_probs: ``(..., C)``.
        target: Labels ``(...)``, int64 or int32.
        weight: ``(C,)``, a weight per class; the mean divides by the sum of those used.
        ignore_index: Label of rows that do not count.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
    """
    code = reduction_code("nll_loss", reduction)
    return _C.nll_loss_forward(log_probs, target, weight, ignore_index, code)[0]


def nll_loss_backward(
    dy: Array,
    log_probs: Array,
    target: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """Gradient of :func:`nll_loss` with respect to ``log_probs``."""
    code = reduction_code("nll_loss_backward", reduction)
    return _C.nll_loss_backward(dy, log_probs, target, weight, ignore_index, code)


# ---- sample by sample ---------------------------------------------------------------------------


def gaussian_kl(mu: Array, logvar: Array, *, reduction: str = "mean") -> Array:
    """Divergence of ``N(mu, exp(logvar))`` from the standard normal, summed over each sample.

    ``sum(exp(logvar) + mu^2 - 1 - logvar) / 2`` (Kingma and Welling 2013, appendix B).

    Args:
        mu: ``(N, ...)``, means.
        logvar: ``(N, ...)``, logarithms of variances.
        reduction: ``"mean"`` over the samples, ``"sum"`` or ``"none"``: ``(N,)``.
    """
    return _C.gaussian_kl_forward(mu, logvar, reduction_code("gaussian_kl", reduction))


def gaussian_kl_backward(
    dy: Array,
    mu: Array,
    logvar: Array,
    *,
    reduction: str = "mean",
    need: tuple[str, ...] = ("mu", "logvar"),
) -> Grads:
    """Gradients ``(dmu, dlogvar)`` of :func:`gaussian_kl`, ``None`` where not in ``need``."""
    name = "gaussian_kl_backward"
    wanted = need_mask(name, need, ("mu", "logvar"))
    return _C.gaussian_kl_backward(dy, mu, logvar, reduction_code(name, reduction), wanted)


def dice_loss(p: Array, t: Array, *, smooth: float = 1.0, reduction: str = "mean") -> Array:
    """``1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)`` of each sample.

    Milletari et al. (2016), without their squares (Keras: ``Dice``, over all samples at once).

    Args:
        p: ``(N, ...)``, probabilities.
        t: ``(N, ...)``, what they should be.
        smooth: Keeps an empty sample from 0 / 0.
        reduction: ``"mean"`` over the samples, ``"sum"`` or ``"none"``: ``(N,)``.
    """
    return _C.dice_loss_forward(p, t, smooth, reduction_code("dice_loss", reduction))


def dice_loss_backward(
    dy: Array,
    p: Array,
    t: Array,
    *,
    smooth: float = 1.0,
    reduction: str = "mean",
    need: tuple[str, ...] = ("p",),
) -> Grads:
    """Gradients ``(dp, dt)`` of :func:`dice_loss`, ``None`` where not in ``need``."""
    name = "dice_loss_backward"
    wanted = need_mask(name, need, ("p", "t"))
    return _C.dice_loss_backward(dy, p, t, smooth, reduction_code(name, reduction), wanted)
