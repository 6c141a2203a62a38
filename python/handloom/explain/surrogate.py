"""LIME: a linear model that answers as the network does, near one input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array, as_array
from .._numbers import real, whole
from ..nn import Module
from ..train import predict
from ._scores import checked, targets


class Surrogate(NamedTuple):
    """The linear model.

    Attributes:
        weights: `(S,)`, float64: what each part adds to the score by being there.
        intercept: The score with every part covered.
        r2: Share of the score's variance that the linear model explains: if it is low, its weights
            tell little.
        segments: Which part each place belongs to, int64, the shape of x without its channels (for
            a table: of the features).
    """

    weights: Array
    intercept: float
    r2: float
    segments: Array

    @property
    def map(self) -> Array:
        """The weights in their places."""
        found: Array = self.weights[self.segments]
        return found


def lime(
    model: Module | Callable[[Array], Array],
    x: Any,
    target: int | None = None,
    *,
    segments: Any = None,
    samples: int = 500,
    fill: float | Array = 0.0,
    width: float = 0.25,
    ridge: float = 1e-3,
    seed: int = 0,
    batch_size: int = 256,
) -> Surrogate:
    """Covers random parts of one input, and fits a linear model to the scores.

    Ribeiro, Singh and Guestrin, "Why should I trust you?" (2016). Samples count by
    exp(−d²/width²), d being the cosine distance from the uncovered input. Captum: Lime.

    Args:
        model: A module, or any function of rows, that returns scores `(N, outputs)` or `(N,)`.
        x: One input without the batch axis: `(F,)`, `(T, C)` or `(H, W, C)`.
        target: The output to be explained; None for the largest.
        segments: Which part each place belongs to, integers from 0; None for one part a feature of
            a table, else squares of an eighth of the longer side.
        samples: Random coverings; more than there are parts.
        fill: What covers: a number, or an array that broadcasts to x, such as the features' means.
        width: Of the neighbourhood.
        ridge: Strength of the L2 penalty, as a share of the samples' weight.
        seed: Of the coverings.
        batch_size: Rows at a time, for a module.

    Raises:
        ValueError: Segments of another shape, too few samples, or a number out of range.
    """
    op = "lime"
    array = checked(as_array(x, f"{op}: x")[None], op)[0]
    parts = _segments(array, segments, op)
    count = int(parts.max()) + 1
    if whole(samples, op, "samples") <= count:
        raise ValueError(f"{op}: samples expects more than the {count} parts, got {samples}")
    if not real(width, op, "width") > 0 or not real(ridge, op, "ridge") >= 0:
        raise ValueError(f"{op}: expected width above 0 and ridge from 0, got {width} and {ridge}")
    rng = np.random.default_rng(whole(seed, op, "seed", 0))
    shown = rng.random((samples, count)) < 0.5
    shown[0] = True
    try:
        cover = np.broadcast_to(np.asarray(fill, array.dtype), array.shape)
    except (TypeError, ValueError):
        raise ValueError(
            f"{op}: fill expects a number or what broadcasts to {array.shape}, got {fill!r}"
        ) from None
    visible = shown[:, parts]
    if visible.ndim < array.ndim + 1:
        visible = visible[..., None]

    def score(rows: Array) -> Array:
        return predict(model, rows, batch_size) if isinstance(model, Module) else model(rows)

    outputs = np.concatenate(
        [
            np.asarray(score(np.where(visible[i : i + batch_size], array, cover)))
            for i in range(0, samples, batch_size)
        ]
    )
    number = targets(outputs[:1], target, op)[0]
    y = (outputs if outputs.ndim == 1 else outputs[:, number]).astype(np.float64)
    share = shown.mean(axis=1)
    near = np.exp(-((1 - np.sqrt(share)) ** 2) / width**2)
    near /= near.sum()
    z = shown.astype(np.float64)
    mean_z, mean_y = near @ z, near @ y
    z_c, y_c = z - mean_z, y - mean_y
    gram = z_c.T @ (near[:, None] * z_c) + ridge * np.eye(count)
    weights = np.linalg.solve(gram, z_c.T @ (near * y_c))
    left = near @ (y_c - z_c @ weights) ** 2
    variance = near @ y_c**2
    r2 = 1.0 - left / variance if variance > 0 else 1.0
    return Surrogate(weights, float(mean_y - mean_z @ weights), float(r2), parts)


def _segments(x: Array, segments: Any, op: str) -> Array:
    places = x.shape if x.ndim == 1 else x.shape[:-1]
    if segments is None:
        if x.ndim == 1:
            return np.arange(len(x))
        side = max(1, max(places) // 8)
        found = np.zeros(places, np.int64)
        for axis, extent in enumerate(places):
            cells = np.arange(extent) // side
            shape = [extent if a == axis else 1 for a in range(len(places))]
            found = found * (int(cells[-1]) + 1) + cells.reshape(shape)
        return found
    found = np.asarray(segments)
    if found.dtype.kind not in "iu" or found.shape != places or found.min() < 0:
        raise ValueError(
            f"{op}: segments expects integers from 0 of shape {places}, got {found.dtype} "
            f"{found.shape}"
        )
    return np.unique(found, return_inverse=True)[1].reshape(places)
