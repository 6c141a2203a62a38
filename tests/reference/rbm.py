"""Restricted Boltzmann machines in plain NumPy, and what samples are made of.

Each function computes in the dtype of its arrays; the draws are those of `kind`, the dtype under
test, so that the float64 oracle of a float32 kernel takes the same decisions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import random


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def drawn(mean: Any, gaussian: bool, seed: int, call: int, kind: str) -> Any:
    """States of a layer from its means."""
    n = mean.size
    if gaussian:
        z = random.normal(n + n % 2, kind, seed, call)[:n].astype(np.float64)
        return (mean + z.reshape(mean.shape)).astype(mean.dtype)
    u = random.uniform(n, kind, seed, call).reshape(mean.shape)
    return (u < mean).astype(mean.dtype)


def hidden(v: Any, w: Any, c: Any) -> Any:
    return sigmoid(c + v @ w.T)


def visible(h: Any, w: Any, b: Any, gaussian: bool) -> Any:
    return b + h @ w if gaussian else sigmoid(b + h @ w)


def contrast(
    v: Any,
    w: Any,
    b: Any,
    c: Any,
    chain: Any,
    steps: int,
    gaussian: bool,
    means: bool,
    seed: int,
    call: int,
    kind: str,
) -> Any:
    """(dw, db, dc, v_k, h_k) of CD-k; with `chain` of persistent contrastive divergence."""
    p0 = hidden(v, w, c)
    h = drawn(p0, False, seed, call, kind) if chain is None else chain
    for t in range(1, steps + 1):
        mean = visible(h, w, b, gaussian)
        vk = mean if means else drawn(mean, gaussian, seed, call + 2 * t - 1, kind)
        pk = hidden(vk, w, c)
        h = drawn(pk, False, seed, call + 2 * t, kind)
    return (
        pk.T @ vk / len(vk) - p0.T @ v / len(v),
        vk.mean(axis=0) - v.mean(axis=0),
        pk.mean(axis=0) - p0.mean(axis=0),
        vk,
        h,
    )


def free_energy(v: Any, w: Any, b: Any, c: Any, gaussian: bool) -> Any:
    terms = np.logaddexp(0, c + v @ w.T).sum(axis=1)
    return np.sum((v - b) ** 2, axis=1) / 2 - terms if gaussian else -v @ b - terms


def log_likelihood(v: Any, w: Any, b: Any, c: Any) -> Any:
    """Mean log p(v) of a machine so small that all its states can be listed."""
    size = w.shape[1]
    states = ((np.arange(2**size)[:, None] >> np.arange(size)) & 1).astype(np.float64)
    z = np.logaddexp.reduce(-free_energy(states, w, b, c, False))
    return -free_energy(v, w, b, c, False).mean() - z
