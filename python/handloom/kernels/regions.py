"""Images cut into regions: connected components, segments, proposals; and counted: confusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from .._device_array import beside, on_host
from ._options import require_arrays

Array = npt.NDArray[Any]

_COLOURS, _TEXTURES = 25, 10  # bins of a histogram


def connected_components(mask: Array, *, connectivity: int = 4, return_counts: bool = False) -> Any:
    """Numbers the connected regions of a mask. SciPy: ``ndimage.label``.

    Args:
        mask: ``(N, H, W)`` or ``(H, W)``, bool or integers. 0 is background; elsewhere neighbours
            of the same value belong together.
        connectivity: 4: over edges; 8: over corners, too.
        return_counts: Whether to return the number of regions of each image, too.

    Returns:
        int64 as ``mask``: 0 for background, regions from 1 on in the order of their first pixels.
    """
    require_arrays("connected_components", mask=mask)
    values = mask.astype(np.int64) if mask.dtype == np.bool_ else mask
    if mask.ndim == 2:
        label, count = _C.label_regions(values[None], connectivity)
        label, count = label[0], count[0]
    else:
        label, count = _C.label_regions(values, connectivity)
    return (label, count) if return_counts else label


def confusion_matrix(
    target: Array, prediction: Array, num_classes: int, *, ignore_index: int = -100
) -> Array:
    """How often class t was taken for class p: ``(C, C)`` int64, targets in the rows.

    Args:
        target, prediction: Integers of the same shape, of labels below ``num_classes``.
        num_classes: C.
        ignore_index: A target that does not count, with any prediction.
    """
    require_arrays("confusion_matrix", target=target, prediction=prediction)
    return _C.confusion("confusion_matrix", target, prediction, num_classes, ignore_index)


def graph_segment(
    image: Array, *, scale: float = 1.0, sigma: float = 0.8, min_size: int = 20
) -> Array:
    """Cuts an image into regions of similar pixels: Felzenszwalb and Huttenlocher (2004).

    Args:
        image: ``(H, W, C)`` float32 or float64.
        scale: The larger, the larger the regions; in units of the image's values.
        sigma: Width of the Gaussian that smooths the image first; 0 for none.
        min_size: Regions of fewer pixels join a neighbour.

    Returns:
        ``(H, W)`` int64, regions from 0 on in the order of their first pixels.
    """
    require_arrays("graph_segment", image=image)
    return _segment(image, scale, sigma, min_size)[0]


def selective_search(
    image: Array,
    *,
    scale: float | Sequence[float] = (0.5, 1.0),
    sigma: float = 0.8,
    min_size: int = 20,
) -> Array:
    """Boxes that may hold an object: Uijlings et al., "Selective search" (2013).

    :func:`graph_segment` cuts the image into regions; the two most similar neighbours, in colour,
    texture, size and fit, become one, again and again; each region that ever was gives a box.

    Args:
        image: ``(H, W, C)`` in [0, 1], float32 or float64.
        scale: Of the segments; of several the boxes are joined.
        sigma, min_size: As for :func:`graph_segment`.

    Returns:
        ``(N, 4)`` of ``(x1, y1, x2, y2)`` in the image's dtype, no two equal; what was merged last
        comes first.
    """
    require_arrays("selective_search", image=image)
    scales = (scale,) if isinstance(scale, (int, float)) else tuple(scale)
    if not scales:
        raise ValueError("selective_search: scale is empty, expected at least one number")
    if image.ndim == 3 and image.size == 0:
        return beside(np.zeros((0, 4), image.dtype), image)
    found = []
    bins: Array | None = None
    for k in scales:
        label, regions = _segment(image, float(k), sigma, min_size)
        if bins is None:
            own, colours = _bins(on_host(image))
            bins = beside(own, image)
        boxes, _, count = _C.group_regions(label, bins, regions, colours, _COLOURS)
        # Larger regions were made later: the last of every scale first.
        found.append((count - 1 - np.arange(count), on_host(boxes)[:count]))
    rank = np.concatenate([r for r, _ in found])
    boxes = np.concatenate([b for _, b in found])[np.argsort(rank, kind="stable")]
    _, first = np.unique(boxes, axis=0, return_index=True)
    kind: Any = image.dtype.type
    proposals: Array = np.ascontiguousarray(boxes[np.sort(first)].astype(kind))
    return beside(proposals, image)


def _segment(image: Array, scale: float, sigma: float, min_size: int) -> tuple[Array, int]:
    if image.ndim == 3 and sigma > 0 and image.size:
        taps = _gaussian(sigma)
        reach = len(taps) // 2
        # The edge pixels go on outside, so that no edge appears where the image ends.
        from .layout import pad

        wide = pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="replicate")
        image = _C.upfirdn_forward(wide[None], taps, (1, 1), (1, 1), (0, 0), (0, 0))[0]
    image = image if image.flags.c_contiguous else image.copy()
    return _C.graph_segment(image, scale, min_size)


def _gaussian(sigma: float) -> list[float]:
    reach = max(1, math.ceil(3 * sigma))
    taps = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-reach, reach + 1)]
    return [t / sum(taps) for t in taps]


def _bins(image: Array) -> tuple[Array, int]:
    """(H, W, F) histogram bins: each channel's value, then its slopes in four directions."""
    height, width, channels = image.shape
    clean = np.clip(np.nan_to_num(image), 0, 1)
    value = np.minimum(clean * _COLOURS, _COLOURS - 1)
    wide = np.pad(clean, ((1, 1), (1, 1), (0, 0)), mode="edge")
    bins = [value]
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ahead = wide[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = wide[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        # Most slopes are small: the square root gives them room.
        slope = ahead - behind
        steep = np.sign(slope) * np.sqrt(np.abs(slope)) / 2 + 0.5
        bins.append(np.minimum(steep * _TEXTURES, _TEXTURES - 1))
    return np.ascontiguousarray(np.concatenate(bins, -1).astype(np.uint8)), channels
