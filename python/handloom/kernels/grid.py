"""Reading images at given places: affine grids, grid sampling, affine warps.

Arrays are contiguous float32 or float64: images ``(N, H, W, C)`` or volumes ``(N, D, H, W, C)``,
grids ``(N, H', W', 2)`` or ``(N, D', H', W', 3)`` with ``x`` (along W) first. Jaderberg et al.:
"Spatial transformer networks" (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from .. import _C

Array = npt.NDArray[Any]


def _number(op: str, name: str, value: str, known: dict[str, int]) -> int:
    try:
        return known[value]
    except KeyError:
        raise ValueError(f"{op}: {name} is {value!r}, expected one of {', '.join(known)}") from None


def affine_grid(theta: Array, size: Sequence[int], *, align_corners: bool = False) -> Array:
    """The places that an affine map gives to the pixels of a result.

    Args:
        theta: ``(N, 2, 3)`` or ``(N, 3, 4)``: from a result's ``(x, y[, z], 1)`` to the input's,
            both from -1 to 1.
        size: Of the result, ``(N, H, W, C)`` or ``(N, D, H, W, C)``.
        align_corners: Whether -1 and 1 are the middles of the outermost pixels, or their outer
            edges.

    Returns:
        ``(N, H, W, 2)`` or ``(N, D, H, W, 3)``, what :func:`grid_sample` takes.
    """
    return _C.affine_grid_forward(theta, tuple(size), align_corners)


def affine_grid_backward(dgrid: Array, *, align_corners: bool = False) -> Array:
    """Gradient of :func:`affine_grid` with respect to ``theta``."""
    return _C.affine_grid_backward(dgrid, align_corners)


def grid_sample(
    x: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Array:
    """Read an image at the places of a grid.

    Args:
        x: ``(N, H, W, C)`` or ``(N, D, H, W, C)``.
        grid: ``(N, H', W', 2)`` of ``(x, y)``, or ``(N, D', H', W', 3)`` of ``(x, y, z)``; -1 to
            1 is the image.
        mode: ``"bilinear"`` (trilinear in a volume) or ``"nearest"`` (halves to even).
        padding_mode: What lies outside: ``"zeros"``, the ``"border"`` repeated, or its
            ``"reflection"``. A place that is no number counts as outside.
        align_corners: Whether -1 and 1 are the middles of the outermost pixels, or their outer
            edges.

    Returns:
        ``(N, H', W', C)`` or ``(N, D', H', W', C)``. A pixel of weight 0 is not read.

    Raises:
        ValueError: An unknown mode, shapes that do not fit, an image without pixels.
    """
    op = "grid_sample"
    return _C.grid_sample_forward(
        x,
        grid,
        _number(op, "mode", mode, _C.sample_modes),
        _number(op, "padding_mode", padding_mode, _C.outside_modes),
        align_corners,
    )


def grid_sample_backward(
    dy: Array,
    x: Array,
    grid: Array,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    need: Sequence[str] = ("x", "grid"),
) -> tuple[Array | None, Array | None]:
    """Gradients of :func:`grid_sample`: ``(dx, dgrid)``, ``None`` where not in ``need``.

    ``dgrid`` is 0 where a place was held at the border, and everywhere for ``"nearest"``. The sums
    of ``dx`` run in a fixed order.
    """
    op = "grid_sample_backward"
    return _C.grid_sample_backward(
        dy,
        x,
        grid,
        _number(op, "mode", mode, _C.sample_modes),
        _number(op, "padding_mode", padding_mode, _C.outside_modes),
        align_corners,
        ("x" in need) + 2 * ("grid" in need),
    )


def warp_affine(
    x: Array,
    matrix: Array,
    size: Sequence[int] | None = None,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    fill: float = 0.0,
) -> Array:
    """Move, turn and stretch images by one affine map each, in pixels. OpenCV's ``warpAffine``.

    One pass, without a grid in memory, and exact for whole shifts and flips. For data: it has no
    gradient; :func:`affine_grid` and :func:`grid_sample` have.

    Args:
        x: ``(N, H, W, C)`` or ``(N, D, H, W, C)``.
        matrix: float64 ``(N, 2, 3)`` or ``(N, 3, 4)``, from a result's pixel ``(x, y[, z], 1)`` to
            the place in ``x`` that it shows, both counted from 0 at the first pixel's middle.
        size: Spatial sizes of the result; default: those of ``x``.
        mode: ``"bilinear"`` or ``"nearest"``.
        padding_mode: ``"zeros"`` (then it is ``fill``), ``"border"`` or ``"reflection"`` (about the
            outer edges).
        fill: What lies outside for ``"zeros"``.

    Returns:
        ``(N, *size, C)``.
    """
    op = "warp_affine"
    return _C.warp_affine(
        x,
        matrix,
        x.shape[1:-1] if size is None else tuple(size),
        _number(op, "mode", mode, _C.sample_modes),
        _number(op, "padding_mode", padding_mode, _C.outside_modes),
        fill,
    )
