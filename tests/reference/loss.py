"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom import kernels
from handloom.bench.cases import Case
from harness import Arrays, Op, beside

from .softmax import log_softmax


def reduced(loss: Any, reduction: str, divisor: Any = None) -> Any:
    if reduction == "none":
        return loss
    total = np.sum(loss)
    if reduction == "sum":
        return total
    return total / (loss.size if divisor is None else divisor)


# ---- classes ------------------------------------------------------------------------------------


def class_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Logits (or log-probabilities) and labels, some of them ignored, or probabilities."""
    options = dict(case.options)
    (shape,) = case.shapes
    x = 3 * rng.standard_normal(shape)
    if options.get("target") == "soft":
        p = np.exp(rng.standard_normal(shape))
        return x, p / p.sum(-1, keepdims=True)
    labels = rng.integers(0, shape[-1], shape[:-1])
    if options.get("target") == "ignored":
        labels[rng.random(shape[:-1]) < 0.3] = options["ignore_index"]
    return x, labels


def class_weight(x: Any, weighted: bool) -> Any:
    """A weight for each class."""
    if not weighted:
        return None
    return beside(x, np.linspace(0.25, 2, x.shape[-1]).astype(x.dtype))


def class_loss(name: str) -> Any:
    def forward(
        x: Any, y: Any, target: str = "hard", weighted: bool = False, **options: Any
    ) -> Any:
        return getattr(kernels, name)(x, y, weight=class_weight(x, weighted), **options)

    return forward


def class_backward(name: str) -> Any:
    def backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        kept = {k: v for k, v in options.items() if k not in ("target", "weighted")}
        weight = class_weight(inputs[0], options.get("weighted", False))
        return (getattr(kernels, f"{name}_backward")(dy, *inputs, weight=weight, **kept),)

    return backward


def nll_loss(
    logp: Any,
    labels: Any,
    target: str = "hard",
    weighted: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    w = class_weight(logp, weighted)
    w = np.ones(logp.shape[-1], logp.dtype) if w is None else w
    kept = labels != ignore_index
    safe = np.where(kept, labels, 0)
    picked = np.take_along_axis(logp, safe[..., None], -1)[..., 0]
    e = logp.dtype.type(label_smoothing)
    loss = -(1 - e) * w[safe] * picked - e / logp.dtype.type(logp.shape[-1]) * (logp * w).sum(-1)
    return reduced(np.where(kept, loss, 0), reduction, np.sum(np.where(kept, w[safe], 0)))


def cross_entropy(x: Any, y: Any, **options: Any) -> Any:
    logp = log_softmax(x)
    if options.get("target") != "soft":
        return nll_loss(logp, y, **options)
    e = x.dtype.type(options.get("label_smoothing", 0.0))
    w = class_weight(x, options.get("weighted", False))
    q = (1 - e) * y + e / x.dtype.type(x.shape[-1])
    loss = -np.sum(logp * q * (1 if w is None else w), -1)
    return reduced(loss, options.get("reduction", "mean"))


# ---- elements -----------------------------------------------------------------------------------


def pair_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """x and a target in the range that the loss wants."""
    (shape,) = case.shapes
    x, t = rng.standard_normal(shape), rng.standard_normal(shape)
    if case.op in ("binary_cross_entropy", "dice_loss"):
        x = rng.uniform(0.05, 0.95, shape)
    if case.op in ("binary_cross_entropy", "binary_cross_entropy_with_logits", "focal_loss"):
        t = rng.uniform(0, 1, shape)
        if dict(case.options).get("labels"):
            t = np.round(t)
    if case.op in ("dice_loss", "kl_div") and not dict(case.options).get("log_target"):
        t = rng.uniform(0.05, 1, shape)
    if case.op in ("hinge_embedding_loss", "hinge_loss"):
        t = np.sign(t)
    return x, t


def pair_weights(x: Any, which: str) -> dict[str, Any]:
    """Weights named in ``which``: all of x's shape, one a column, one a row, and pos_weight."""
    result: dict[str, Any] = {}
    if "all" in which:
        result["weight"] = np.linspace(0.5, 2, x.size).astype(x.dtype).reshape(x.shape)
    if "column" in which:
        result["weight"] = np.linspace(0.5, 2, x.shape[-1]).astype(x.dtype)
    if "row" in which:
        rows = np.linspace(0.5, 2, x.shape[0]).astype(x.dtype)
        result["weight"] = rows.reshape(-1, *[1] * (x.ndim - 1))
    if "pos" in which:
        result["pos_weight"] = np.linspace(1, 3, x.shape[-1]).astype(x.dtype)
    return {name: beside(x, weight) for name, weight in result.items()}


