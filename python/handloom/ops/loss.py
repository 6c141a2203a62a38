"""Losses, each one fused kernel forward and one backward. The class axis is the last.

`reduction` is "mean", "sum" or "none" everywhere, with PyTorch's meaning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handloom import _C
from handloom._device_array import ARRAYS, beside
from handloom._tape import Function
from handloom.ops._common import TensorLike, array_of, dense, reduction_of
from handloom.ops.arithmetic import add, div, mul, neg
from handloom.ops.layout import expand, unsqueeze
from handloom.ops.reduce import mean, sum
from handloom.ops.softmax import log_softmax
from handloom.tensor import Array, Tensor

_POINTWISE = _C.pointwise_losses
_POINTWISE_NAMES = {code: name for name, code in _POINTWISE.items()}
_ce_forward = _C.cross_entropy_forward
_ce_backward = _C.cross_entropy_backward


class CrossEntropy(Function):
    """−log softmax(logits)[target], or −Σ target·log softmax(logits)."""

    __slots__ = ("options", "state")
    fresh = True

    @property
    def name(self) -> str:
        return "cross_entropy"

    def forward(
        ctx,
        logits: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        label_smoothing: float,
        reduction: int,
    ) -> Array:
        if ctx.need & ~1:
            raise NotImplementedError("cross_entropy: weight has no gradient, detach it")
        logits = dense(logits)
        target = dense(target)
        loss, ctx.state = _ce_forward(
            logits, target, weight, ignore_index, label_smoothing, reduction
        )
        if ctx.need:
            ctx.options = (ignore_index, label_smoothing, reduction)
            ctx.saved = (logits, target) if weight is None else (logits, target, weight)
        return loss

    def backward(ctx, dy: Array) -> Array:
        saved = ctx.saved
        weight = saved[2] if len(saved) == 3 else None
        return _ce_backward(dense(dy), saved[0], saved[1], weight, *ctx.options, ctx.state)


class NllLoss(Function):
    """−log_probs[target]."""

    __slots__ = ("options", "state")
    fresh = True

    @property
    def name(self) -> str:
        return "nll_loss"

    def forward(
        ctx,
        log_probs: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        reduction: int,
    ) -> Array:
        log_probs = dense(log_probs)
        loss, ctx.state = _C.nll_loss_forward(log_probs, target, weight, ignore_index, reduction)
        ctx.options = (ignore_index, reduction)
        ctx.saved = (log_probs, target) if weight is None else (log_probs, target, weight)
        return loss

    def backward(ctx, dy: Array) -> Array:
        saved = ctx.saved
        weight = saved[2] if len(saved) == 3 else None
        return _C.nll_loss_backward(dense(dy), saved[0], saved[1], weight, *ctx.options, ctx.state)


class Pointwise(Function):
    """loss(x[i], target[i]), weighted, then reduced; both may have a gradient."""

    __slots__ = ("op", "options", "pos_weight", "weight")
    fresh = True

    @property
    def name(self) -> str:
        return _POINTWISE_NAMES[self.op]

    def forward(
        ctx,
        x: Array,
        target: Array,
        weight: Array | None,
        pos_weight: Array | None,
        op: int,
        p0: float,
        p1: float,
        reduction: int,
    ) -> Array:
        x, target = dense(x), dense(target)
        ctx.op = op
        if ctx.need & ~3:
            raise NotImplementedError(f"{ctx.name}: weights have no gradient, detach them")
        if ctx.need:
            ctx.weight, ctx.pos_weight, ctx.options = weight, pos_weight, (p0, p1, reduction)
            ctx.saved = (x, target)
        return _C.pointwise_loss_forward(op, x, target, weight, pos_weight, p0, p1, reduction)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        x, target = ctx.saved
        return _C.pointwise_loss_backward(
            ctx.op, dense(dy), x, target, ctx.weight, ctx.pos_weight, *ctx.options, ctx.need
        )


class GaussianKl(Function):
    """KL(N(mu, exp(logvar)) ‖ N(0, 1)) in closed form."""

    __slots__ = ("reduction",)
    fresh = True

    def forward(ctx, mu: Array, logvar: Array, reduction: int) -> Array:
        mu, logvar = dense(mu), dense(logvar)
        ctx.reduction, ctx.saved = reduction, (mu, logvar)
        return _C.gaussian_kl_forward(mu, logvar, reduction)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        mu, logvar = ctx.saved
        return _C.gaussian_kl_backward(dense(dy), mu, logvar, ctx.reduction, ctx.need)


class GaussianNll(Function):
    """(log u + (x − target)²/u)/2 + constant, u = max(var, eps); all three may have a gradient."""

    __slots__ = ("options",)
    fresh = True

    @property
    def name(self) -> str:
        return "gaussian_nll_loss"

    def forward(
        ctx, x: Array, target: Array, var: Array, eps: float, constant: float, reduction: int
    ) -> Array:
        x, target, var = dense(x), dense(target), dense(var)
        ctx.options, ctx.saved = (eps, reduction), (x, target, var)
        return _C.gaussian_nll_forward(x, target, var, eps, constant, reduction)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, target, var = ctx.saved
        eps, reduction = ctx.options
        return _C.gaussian_nll_backward(dense(dy), x, target, var, eps, reduction, ctx.need)


class DiceLoss(Function):
    """1 − (2Σpt + s)/(Σp + Σt + s) for each sample."""

    __slots__ = ("options",)
    fresh = True

    def forward(ctx, p: Array, target: Array, smooth: float, reduction: int) -> Array:
        p, target = dense(p), dense(target)
        ctx.options, ctx.saved = (smooth, reduction), (p, target)
        return _C.dice_loss_forward(p, target, smooth, reduction)

    def backward(ctx, dy: Array) -> tuple[Array | None, Array | None]:
        p, target = ctx.saved
        return _C.dice_loss_backward(dense(dy), p, target, *ctx.options, ctx.need)


def _target(target: Any, input: TensorLike) -> Any:
    """Labels may come as a list."""
    if isinstance(target, (Tensor, *ARRAYS)):
        return target
    return beside(np.asarray(target), array_of(input))


def cross_entropy(
    input: TensorLike,
    target: Any,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax and negative log likelihood in one (Keras: CategoricalCrossentropy, from logits).

    Args:
        input: (…, C), float32 or float64.
        target: Class indices (…), int64 or int32, or class probabilities (…, C), which may have a
            gradient.
        weight: (C,), the weight of each class; the mean is over the weights then.
        ignore_index: A label that does not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: ε of (1 − ε)·target + ε/C (Szegedy et al., 2015).

    Raises:
        ValueError: A label outside 0 … C−1, shapes that do not fit, ε outside [0, 1].
    """
    code = reduction_of(reduction, "cross_entropy")
    args = (input, _target(target, input), weight)
    if isinstance(target, Tensor) and target.requires_grad:
        # The kernel checks the arguments; of a target that learns, the loss is put together.
        CrossEntropy().run(
            tuple(t.detach() if isinstance(t, Tensor) else t for t in args),
            ignore_index, label_smoothing, code,
        )  # fmt: skip
        return _learned_target(input, target, weight, label_smoothing, reduction)
    out: Tensor = CrossEntropy().run(args, ignore_index, label_smoothing, code)
    return out


