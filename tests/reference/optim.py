"""Every optimiser once more in NumPy: the formulas of ``csrc/ops/optim/optim.h``."""

from __future__ import annotations

from typing import Any

import numpy as np

Hyper = dict[str, float]


def lerp(a: Any, b: Any, weight: float) -> Any:
    return a + a.dtype.type(weight) * (b - a)


def step(kind: str, w: Any, g: Any, state: dict[str, Any], h: Hyper) -> None:
    """One step in place. ``state`` is empty before the first."""
    t = state["t"] = state.get("t", 0) + 1
    s = {name: state.setdefault(name, np.zeros_like(w)) for name in ("m", "v", "u")}
    cast = w.dtype.type
    lr, decay, b1, b2 = (
        h["lr"],
        h.get("weight_decay", 0.0),
        h.get("beta1", 0.0),
        h.get("beta2", 0.0),
    )
    eps = cast(h.get("eps", 0.0))
    g = -g if h.get("maximize") else g.copy()
    if kind in ("adamw", "lion") or h.get("decoupled"):
        w *= cast(1 - lr * decay)
    else:
        g += cast(decay) * w
    if kind in ("adam", "adamw", "nadam", "radam"):
        s["m"][...] = lerp(s["m"], g, 1 - b1)
        s["v"][...] = cast(b2) * s["v"] + cast(1 - b2) * g * g
        unbiased1, unbiased2 = 1 - b1**t, 1 - b2**t
    if kind == "sgd":
        mu = h.get("momentum", 0.0)
        if mu:
            keep = 1 - h.get("dampening", 0.0)
            s["m"][...] = g if t == 1 else cast(mu) * s["m"] + cast(keep) * g
            g = g + cast(mu) * s["m"] if h.get("nesterov") else s["m"]
        w -= cast(lr) * g
    elif kind == "adagrad":
        s["v"] += g * g
        w -= cast(lr / (1 + (t - 1) * h.get("lr_decay", 0.0))) * g / (np.sqrt(s["v"]) + eps)
    elif kind == "rmsprop":
        alpha = h["alpha"]
        s["v"][...] = cast(alpha) * s["v"] + cast(1 - alpha) * g * g
        variance = s["v"]
        if h.get("centered"):
            s["m"][...] = lerp(s["m"], g, 1 - alpha)
            variance = s["v"] - s["m"] ** 2
        d = g / (np.sqrt(variance) + eps)
        if h.get("momentum"):
            s["u"][...] = cast(h["momentum"]) * s["u"] + d
            d = s["u"]
        w -= cast(lr) * d
    elif kind in ("adam", "adamw"):
        square = s["v"]
        if h.get("amsgrad"):
            square = s["u"][...] = np.maximum(s["u"], s["v"])
        w -= cast(lr / unbiased1) * s["m"] / (np.sqrt(square) / cast(unbiased2**0.5) + eps)
    elif kind == "adadelta":
        rho = h["rho"]
        s["v"][...] = cast(rho) * s["v"] + cast(1 - rho) * g * g
        d = np.sqrt(s["u"] + eps) / np.sqrt(s["v"] + eps) * g
        s["u"][...] = cast(rho) * s["u"] + cast(1 - rho) * d * d
        w -= cast(lr) * d
    elif kind == "adamax":
        s["m"][...] = lerp(s["m"], g, 1 - b1)
        s["u"][...] = np.maximum(cast(b2) * s["u"], np.abs(g) + eps)
        w -= cast(lr / (1 - b1**t)) * s["m"] / s["u"]
    elif kind == "nadam":
        mu = b1 * (1 - 0.5 * 0.96 ** (t * h["momentum_decay"]))
        following = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * h["momentum_decay"]))
        product = state["product"] = state.get("product", 1.0) * mu
        scale = np.sqrt(s["v"] / cast(unbiased2)) + eps
        w -= cast(lr * (1 - mu) / (1 - product)) * g / scale
        w -= cast(lr * following / (1 - product * following)) * s["m"] / scale
    elif kind == "radam":
        longest = 2 / (1 - b2) - 1
        rho = longest - 2 * t * b2**t / unbiased2
        d = s["m"] / cast(unbiased1)
        if rho > 5:
            top, bottom = (rho - 4) * (rho - 2) * longest, (longest - 4) * (longest - 2) * rho
            d = d * cast(unbiased2**0.5) / (np.sqrt(s["v"]) + eps) * cast((top / bottom) ** 0.5)
        w -= cast(lr) * d
    elif kind == "lion":
        w -= cast(lr) * np.sign(cast(b1) * s["m"] + cast(1 - b1) * g)
        s["m"][...] = cast(b2) * s["m"] + cast(1 - b2) * g
    else:
        raise ValueError(kind)