def pair_loss(name: str) -> Any:
    def forward(x: Any, t: Any, weights: str = "", labels: bool = False, **options: Any) -> Any:
        return getattr(kernels, name)(x, t, **pair_weights(x, weights), **options)

    return forward


def pair_backward(name: str, need: tuple[str, ...]) -> Any:
    def backward(dy: Any, inputs: Arrays, y: Any, options: dict[str, Any]) -> Arrays:
        kept = {k: v for k, v in options.items() if k not in ("weights", "labels")}
        weights = pair_weights(inputs[0], options.get("weights", ""))
        function = getattr(kernels, f"{name}_backward")
        grads = function(dy, *inputs, **weights, **kept, need=need)
        return tuple(g for g in grads if g is not None)

    return backward


def softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def bce_with_logits(x: Any, t: Any, pos_weight: Any = 1) -> Any:
    return (1 - t) * x + (1 + (pos_weight - 1) * t) * softplus(-x)


def huber(x: Any, t: Any, delta: float = 1.0) -> Any:
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def smooth_l1(x: Any, t: Any, beta: float = 1.0) -> Any:
    d = np.abs(x - t)
    return np.where(d < beta, d * d / (2 * beta or 1), d - beta / 2)


def hinge_embedding(x: Any, t: Any, margin: float = 1.0) -> Any:
    return np.where(t == 1, x, np.maximum(0, margin - x))


def kl_div(x: Any, t: Any, log_target: bool = False) -> Any:
    return np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)


def focal(x: Any, t: Any, alpha: float = 0.25, gamma: float = 2.0) -> Any:
    p, q = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
    miss = p * (1 - t) + q * t
    share = alpha * t + (1 - alpha) * (1 - t) if alpha >= 0 else 1
    return share * miss**gamma * bce_with_logits(x, t)


def element_reference(name: str, function: Any) -> Any:
    by_weight = name in ("mse_loss", "l1_loss")

    def reference(
        x: Any,
        t: Any,
        weights: str = "",
        labels: bool = False,
        reduction: str = "mean",
        **options: Any,
    ) -> Any:
        given = pair_weights(x, weights)
        if "pos_weight" in given:
            options["pos_weight"] = given["pos_weight"]
        w = np.broadcast_to(given.get("weight", x.dtype.type(1)), x.shape)
        loss = (function(x, t, **options) * w).astype(x.dtype)
        if reduction == "batchmean":
            return reduced(loss, "sum") / x.dtype.type(x.shape[0])
        return reduced(loss, reduction, np.sum(w) if by_weight and weights else None)

    return reference


def _absolute(function: Any) -> Any:
    """S of a loss whose terms may cancel: of the terms of each element, without their signs."""

    def size(x: Any, t: Any, reduction: str = "mean", **options: Any) -> Any:
        each = np.abs(function(x, t, reduction="none", **options)) + np.abs(t * x) + np.abs(t)
        if reduction == "batchmean":
            return each.sum() / x.shape[0]
        return reduced(each, reduction)

    return size


def element_op(name: str, function: Any, need: tuple[str, ...] = ("x", "target")) -> Op:
    reference = element_reference(name, function)
    return Op(
        pair_loss(name),
        reference,
        inputs=pair_inputs,
        magnitude=_absolute(reference),
        backward=pair_backward(name, need),
        wrt=(0, 1)[: len(need)],
    )