def _learned_target(
    x: TensorLike, target: Tensor, weight: TensorLike | None, smoothing: float, reduction: str
) -> Tensor:
    """`cross_entropy` with class probabilities that have a gradient, as in distillation."""
    if smoothing:
        target = add(mul(target, 1.0 - smoothing), smoothing / target.shape[-1])
    if weight is not None:
        target = mul(target, weight)
    loss = neg(sum(mul(target, log_softmax(x)), -1))
    return loss if reduction == "none" else (mean if reduction == "mean" else sum)(loss)


def nll_loss(
    input: TensorLike,
    target: Any,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """−log_probs[target]: log_probs (…, C), target (…) of class indices."""
    out: Tensor = NllLoss().run(
        (input, _target(target, input), weight), ignore_index, reduction_of(reduction, "nll_loss")
    )
    return out


def _pointwise(
    name: str,
    x: TensorLike,
    target: TensorLike,
    reduction: str,
    p0: float = 0.0,
    p1: float = 0.0,
    weight: TensorLike | None = None,
    pos_weight: TensorLike | None = None,
) -> Tensor:
    code = reduction_of(reduction, name)
    out: Tensor = Pointwise().run(
        (x, target, weight, pos_weight), _POINTWISE[name], float(p0), float(p1), code
    )
    return out


def mse_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", weight: TensorLike | None = None
) -> Tensor:
    """(x − target)², weighted; the mean of weighted ones is over the sum of the weights."""
    return _pointwise("mse", input, target, reduction, weight=weight)


def l1_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", weight: TensorLike | None = None
) -> Tensor:
    """|x − target|, weighted; the mean of weighted ones is over the sum of the weights."""
    return _pointwise("l1", input, target, reduction, weight=weight)


def smooth_l1_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d²/(2β) for |d| < β, |d| − β/2 beyond (Girshick, 2015); d = x − target."""
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}, expected at least 0")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return _pointwise("smooth_l1", input, target, reduction, beta)


def huber_loss(
    input: TensorLike,
    target: TensorLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: TensorLike | None = None,
) -> Tensor:
    """d²/2 for |d| ≤ δ, δ(|d| − δ/2) beyond (Huber, 1964), times weight; d = x − target."""
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}, expected more than 0")
    return _pointwise("huber", input, target, reduction, delta, weight=weight)


def binary_cross_entropy(
    input: TensorLike, target: TensorLike, weight: TensorLike | None = None, reduction: str = "mean"
) -> Tensor:
    """−t·log x − (1 − t)·log(1 − x) of probabilities; logarithms are limited to −100."""
    return _pointwise("bce", input, target, reduction, weight=weight)


def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(x), without overflow; pos_weight scales the t = 1 term."""
    return _pointwise("bce_with_logits", input, target, reduction, 0.0, 0.0, weight, pos_weight)


