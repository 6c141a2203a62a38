"""The pointing game: does the highest place of a map lie on what the answer is about?"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import Array, as_array


def pointing_game(maps: Any, where: Any) -> float:
    """Returns the share of maps whose peak lies inside.

    Zhang and others, "Top-down neural attention by excitation backprop" (2016), without a margin.

    Args:
        maps: `(N, H, W)`; with channels `(N, H, W, C)`, their magnitudes are summed.
        where: Boxes `(N, 4)` as x₁, y₁, x₂, y₂ (the last two outside), or boolean masks
            `(N, H, W)`.

    Raises:
        ValueError: Shapes that do not go together, no map, or a map with NaN.
    """
    op = "pointing_game"
    found, place = as_array(maps, f"{op}: maps"), as_array(where, f"{op}: where")
    if found.ndim == 4:
        found = np.abs(found).sum(axis=-1)
    if found.ndim != 3 or found.size == 0:
        raise ValueError(f"{op}: maps has shape {found.shape}, expected (N, H, W)")
    if np.isnan(found).any():
        raise ValueError(f"{op}: maps holds NaN")
    peaks = found.reshape(len(found), -1).argmax(axis=1)
    y, x = np.divmod(peaks, found.shape[2])
    if place.shape == (len(found), 4):
        inside: Array = (
            (place[:, 0] <= x) & (x < place[:, 2]) & (place[:, 1] <= y) & (y < place[:, 3])
        )
    elif place.shape == found.shape and place.dtype == bool:
        inside = place[np.arange(len(found)), y, x]
    else:
        raise ValueError(
            f"{op}: where has shape {place.shape} and {place.dtype}, expected boxes "
            f"({len(found)}, 4) or masks {found.shape}"
        )
    return float(inside.mean())