# ---- samples ------------------------------------------------------------------------------------


def gaussian_kl(mu: Any, logvar: Any, reduction: str = "mean") -> Any:
    each = (np.exp(logvar) + mu * mu - 1 - logvar) / 2
    return reduced(each.reshape(len(mu), -1).sum(-1), reduction)


def gaussian_kl_size(mu: Any, logvar: Any, reduction: str = "mean") -> Any:
    each = (np.exp(logvar) + mu * mu + 1 + np.abs(logvar)) / 2
    return reduced(each.reshape(len(mu), -1).sum(-1), reduction)


def triple_inputs(case: Case, rng: np.random.Generator) -> Arrays:
    """Means, what was seen, variances."""
    (shape,) = case.shapes
    return rng.standard_normal(shape), rng.standard_normal(shape), rng.uniform(0.1, 2, shape)


def gaussian_nll(
    x: Any,
    t: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    size: bool = False,
) -> Any:
    u = np.maximum(var, x.dtype.type(eps))
    log_u = np.abs(np.log(u)) if size else np.log(u)
    constant = x.dtype.type(np.log(2 * np.pi) / 2 if full else 0)
    d = np.abs(x) + np.abs(t) if size else x - t
    return reduced((log_u + d**2 / u) / 2 + constant, reduction)


def dice_loss(p: Any, t: Any, smooth: float = 1.0, reduction: str = "mean") -> Any:
    p, t = p.reshape(len(p), -1), t.reshape(len(t), -1)
    above = 2 * (p * t).sum(-1) + p.dtype.type(smooth)
    return reduced(1 - above / (p.sum(-1) + t.sum(-1) + p.dtype.type(smooth)), reduction)


def dice_size(p: Any, t: Any, smooth: float = 1.0, reduction: str = "mean") -> Any:
    return reduced(np.full(len(p), 2.0), reduction)


OPS = {
    "cross_entropy": Op(
        class_loss("cross_entropy"),
        cross_entropy,
        inputs=class_inputs,
        magnitude=lambda x, y, **o: np.abs(cross_entropy(x, y, **o)),
        backward=class_backward("cross_entropy"),
    ),
    "nll_loss": Op(
        class_loss("nll_loss"),
        nll_loss,
        inputs=class_inputs,
        magnitude=lambda x, y, **o: nll_loss(-np.abs(x), y, **o),
        backward=class_backward("nll_loss"),
    ),
    "mse_loss": element_op("mse_loss", lambda x, t: (x - t) ** 2),
    "l1_loss": element_op("l1_loss", lambda x, t: np.abs(x - t)),
    "smooth_l1_loss": element_op("smooth_l1_loss", smooth_l1),
    "huber_loss": element_op("huber_loss", huber),
    "binary_cross_entropy": element_op(
        "binary_cross_entropy", lambda x, t: -(t * np.log(x) + (1 - t) * np.log1p(-x))
    ),
    "binary_cross_entropy_with_logits": element_op(
        "binary_cross_entropy_with_logits", bce_with_logits
    ),
    "kl_div": element_op("kl_div", kl_div),
    "hinge_embedding_loss": element_op("hinge_embedding_loss", hinge_embedding, ("x",)),
    "hinge_loss": element_op("hinge_loss", lambda x, t, margin=1.0: np.maximum(0, margin - t * x)),
    "focal_loss": element_op("focal_loss", focal),
    "gaussian_kl": Op(
        kernels.gaussian_kl,
        gaussian_kl,
        magnitude=gaussian_kl_size,
        backward=lambda dy, x, y, o: kernels.gaussian_kl_backward(dy, *x, **o),
        wrt=(0, 1),
    ),
    "gaussian_nll_loss": Op(
        kernels.gaussian_nll_loss,
        gaussian_nll,
        inputs=triple_inputs,
        magnitude=lambda *inputs, **o: gaussian_nll(*inputs, **o, size=True),
        backward=lambda dy, x, y, o: kernels.gaussian_nll_loss_backward(
            dy, *x, **o, need=("x", "target", "var")
        ),
        wrt=(0, 1, 2),
    ),
    "dice_loss": Op(
        kernels.dice_loss,
        dice_loss,
        inputs=pair_inputs,
        magnitude=dice_size,
        backward=lambda dy, x, y, o: kernels.dice_loss_backward(dy, *x, **o, need=("p", "t")),
        wrt=(0, 1),
    ),
}


