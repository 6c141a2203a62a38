"""Occlusion: how much an answer falls where a part of the input is covered."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Array
from ._scores import checked, scores, targets

if TYPE_CHECKING:
    from ..nn import Module


def occlusion(
    model: Module,
    x: Any,
    target: Any = None,
    *,
    window: int | tuple[int, ...] = 8,
    stride: int | tuple[int, ...] | None = None,
    fill: float | str = "mean",
    batch_size: int = 256,
) -> Array:
    """Returns by how much the score falls when a window around each place is covered.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks" (2014). A place gets
    the mean over the windows that cover it. Captum: Occlusion.

    Args:
        model, target: As for `saliency`.
        x: `(N, H, W, C)` or `(N, T, C)`; all channels are covered.
        window: Its size, one number or one for each axis of places.
        stride: From one window to the next; None for half of it. The last ones touch the border.
        fill: What covers: a number, or "mean" for each row's own.
        batch_size: Rows at a time.

    Returns:
        float64 `(N, H, W)` or `(N, T)`; negative where covering raises the score.
    """
    op = "occlusion"
    array = checked(x, op, 3)
    places = array.shape[1:-1]
    sizes = _each(window, places, op, "window")
    if any(size > extent for size, extent in zip(sizes, places)):
        raise ValueError(f"{op}: window {sizes} is larger than x {places}")
    default = tuple(max(1, size // 2) for size in sizes)
    steps = default if stride is None else _each(stride, places, op, "stride")
    if fill != "mean" if isinstance(fill, str) else np.ndim(fill) or np.iscomplexobj(fill):
        raise ValueError(f"{op}: fill expects a number or 'mean', got {fill!r}")
    axes = tuple(range(1, array.ndim - 1))
    cover = array.mean(axis=axes, keepdims=True) if isinstance(fill, str) else fill
    from ..train import predict

    numbers = targets(predict(model, array, batch_size), target, op)
    before = scores(model, array, numbers, batch_size)
    fall = np.zeros(array.shape[:-1])
    count = np.zeros(places)
    whole = (slice(None),)
    starts = [_starts(*spec) for spec in zip(places, sizes, steps)]
    for corner in product(*starts):
        part = tuple(slice(at, at + size) for at, size in zip(corner, sizes))
        covered = array.copy()
        covered[whole + part] = cover
        after = scores(model, covered, numbers, batch_size)
        fall[whole + part] += (before - after).reshape(-1, *[1] * len(places))
        count[part] += 1
    return fall / np.maximum(count, 1)  # a stride beyond the window leaves gaps


def _starts(extent: int, size: int, step: int) -> list[int]:
    found = list(range(0, extent - size + 1, step))
    return found if found[-1] == extent - size else [*found, extent - size]


def _each(value: Any, places: tuple[int, ...], op: str, name: str) -> tuple[int, ...]:
    one = isinstance(value, (int, np.integer))
    if not one and not (
        isinstance(value, (tuple, list)) and all(isinstance(n, int) for n in value)
    ):
        raise ValueError(f"{op}: {name} expects {len(places)} numbers from 1, got {value!r}")
    sizes: tuple[int, ...] = (int(value),) * len(places) if one else tuple(value)
    if len(sizes) != len(places) or any(size < 1 for size in sizes):
        raise ValueError(f"{op}: {name} expects {len(places)} numbers from 1, got {value}")
    return sizes
