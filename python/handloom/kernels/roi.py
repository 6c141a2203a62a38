"""Regions of interest: each box of an image as a small map of fixed size.

Images are contiguous float32 or float64 ``(N, H, W, C)``. Boxes are ``(K, 5)`` of ``(image, x1, y1,
x2, y2)`` in the same dtype, or a list with ``(L, 4)`` for each image. Names, arguments and results
are torchvision's, but for the layout. A box that is not finite gives NaN and no gradient; other
degenerate ones give what the formulas give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _C
from .._calls.roi import rois_of, size_of
from .._device_array import beside, on_host
from ._options import require_arrays

Array = npt.NDArray[Any]


def roi_align(
    x: Array,
    boxes: Array | Sequence[Array],
    output_size: int | Sequence[int],
    *,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Array:
    """Averages of bilinear samples in each bin of each box: He et al., "Mask R-CNN" (2017).

    Args:
        x: ``(N, H, W, C)``.
        boxes: ``(K, 5)``, or a list of ``(L, 4)``.
        output_size: ``(height, width)`` in bins.
        spatial_scale: From the boxes' units to elements of ``x``, such as 1/16.
        sampling_ratio: Samples of a bin each way; 0 or less: as many as the bin has elements.
        aligned: Whether the middle of the first element is at 1/2, as it should be, not at 0; only
            then boxes may be smaller than an element.

    Returns:
        ``(K, height, width, C)``.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape, a box of an image that there is not.
    """
    op = "roi_align"
    require_arrays(op, input=x)
    rois = rois_of(op, boxes, x)
    ph, pw = size_of(op, output_size)
    return _C.roi_align_forward(op, x, rois, ph, pw, spatial_scale, sampling_ratio, aligned)


def roi_align_backward(
    dy: Array,
    boxes: Array | Sequence[Array],
    size: Sequence[int],
    *,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Array:
    """Gradient of :func:`roi_align` by ``x``, whose shape is ``size``; boxes have none."""
    op = "roi_align_backward"
    require_arrays(op, dy=dy)
    rois = rois_of(op, boxes, dy)
    return _C.roi_align_backward(dy, rois, tuple(size), spatial_scale, sampling_ratio, aligned)


def roi_pool(
    x: Array,
    boxes: Array | Sequence[Array],
    output_size: int | Sequence[int],
    *,
    spatial_scale: float = 1.0,
    return_saved: bool = False,
) -> Any:
    """The largest element in each bin of each box: Girshick, "Fast R-CNN" (2015).

    Args:
        x, boxes, output_size, spatial_scale: As for :func:`roi_align`.
        return_saved: Whether to return what :func:`roi_pool_backward` needs, too.

    Returns:
        ``(K, height, width, C)``, or ``(y, saved)``; 0 where a bin lies outside the image.
    """
    op = "roi_pool"
    require_arrays(op, input=x)
    rois = rois_of(op, boxes, x)
    y, saved = _C.roi_pool_forward(x, rois, *size_of(op, output_size), spatial_scale)
    return (y, saved) if return_saved else y


def roi_pool_backward(
    dy: Array, boxes: Array | Sequence[Array], saved: Array, size: Sequence[int]
) -> Array:
    """Gradient of :func:`roi_pool` by ``x``, whose shape is ``size``."""
    require_arrays("roi_pool_backward", dy=dy)
    rois = rois_of("roi_pool_backward", boxes, dy)
    return _C.roi_pool_backward(dy, rois, saved, tuple(size))


def crop_and_resize(
    x: Array, boxes: Array | Sequence[Array], output_size: int | Sequence[int]
) -> Array:
    """Cuts boxes out of images and resizes them, bilinearly: ``(K, height, width, C)``.

    One sample in the middle of each pixel of the result: ``roi_align`` with ``sampling_ratio=1``
    and ``aligned=True``, which has the gradient. 0 beyond half a pixel outside the image.
    """
    op = "crop_and_resize"
    require_arrays(op, input=x)
    rois = rois_of(op, boxes, x)
    ph, pw = size_of(op, output_size)
    return _C.roi_align_forward(op, x, rois, ph, pw, 1.0, 1, True)


def paste_masks(masks: Array, boxes: Array, size: Sequence[int]) -> Array:
    """Puts small masks into their boxes in an image: the inverse of cutting them out.

    Args:
        masks: ``(K, h, w)``, for example probabilities.
        boxes: ``(K, 4)``.
        size: ``(H, W)`` of the image.

    Returns:
        ``(K, H, W)``, bilinear between the middles of a mask's pixels, 0 outside its box.
    """
    require_arrays("paste_masks", masks=masks, boxes=boxes)
    if masks.ndim != 3 or boxes.shape != (len(masks), 4):
        raise ValueError(
            f"paste_masks: masks has shape {masks.shape} and boxes {boxes.shape}, expected "
            "(K, h, w) and (K, 4)"
        )
    h, w = masks.shape[1:]
    own = on_host(boxes)
    sides = np.maximum(own[:, 2:] - own[:, :2], 1e-6).astype(np.float64)
    matrix = np.zeros((len(masks), 2, 3))
    for axis, n in ((0, w), (1, h)):
        step = n / sides[:, axis]
        matrix[:, axis, axis] = step
        matrix[:, axis, 2] = (0.5 - own[:, axis]) * step - 0.5
    if not np.isfinite(matrix).all():
        raise ValueError("paste_masks: boxes holds a number that is not finite")
    from .grid import warp_affine

    source = masks if masks.flags.c_contiguous else masks.copy()
    return warp_affine(source[..., None], beside(matrix, masks), tuple(size))[..., 0]