def kl_div(
    input: TensorLike, target: TensorLike, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """target·(log target − x), where x is a log-probability; also target, with log_target.

    `reduction="batchmean"` divides the sum by the first size, which is the divergence itself.
    """
    if reduction == "batchmean":
        total = _pointwise("kl_div", input, target, "sum", float(log_target))
        return div(total, float(input.shape[0]))
    return _pointwise("kl_div", input, target, reduction, float(log_target))


def hinge_embedding_loss(
    input: TensorLike, target: TensorLike, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """x where target = 1, max(0, margin − x) where target = −1."""
    return _pointwise("hinge_embedding", input, target, reduction, margin)


def hinge_loss(
    x: TensorLike, target: TensorLike, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """max(0, margin − target·x) of scores x and targets ±1: the support vector machine's.

    Keras: Hinge.
    """
    return _pointwise("hinge", x, target, reduction, margin)


def focal_loss(
    x: TensorLike,
    target: TensorLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> Tensor:
    """Sigmoid focal loss of logits, α_t(1 − p_t)^γ·BCE (Lin et al., 2017); alpha < 0: no α_t.

    torchvision's `sigmoid_focal_loss`, whose default reduction is "none".
    """
    return _pointwise("focal", x, target, reduction, alpha, gamma)


def sigmoid_focal_loss(
    inputs: TensorLike,
    targets: TensorLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
) -> Tensor:
    """`focal_loss` under torchvision's name and with its default reduction."""
    return focal_loss(inputs, targets, alpha, gamma, reduction)


def gaussian_kl(mu: TensorLike, logvar: TensorLike, reduction: str = "mean") -> Tensor:
    """KL(N(mu, exp(logvar)) ‖ N(0, 1)) = −½(1 + logvar − mu² − exp(logvar)) (Kingma & Welling).

    Args:
        mu: (N, …) means.
        logvar: (N, …) logarithms of the variances.
        reduction: "mean" averages over the N samples what each sums over its latent axes.
    """
    out: Tensor = GaussianKl().run((mu, logvar), reduction_of(reduction, "gaussian_kl"))
    return out


def gaussian_nll_loss(
    input: TensorLike,
    target: TensorLike,
    var: TensorLike | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log u + (x − target)²/u)/2, u = max(var, eps): the normal distribution's (Nix & Weigend).

    Args:
        input: The means.
        target: What was seen, of the same shape.
        var: The variances, of the same shape, or one for each row, (…, 1) or (…); or a number.
        full: Whether to add the constant ½log 2π.
        eps: The smallest variance; below, the gradient is that of eps.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: Shapes that do not fit, a negative variance, or eps not above 0.
    """
    shape = input.shape
    if isinstance(var, (int, float)):
        var = np.full_like(array_of(input), var)
    elif var.shape != shape:
        if var.shape == shape[:-1]:
            var = unsqueeze(var, -1)
        elif var.shape != (*shape[:-1], 1):
            raise ValueError(
                f"gaussian_nll_loss: var has shape {var.shape}, expected {shape}, or one variance "
                f"a row: {(*shape[:-1], 1)} or {shape[:-1]}"
            )
        var = expand(var, shape)
    constant = 0.5 * math.log(2.0 * math.pi) if full else 0.0
    code = reduction_of(reduction, "gaussian_nll_loss")
    out: Tensor = GaussianNll().run((input, target, var), float(eps), constant, code)
    return out


def dice_loss(
    p: TensorLike, target: TensorLike, smooth: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """1 − (2Σpt + s)/(Σp + Σt + s) for each sample; p and target (N, …) in [0, 1]."""
    out: Tensor = DiceLoss().run((p, target), float(smooth), reduction_of(reduction, "dice_loss"))
    return out


def iou_loss(
    p: TensorLike, target: TensorLike, smooth: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """1 − (Σpt + s)/(Σp + Σt − Σpt + s) for each sample; p and target (N, …) in [0, 1].

    The soft Jaccard index (Rahman and Wang, 2016): J = D/(2 − D) of the Dice score D, whose s is
    twice as large.
    """
    from handloom.ops.reduce import mean, sum

    code = reduction_of(reduction, "iou_loss")
    dice = dice_loss(p, target, 2 * float(smooth), "none")
    # 1 − D/(2 − D) with D = 1 − L
    loss: Tensor = 2 * dice / (1 + dice)
    return loss if code == 0 else mean(loss) if code == 1 else sum(loss)