def _case(name: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    return Case("loss", name, name, shapes, options=tuple(sorted(options.items())))


_REDUCTIONS = ("none", "mean", "sum")
_SHAPES: tuple[tuple[int, ...], ...] = ((1, 1), (7, 3), (5, 16), (4, 17), (3, 2, 33), (6, 9000))

CASES = (
    *(_case("cross_entropy", shape, reduction=r) for shape in _SHAPES for r in _REDUCTIONS),
    *(
        _case(
            "cross_entropy", shape, target=target, label_smoothing=e, reduction=r, **extra, **ignore
        )
        for shape in ((9, 5), (4, 33))
        for target, ignore in (("soft", {}), ("ignored", {"ignore_index": -100}))
        for e in (0.0, 0.1)
        for extra in ({}, {"weighted": True})
        for r in _REDUCTIONS
    ),
    _case("cross_entropy", (40, 5), target="ignored", ignore_index=2),
    _case("cross_entropy", (700, 30)),
    _case("cross_entropy", (0, 3), reduction="sum"),
    *(
        _case("nll_loss", (9, 5), target="ignored", ignore_index=-100, weighted=w, reduction=r)
        for w in (False, True)
        for r in _REDUCTIONS
    ),
    *(
        _case(name, shape, reduction=r, **options)
        for name, options in (
            ("mse_loss", {}),
            ("l1_loss", {}),
            ("smooth_l1_loss", {}),
            ("smooth_l1_loss", {"beta": 0.3}),
            ("smooth_l1_loss", {"beta": 0.0}),
            ("huber_loss", {}),
            ("huber_loss", {"delta": 0.3}),
            ("binary_cross_entropy", {}),
            ("binary_cross_entropy", {"labels": True}),
            ("binary_cross_entropy_with_logits", {}),
            ("binary_cross_entropy_with_logits", {"weights": "pos"}),
            ("kl_div", {}),
            ("kl_div", {"log_target": True}),
            ("hinge_embedding_loss", {"margin": 0.5}),
            ("hinge_loss", {}),
            ("focal_loss", {}),
            ("focal_loss", {"labels": True}),
            ("focal_loss", {"alpha": -1.0, "gamma": 0.0}),
            ("focal_loss", {"gamma": 1.5}),
        )
        for shape in ((3, 5), (2, 3, 17))
        for r in _REDUCTIONS
    ),
    *(
        _case(name, (4, 3, 50), weights=w, reduction=r)
        for name in ("mse_loss", "huber_loss", "binary_cross_entropy_with_logits")
        for w in ("all", "column", "row")
        for r in ("none", "mean")
    ),
    _case("kl_div", (4, 9), reduction="batchmean"),
    _case("mse_loss", (50000,)),
    _case("mse_loss", (0, 3), reduction="sum"),
    *(
        _case("gaussian_kl", shape, shape, reduction=r)
        for shape in ((5, 3), (4, 2, 33), (3, 6000), (900, 20))
        for r in _REDUCTIONS
    ),
    *(
        _case("gaussian_nll_loss", shape, reduction=r, full=full)
        for shape in ((5, 3), (4, 2, 33), (3, 6000))
        for r in _REDUCTIONS
        for full in (False, True)
    ),
    _case("gaussian_nll_loss", (0, 3), reduction="sum"),
    *(
        _case("dice_loss", shape, reduction=r)
        for shape in ((5, 3), (4, 2, 33), (3, 6000))
        for r in _REDUCTIONS
    ),
    _case("dice_loss", (4, 9), smooth=0.25),
)
