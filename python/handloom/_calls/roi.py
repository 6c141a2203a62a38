"""What `kernels` and `ops` share about regions of interest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from handloom._device_array import ARRAYS, beside, on_host

from .._arrays import Array

# exp of more than this makes a box of more than a thousand pixels out of a 16-pixel anchor.
CLIP = math.log(1000.0 / 16)


def rois_of(op: str, boxes: Any, x: Any) -> Array:
    """(K, 5) of (image, x1, y1, x2, y2): as it is, or from a list of boxes (L, 4) of each image.

    A list becomes an array of the type of `x`, where `x` is.

    Raises:
        ValueError: An entry of the list is not (L, 4).
    """
    if not isinstance(boxes, (list, tuple)):
        found: Any = boxes
        if isinstance(boxes, ARRAYS) and not boxes.flags.c_contiguous:
            found = boxes.copy()
        return found  # type: ignore[no-any-return]
    dtype = x.dtype if isinstance(x, ARRAYS) else np.asarray(x).dtype
    rows = []
    for image, own in enumerate(boxes):
        array = np.asarray(on_host(own))
        if array.ndim != 2 or array.shape[1] != 4:
            raise ValueError(
                f"{op}: boxes[{image}] has shape {array.shape}, expected (L, 4) of (x1, y1, x2, y2)"
            )
        number = np.full((len(array), 1), image, dtype)
        rows.append(np.concatenate([number, array.astype(dtype, copy=False)], 1))
    all_rows: Array = beside(np.concatenate(rows) if rows else np.zeros((0, 5), dtype), x)
    return all_rows


def size_of(op: str, output_size: int | Sequence[int]) -> tuple[int, int]:
    """(PH, PW)."""
    pair: tuple[Any, ...]
    if isinstance(output_size, Sequence) and not isinstance(output_size, str):
        pair = tuple(output_size)
    else:
        pair = (output_size, output_size)
    if len(pair) != 2 or not all(isinstance(n, (int, np.integer)) for n in pair):
        raise ValueError(f"{op}: output_size is {output_size}, expected (height, width)")
    return pair
