"""Arguments of resampling, as PyTorch reads them: sizes or scales, modes by rank, paddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from handloom._calls.window import MOST

Sizes = int | Sequence[int]
Factors = float | Sequence[float]

# Mode → what the kernel calls it, and how many spatial axes it takes (None: any).
MODES: dict[str, tuple[str, int | None]] = {
    "nearest": ("nearest", None),
    "nearest-exact": ("nearest-exact", None),
    "linear": ("linear", None),
    "bilinear": ("linear", 2),
    "trilinear": ("linear", 3),
    "bicubic": ("bicubic", 2),
    "area": ("area", None),
}
BLUR = (1.0, 3.0, 3.0, 1.0)


def mode_of(op: str, mode: str, axes: int, align_corners: bool | None) -> str:
    """The kernel's name of a mode that fits this many spatial axes."""
    if mode not in MODES:
        raise ValueError(f"{op}: mode is {mode!r}, expected one of {', '.join(MODES)}")
    name, wanted = MODES[mode]
    if wanted not in (None, axes):
        raise ValueError(
            f"{op}: mode {mode!r} takes {wanted} spatial axes, but x has {axes}; "
            "'linear' takes any number"
        )
    if align_corners and name not in ("linear", "bicubic"):
        raise ValueError(f"{op}: align_corners has no meaning for mode {mode!r}")
    return name


def factors_of(op: str, scale_factor: Factors, axes: int) -> list[float]:
    """One positive factor for each axis."""
    if isinstance(scale_factor, Sequence) or np.ndim(scale_factor) > 0:
        factors = [float(f) for f in cast("Sequence[float]", scale_factor)]
    else:
        factors = [float(scale_factor)] * axes
    if len(factors) != axes or not all(f > 0 and math.isfinite(f) for f in factors):
        raise ValueError(
            f"{op}: scale_factor is {scale_factor}, expected a positive number or {axes} of them"
        )
    return factors


def sizes_of(
    op: str,
    spatial: Sequence[int],
    size: Sizes | None,
    scale_factor: Factors | None,
    recompute: bool,
) -> tuple[tuple[int, ...], list[float] | None]:
    """Sizes of the result, and the scales that the kernel is to follow instead of the sizes."""
    axes = len(spatial)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"{op}: size is {size} and scale_factor is {scale_factor}, expected one of the two"
        )
    if size is not None:
        if recompute:
            raise ValueError(f"{op}: recompute_scale_factor needs scale_factor, not size")
        return ((size,) * axes if isinstance(size, int) else tuple(size)), None
    assert scale_factor is not None
    factors = factors_of(op, scale_factor, axes)
    made = tuple(math.floor(n * f) for n, f in zip(spatial, factors))
    if 0 in made:
        raise ValueError(
            f"{op}: scale_factor is {scale_factor}, which leaves {made} of {tuple(spatial)}"
        )
    if max(made) >= MOST:
        raise ValueError(f"{op}: scale_factor is {scale_factor}, expected sizes below 2**31")
    return made, None if recompute else factors


def each(value: int, axes: int) -> tuple[int, ...]:
    """The same for every axis."""
    return (value,) * axes


def taps_of(op: str, kernel: Sequence[float], gain: float = 1.0) -> list[float]:
    """The kernel scaled to the sum `gain`."""
    taps = [float(v) for v in kernel]
    total = sum(taps)
    if not taps or total == 0 or not math.isfinite(total):
        raise ValueError(f"{op}: kernel is {list(kernel)}, expected numbers whose sum is not 0")
    return [v * gain / total for v in taps]


def blur_padding(taps: int) -> tuple[int, int]:
    """(before, after) that keeps the size."""
    return taps // 2, (taps - 1) // 2


def upsample_padding(op: str, taps: int, factor: int) -> tuple[int, int]:
    """(before, after) that makes n elements `factor` n."""
    spare = _spare(op, taps, factor)
    return (spare + 1) // 2 + factor - 1, spare // 2


def downsample_padding(op: str, taps: int, factor: int) -> tuple[int, int]:
    """(before, after) that makes n elements n // `factor`."""
    spare = _spare(op, taps, factor)
    return (spare + 1) // 2, spare // 2


def _spare(op: str, taps: int, factor: int) -> int:
    if factor < 1:
        raise ValueError(f"{op}: factor is {factor}, expected at least 1")
    if taps < factor:
        raise ValueError(f"{op}: the kernel has {taps} taps, expected at least factor = {factor}")
    return taps - factor
